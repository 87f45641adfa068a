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
    not lie on; taken: boxes (x0, y0, x1, y1) they may not lie on. Each label takes the nearest free place on rings around its
    point, the most crowded point first; then each is tried again while that helps.
    """
    points, sizes = np.asarray(points, float), np.asarray(sizes, float)
    if not len(points):
        return np.empty((0, 2))
    near = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    crowd = np.argsort(np.sort(near, axis=1)[:, :4].sum(axis=1), kind="stable")
    lines = _sample(segments)
    fixed = np.reshape(np.asarray(taken, float), (-1, 4))
    boxes = np.full((len(points), 4), np.nan)
    for _ in range(4):
        moved = False
        for i in crowd:
            others = np.vstack([np.delete(boxes, i, axis=0), fixed])
            leads = np.delete(_leads(points, boxes), i, axis=0)
            options = _options(points[i], sizes[i], radius)
            best = options[_cost(options, points, i, others, leads, lines, bounds, radius).argmin()]
            if not np.array_equal(best, boxes[i]):
                boxes[i], moved = best, True
        if not moved:
            break
    return boxes[:, :2]


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


def _leads(points, boxes):
    """Leader lines as segments (x0, y0, x1, y1); NaN where there is no box yet."""
    ends = np.clip(points, boxes[:, :2], boxes[:, 2:])
    return np.hstack([points, ends])


def _cost(options, points, i, others, leads, lines, bounds, radius):
    """Length of the leader, and what it costs to lie where something else is."""
    box = options[:, None]
    end = np.clip(points[i], options[:, :2], options[:, 2:])
    value = np.hypot(*(end - points[i]).T)
    inside = ((options[:, 0] >= bounds[0]) & (options[:, 1] >= bounds[1])
              & (options[:, 2] <= bounds[2]) & (options[:, 3] <= bounds[3]))
    value = value + 1e6 * ~inside
    taken = others[~np.isnan(others).any(axis=1)]
    if len(taken):
        hit = ((box[..., 0] < taken[:, 2] + 1.5) & (box[..., 2] > taken[:, 0] - 1.5)
               & (box[..., 1] < taken[:, 3] + 1) & (box[..., 3] > taken[:, 1] - 1))
        value = value + 1e4 * hit.sum(axis=1)
    pads = radius + 0.5
    hit = ((points[:, 0] > box[..., 0] - pads) & (points[:, 0] < box[..., 2] + pads)
           & (points[:, 1] > box[..., 1] - pads) & (points[:, 1] < box[..., 3] + pads))
    hit[:, i] = False
    value = value + 300 * hit.sum(axis=1)
    if len(lines):
        hit = ((lines[:, 0] > box[..., 0] - 1) & (lines[:, 0] < box[..., 2] + 1)
               & (lines[:, 1] > box[..., 1] - 1) & (lines[:, 1] < box[..., 3] + 1))
        value = value + 20 * hit.any(axis=1)
    mine = np.hstack([np.broadcast_to(points[i], end.shape), end])
    value = value + 60 * _cross(mine, leads[~np.isnan(leads).any(axis=1)])
    if len(taken):
        value = value + 200 * _through(mine, taken)
    own = leads[~np.isnan(leads).any(axis=1)]
    value = value + 200 * _through_any(own, options)
    return value


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


def _along(lines):
    """Points along segments: (m, 9, 2)."""
    t = np.linspace(0, 1, 9)[None, :, None]
    return lines[:, None, :2] * (1 - t) + lines[:, None, 2:] * t


def _through(leads, boxes):
    """How many boxes each leader runs through."""
    p = _along(leads)[:, :, None]
    hit = ((p[..., 0] > boxes[:, 0]) & (p[..., 0] < boxes[:, 2])
           & (p[..., 1] > boxes[:, 1]) & (p[..., 1] < boxes[:, 3]))
    return hit.any(axis=1).sum(axis=1)


def _through_any(leads, boxes):
    """How many leaders run through each box."""
    if not len(leads):
        return np.zeros(len(boxes))
    p = _along(leads).reshape(1, -1, 2)
    b = boxes[:, None]
    return ((p[..., 0] > b[..., 0]) & (p[..., 0] < b[..., 2])
            & (p[..., 1] > b[..., 1]) & (p[..., 1] < b[..., 3])).sum(axis=1) / 3


def _sample(segments):
    """Points along obstacle lines, 3 pt apart."""
    out = []
    for start, end in segments:
        start, end = np.asarray(start, float), np.asarray(end, float)
        steps = max(int(np.hypot(*(end - start)) / 3), 1)
        out.append(start + (end - start) * np.linspace(0, 1, steps + 1)[:, None])
    return np.vstack(out) if out else np.empty((0, 2))
