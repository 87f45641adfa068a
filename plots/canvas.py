# SPDX-License-Identifier: BSD-3-Clause
"""The sheet a figure is drawn on: title, facts, body, legend of families, notes.

Everything is laid out in points from the lower left corner and measured before
it is drawn, so that nothing is cut off whatever the number of curves.
"""
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D

from . import style
from .labels import text_width, wrap

PAD = 5


class Sheet:
    """A figure with a body of a wanted height (in points) and room for its x axis."""

    def __init__(self, columns, title, facts, families, notes, body, below=26, left=38):
        self.size = style.SIZES[columns]
        self.width = self.size["width"] * 72
        inner = self.width - 2 * PAD
        small = self.size["text"] - 0.4
        title = wrap(title.split(" "), self.size["title"], inner, " ", "bold")
        facts = wrap(facts, small, inner)
        rows = _legend_rows(families, self.size["text"], inner)
        notes = [line for note in notes for line in wrap(note.split(" "), small, inner, " ")]
        step, head_step = small * 1.36, self.size["title"] * 1.25

        foot = PAD + len(notes) * step + (5 if notes else 0) + len(rows) * self.size["text"] * 1.6
        head = PAD + len(title) * head_step + len(facts) * step + 7
        self.bottom, self.top = foot + below, foot + below + body
        self.left, self.right = left, self.width - PAD
        self.height = self.top + head

        self.figure = Figure(figsize=(self.width / 72, self.height / 72), dpi=72)
        FigureCanvasAgg(self.figure)
        self.points = Affine2D().scale(1 / 72) + self.figure.dpi_scale_trans
        y = self.height - PAD
        for line in title:
            self.text(PAD, y, line, size=self.size["title"], weight="bold", va="top")
            y -= head_step
        for line in facts:
            self.text(PAD, y, line, size=small, color=style.MUTED, va="top")
            y -= step
        y = foot
        for row in rows:
            y -= self.size["text"] * 1.6
            for x, family in row:
                self.line([x, x + 9], [y + 3, y + 3], style.colour(family), 2.2)
                self.text(x + 12, y + 3, family, va="center")
        y -= 5
        for line in notes:
            y -= step
            self.text(PAD, y + 1, line, size=small, color=style.MUTED, va="bottom")

    def axes(self, left, bottom, right, top):
        """Axes over a rectangle given in points."""
        ax = self.figure.add_axes([left / self.width, bottom / self.height,
                                   (right - left) / self.width, (top - bottom) / self.height])
        ax.tick_params(labelsize=self.size["text"])
        ax.grid(True)
        return ax

    def text(self, x, y, words, **how):
        how.setdefault("size", self.size["text"])
        how.setdefault("va", "baseline")
        return self.figure.text(x, y, words, transform=self.points, **how)

    def line(self, xs, ys, color, width=0.6, **how):
        self.figure.add_artist(Line2D(xs, ys, transform=self.points, color=color,
                                      linewidth=width, **how))

    def mark(self, x, y, family, variant, size, **how):
        how.setdefault("markeredgecolor", style.PAPER)
        how.setdefault("markeredgewidth", 0.4)
        shape = style.marker(family, variant)
        self.figure.add_artist(Line2D([x], [y], transform=self.points, linestyle="none",
                                      marker=shape, markersize=style.mark_size(shape, size),
                                      markerfacecolor=style.colour(family), **how))

    def place_of(self, ax, x, y):
        """Data coordinates of axes to points of the sheet."""
        return self.points.inverted().transform(ax.transData.transform((x, y)))


def _legend_rows(families, size, width):
    """[[(x, family)]] a line of the legend."""
    rows, x = [[]] if families else [], PAD
    for family in families:
        wide = 12 + text_width(family, size) + 11
        if rows[-1] and x + wide > width + PAD:
            rows.append([])
            x = PAD
        rows[-1].append((x, family))
        x += wide
    return rows


def families_of(series):
    """Families that are drawn, in the order of the style."""
    present = {s.family if s.family in style.FAMILIES else "other" for s in series}
    return [f for f in style.FAMILIES if f in present]
