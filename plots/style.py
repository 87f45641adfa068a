# SPDX-License-Identifier: BSD-3-Clause
"""One look for every figure: a family has a colour, a variant a marker.

The colours are Okabe and Ito's where there are enough of them; the rest were
chosen so that every pair stays apart under simulated protanopia, deuteranopia
and tritanopia (CIELAB distance of at least 15).
"""
import zlib

import matplotlib

matplotlib.use("Agg")

FAMILIES = {
    "exact": "#1a1a1a", "sparse": "#0072b2", "hashing": "#609eff", "clustering": "#690f66",
    "linear": "#d55e00", "low-rank": "#009e73", "recurrent": "#b792c5", "hybrid": "#e79f00",
    "other": "#7a5c2e", "control": "#adadad",
}
INK, MUTED, RULE, GRID, PAPER = "#1b1b1c", "#5e6166", "#9a9da1", "#e4e5e7", "#ffffff"

# Filled markers that stay apart at 3 pt. A family has fewer variants than that.
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "p", "<", "*", ">", "h", "d", "8"]
SYMBOLS = {  # the same in plotly
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down",
    "P": "cross", "X": "x", "p": "pentagon", "<": "triangle-left", "*": "star",
    ">": "triangle-right", "h": "hexagon", "d": "diamond-tall", "8": "octagon"}
CATALOGUE = {
    "exact": ["flash", "full", "chunked"],
    "sparse": ["sliding-window", "sparse-strided", "longformer", "topk", "bigbird", "sink-window",
               "moba", "block-local", "dilated-window", "sparse-fixed", "nsa"],
    "hashing": ["lsh"],
    "clustering": ["routing", "clustered"],
    "linear": ["linear-elu", "taylor1", "efficient", "performer", "taylor2", "cosformer", "rfa",
               "hedgehog", "performer-relu", "aft-simple"],
    "low-rank": ["linformer", "nystrom", "pooled", "skyformer"],
    "recurrent": ["retention", "gla", "deltanet", "lightning"],
    "hybrid": ["scatterbrain", "sinkhorn"],
    "other": ["synthesizer-dense", "synthesizer-random", "aft-full", "fnet"],
    "control": ["uniform", "null"],
}
FONT = "DejaVu Sans"  # comes with matplotlib: the same on every machine
DASHES = ["-", (0, (4, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1, 1.4))]

# Width in inches and type sizes in points for one and two columns of a paper.
SIZES = {
    1: {"width": 3.35, "text": 6.2, "title": 7.4, "line": 0.9, "mark": 2.6},
    2: {"width": 6.90, "text": 7.0, "title": 9.0, "line": 1.1, "mark": 3.4},
}

matplotlib.rcParams.update({
    "font.family": FONT,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "attnbench",
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "path.simplify": False,
})


def colour(family):
    """Colour of a family; a family that is not known is `other`."""
    return FAMILIES.get(family, FAMILIES["other"])


def text_colour(family):
    """The family's colour, darkened until text in it is readable on white."""
    rgb = matplotlib.colors.to_rgb(colour(family))
    while _contrast(rgb) < 4.5:
        rgb = tuple(c * 0.95 for c in rgb)
    return matplotlib.colors.to_hex(rgb)


def on_dark(value, least=0.2):
    """A colour lightened to a luminance of `least`, for dark paper; ink becomes white."""
    rgb = matplotlib.colors.to_rgb(value)
    if max(rgb) < 0.15:
        return "#eceef0"
    while _luminance(rgb) < least:
        rgb = tuple(c + (1 - c) * 0.06 for c in rgb)
    return matplotlib.colors.to_hex(rgb)


def marker(family, variant):
    """Marker of a variant: by catalogue, else by a hash of its name, so that it
    is the same in every figure whatever else is drawn."""
    known = CATALOGUE.get(family, [])
    if variant in known:
        return MARKERS[known.index(variant) % len(MARKERS)]
    free = MARKERS[len(known):] or MARKERS
    return free[zlib.crc32(variant.encode()) % len(free)]


def mark_size(shape, size):
    """Size at which a marker looks as large as a circle of the given one."""
    return size * {"*": 1.7, "P": 1.15, "X": 1.15, "p": 1.15, "D": 0.9, "s": 0.95, "d": 1.2,
                   "<": 1.1, ">": 1.1, "^": 1.1, "v": 1.1}.get(shape, 1.0)


def dashes(index):
    """Line pattern of the index-th setting of one variant."""
    return DASHES[index % len(DASHES)]


def _contrast(rgb):
    """WCAG contrast of a colour against white."""
    return 1.05 / (_luminance(rgb) + 0.05)


def _luminance(rgb):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
