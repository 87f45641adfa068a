# SPDX-License-Identifier: BSD-3-Clause
"""Where labels go so that none covers another, a point or the edge.

All sizes are in points (1/72 inch).
"""
from functools import lru_cache

import numpy as np
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from scipy.optimize import isotonic_regression


@lru_cache(maxsize=4096)
def text_width(text, size, weight="normal"):
    """Advance width of a line of text."""
    font = get_font(_font_file(weight))
    font.set_size(size, 72)
    font.set_text(text, 0, flags=LoadFlags.NO_HINTING)
    return font.get_width_height()[0] / 64


@lru_cache
def _font_file(weight):
    return findfont(FontProperties(weight=weight))


def cut(text, size, width):
    """The text, shortened with an ellipsis to at most width."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(parts, size, width, glue=" · ", weight="normal"):
    """Lines of parts joined by glue, each at most width; a part is never broken
    unless it is wider than a line itself, then between its words."""
    pieces = []
    for part in parts:
        if text_width(part, size, weight) <= width or " " not in part:
            pieces.append((part, glue))
        else:
            words = part.split(" ")
            pieces += [(w, " ") for w in words[:-1]] + [(words[-1], glue)]
    lines, line, joint = [], "", ""
    for piece, after in pieces:
        longer = line + joint + piece if line else piece
        if line and text_width(longer, size, weight) > width:
            lines.append(line)
            longer = piece
        line, joint = longer, after
    return lines + [line] if line else lines


def spread(wanted, gap, low, high):
    """Positions nearest to the wanted ones, in least squares, that keep their
    order, are gap apart and lie in [low, high] (if they fit at all).

    With z_i - z_(i-1) >= gap, z_i - i gap is non-decreasing: an isotonic
    regression.
    """
    wanted = np.asarray(wanted, dtype=float)
    if not wanted.size:
        return wanted
    order = np.argsort(wanted, kind="stable")
    steps = np.arange(wanted.size) * gap
    room = max(high - low - steps[-1], 0)
    flat = isotonic_regression(np.clip(wanted[order], low, high) - steps).x
    placed = np.empty_like(wanted)
    placed[order] = np.clip(flat, low, low + room) + steps
    return placed


def place(points, sizes, bounds, radius, segments=(), taken=()):
    """Lower left corners for labels of scattered points.

    points (k, 2) and sizes (k, 2); bounds (x0, y0, x1, y1); radius: what a
    marker takes up; segments: lines ((x0, y0), (x1, y1)) that labels had better
    not lie on; taken: boxes (x0, y0, x1, y1) they may not lie on. Labels are
    placed one by one, each in the cheapest place around its point, and again
    while that helps; of several orders the one that ends cheapest is kept.
    """
    points, sizes = np.asarray(points, float), np.asarray(sizes, float)
    if not len(points):
        return np.empty((0, 2))
    fixed = np.reshape(np.asarray(taken, float), (-1, 4))
    options = [_options(p, s, radius) for p, s in zip(points, sizes)]
    still = (points, bounds, radius, fixed, _sample(segments))
    near = np.sort(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)), axis=1)
    orders = [near[:, :4].sum(axis=1), points[:, 0], -points[:, 1], points[:, 1]]
    orders = orders if len(points) <= 20 else orders[:2] if len(points) <= 30 else orders[:1]
    ends = [_settle(options, np.argsort(o, kind="stable"), still) for o in orders]
    return min(ends, key=lambda end: end[0])[1][:, :2]


def _settle(options, order, still):
    """(total cost, boxes) after placing labels in an order until none moves."""
    points = still[0]
    boxes, cost = np.full((len(points), 4), np.nan), np.zeros(len(points))
    for _ in range(4):
        moved = False
        for i in order:
            value = _cost(options[i], i, boxes, still)
            best = options[i][value.argmin()]
            cost[i] = value.min()
            if not np.array_equal(best, boxes[i]):
                boxes[i], moved = best, True
        if not moved:
            break
    return cost.sum(), boxes


def anchor(point, corner, size):
    """The point of a label's box that is nearest to its marker."""
    corner, size = np.asarray(corner), np.asarray(size)
    return np.clip(point, corner, corner + size)


def _options(point, size, radius):
    """Boxes (x0, y0, x1, y1) around a point: close first."""
    out = []
    for ring in (1.5, 6, 12, 20, 30, 42, 56, 72, 90, 112, 136):
        for angle in np.linspace(0, 2 * np.pi, 16 if ring < 20 else 32, endpoint=False):
            x, y = np.cos(angle), np.sin(angle)
            away = radius + ring
            left = point[0] + x * away + (x - 1) / 2 * size[0]
            low = point[1] + y * away + (y - 1) / 2 * size[1]
            out.append((left, low, left + size[0], low + size[1]))
    return np.array(out)


def _cost(options, i, boxes, still):
    """Length of the leader, and what it costs to lie where something else is:
    dearest outside the bounds, then on a label, on a marker, across a leader.

    boxes: of the labels so far, NaN where there is none yet."""
    points, bounds, radius, fixed, lines = still
    there = ~np.isnan(boxes[:, 0])
    there[i] = False
    others = np.vstack([boxes[there], fixed])
    leads = np.hstack([points, np.clip(points, boxes[:, :2], boxes[:, 2:])])[there]
    mine = np.hstack([np.broadcast_to(points[i], (len(options), 2)),
                      np.clip(points[i], options[:, :2], options[:, 2:])])
    markers = np.delete(np.hstack([points, points]), i, axis=0)
    outside = ((options[:, 0] < bounds[0]) | (options[:, 1] < bounds[1])
               | (options[:, 2] > bounds[2]) | (options[:, 3] > bounds[3]))
    path = _along(mine)
    around = radius + 0.5
    return (np.hypot(*(mine[:, 2:] - mine[:, :2]).T) + 1e6 * outside
            + 1e4 * _meet(options, others, 1.5, 1).sum(axis=1)
            + 300 * _meet(options, markers, around, around).sum(axis=1)
            + 30 * _meet(options, lines, 1, 1).any(axis=1)
            + 60 * _cross(mine, leads)
            + 60 * _meet(path, markers, 1, 1).any(axis=1).sum(axis=1)
            + 200 * _meet(path, others, 0, 0).any(axis=1).sum(axis=1)
            + 200 * _meet(_along(leads).reshape(-1, 4), options, 0, 0).sum(axis=0) / 3)


def _meet(a, b, pad_x, pad_y):
    """Whether boxes a (.., k, 4) and b (m, 4) are nearer than the pads: (.., k, m)."""
    a = a[..., None, :]
    return ((a[..., 0] < b[:, 2] + pad_x) & (a[..., 2] > b[:, 0] - pad_x)
            & (a[..., 1] < b[:, 3] + pad_y) & (a[..., 3] > b[:, 1] - pad_y))


def _cross(a, b):
    """How many segments of b each segment of a crosses."""
    if not len(b):
        return np.zeros(len(a))

    def side(p, q, r):
        return np.sign((q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
                       - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0]))
    a0, a1, b0, b1 = a[:, None, :2], a[:, None, 2:], b[None, :, :2], b[None, :, 2:]
    return ((side(a0, a1, b0) * side(a0, a1, b1) < 0)
            & (side(b0, b1, a0) * side(b0, b1, a1) < 0)).sum(axis=1)


def _along(leads):
    """Points along segments, as boxes without extent: (k, 9, 4)."""
    t = np.linspace(0, 1, 9)[None, :, None]
    spots = leads[:, None, :2] * (1 - t) + leads[:, None, 2:] * t
    return np.concatenate([spots, spots], axis=2)


def _sample(segments):
    """Points along obstacle lines, 3 pt apart, as boxes without extent."""
    out = [np.empty((0, 2))]
    for start, end in segments:
        start, end = np.asarray(start, float), np.asarray(end, float)
        steps = max(int(np.hypot(*(end - start)) / 3), 1)
        out.append(start + (end - start) * np.linspace(0, 1, steps + 1)[:, None])
    spots = np.vstack(out)
    return np.hstack([spots, spots])
