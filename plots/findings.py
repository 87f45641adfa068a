# SPDX-License-Identifier: BSD-3-Clause
"""The three most interesting findings of a run, in words, each computed.

A sentence is said only about lengths that were measured, and a difference is
one only if its interval is.
"""
import textwrap
from dataclasses import dataclass

import numpy as np

from .axes import bytes_text, number
from .data import STATUSES
from .derive import NOT_APPROXIMATE
from .speed import FASTER, SAME, SLOWER, speedup_at

DIFFER = 0.15  # exponents this far apart are worth a word


@dataclass(frozen=True)
class Finding:
    title: str
    text: str
    figure: tuple  # (slug of the group, name of the figure that shows it)
    numbers: dict  # what the sentence was made from


def findings(analysis, most=4):
    """Up to `most` findings, the most telling first."""
    makers = (_speed, _errors, lambda a: _exact(a) or _memory(a), _growth)
    return [f for f in (make(analysis) for make in makers) if f][:most]


def as_text(found):
    """For a terminal: numbered paragraphs."""
    if not found:
        return "Nothing to compare: too few cells were measured."
    return "\n".join(textwrap.fill(f"{i}. {f.title}. {f.text}", 100, subsequent_indent="   ",
                                   break_long_words=False, break_on_hyphens=False)
                     for i, f in enumerate(found, 1))


def approximations(group):
    return [s for s in group.series if s.family not in NOT_APPROXIMATE]


def _place(group):
    """What a sentence holds for."""
    key = group.key
    threads = f"{key['threads']:g} thread" + "s" * (key["threads"] != 1)
    return (f"{group.input} (d {key['d_head']:g}, {'causal' if key['causal'] else 'bidirectional'}, "
            f"{threads})")


def _widest(run, test):
    """The group that reaches the largest length at which test(group, n) holds."""
    best = None
    for group in run.groups:
        lengths = [n for n in group.measured_lengths if test(group, n)]
        if lengths and (best is None or lengths[-1] > best[1]):
            best = (group, lengths[-1])
    return best


def _timed(group, variant, n):
    series = group.find(variant)
    return series is not None and series.timed(n)


def _error(row):
    return number(row["err_exact_rel_fro"])


def _speed(analysis):
    """Which approximation beats flash, from which length, at what error."""
    run, rounds = analysis.run, analysis.rounds
    def comparable(group, n):
        return _timed(group, "flash", n) and any(s.at(n) is not None for s in approximations(group))
    found = _widest(run, comparable)
    if not found:
        return None
    group, n = found
    flash = group.find("flash")
    rivals = [(s, speedup_at(rounds, flash, s, n)) for s in approximations(group)
              if s.at(n) is not None]
    faster = [(s, r) for s, r in rivals if r.verdict(analysis.margin) == FASTER]
    numbers = {"n": n, "faster": len(faster), "of": len(rivals), "input": group.key["input_kind"]}
    text = f"On {_place(group)} at n = {n}, "
    figure = (group.slug, "time")
    if not faster:
        best, ratio = max(rivals, key=lambda p: p[1].value)
        numbers.update(best=best.label, ratio=ratio)
        return Finding("No approximation is clearly faster than exact attention", text
                       + f"none of {len(rivals)} approximations is faster than flash, the tiled exact "
                       f"one; the nearest is {best.label}, {ratio} times as fast.", figure, numbers)
    best, ratio = max(faster, key=lambda p: p[1].value)
    cross = analysis.crossing("flash", best)
    numbers.update(best=best.label, ratio=ratio, crossing=cross)
    text += (f"{len(faster)} of {len(rivals)} approximations are faster than flash, the tiled exact "
             f"one. The fastest is {best.label}: {ratio} times as fast"
             f"{_at_error(group, best, n)}{_with_memory(best.at(n), flash.at(n))}. It is faster {_from(cross)}.")
    known = [p for p in faster if np.isfinite(p[0].at(n)["err_exact_rel_fro"])]
    if known:
        near, near_ratio = min(known, key=lambda p: p[0].at(n)["err_exact_rel_fro"])
        if near is not best:
            numbers.update(nearest=near.label, nearest_ratio=near_ratio)
            text += (f" The most accurate of the faster ones is {near.label}: {near_ratio} times as "
                     f"fast, error {_error(near.at(n))}.")
    return Finding(f"Fastest: {best.label}, {number(ratio.value)} times as fast as flash", text, figure,
                   numbers)


def _at_error(group, series, n):
    row = series.at(n)
    if not np.isfinite(row["err_exact_rel_fro"]):
        return ""
    level = group.uniform(n)
    beside = f" (a plain mean of the values scores {number(level)})" if np.isfinite(level) else ""
    return f", at a relative error of {_error(row)}{beside}"


def _with_memory(row, base):
    ours, theirs = row["ws_tracked_bytes"], base["ws_tracked_bytes"]
    if not np.isfinite(ours) or not np.isfinite(theirs):
        return ""
    return f", with {bytes_text(ours)} of workspace (flash: {bytes_text(theirs)})"


def _from(cross):
    """A crossing to round off "It is faster ..."."""
    lengths = sorted(cross.at)
    if cross.kind == "always":
        return f"at every length measured, from n = {lengths[0]} on"
    if cross.kind == "once" and cross.length():
        return f"from about n = {cross.length()} on" + (
            f"; measured: slower at {cross.below}, faster at {cross.above}" if cross.below else "")
    if cross.kind == "once" and cross.below:
        return f"from n = {cross.above} on; at n = {cross.below} it is still slower"
    if cross.kind == "once":
        return f"from n = {cross.above} on; below, the rounds do not tell"
    return str(cross)


def _errors(analysis):
    """Where cheap variants are further off than not attending at all."""
    run = analysis.run
    parts, numbers = [], {}
    groups = sorted(run.groups, key=lambda g: -max(g.measured_lengths, default=0))
    seen = set()
    for group in groups:
        if group.key["input_kind"] in seen:
            continue
        part = _errors_of(group)
        if part:
            seen.add(group.key["input_kind"])
            parts.append(part)
    if not parts:
        return None
    parts = parts[:3]
    numbers = {p[1]["input"]: p[1] for p in parts}
    worse = sum(p[1]["worse"] for p in parts)
    title = ("Some approximations are worse than not attending" if worse
             else "Every approximation beats the plain mean")
    slug = parts[0][2].slug
    return Finding(title, " ".join(p[0] for p in parts) + f" {_seeds(run)}", (slug, "error"), numbers)


def _errors_of(group):
    for n in reversed(group.measured_lengths):
        rows = [(s, s.at(n)) for s in approximations(group) if s.at(n) is not None]
        rows = [(s, r) for s, r in rows if np.isfinite(r["err_exact_nmse_u"])]
        if rows:
            break
    else:
        return None
    worse = [s for s, r in rows if r["err_exact_nmse_u"] > 1]
    best, row = min(rows, key=lambda p: p[1]["err_exact_rel_fro"])
    entropy = [r["entropy_ratio"] for _, r in rows if np.isfinite(r["entropy_ratio"])]
    at = f" (entropy ratio {np.median(entropy):.2f})" if entropy else ""
    if not worse:
        count = f"none of {len(rows)} approximations is"
    else:
        count = f"{len(worse)} of {len(rows)} approximations " + ("is" if len(worse) == 1 else "are")
    text = (f"On {_place(group)} at n = {n}{at}, {count} further from exact attention than a plain "
            f"mean of the visible values, whose error is {number(group.uniform(n))}; the most accurate is "
            f"{best.label} with {_error(row)}.")
    return text, {"input": group.key["input_kind"], "n": n, "worse": len(worse), "of": len(rows),
                  "best": best.label, "error": row["err_exact_rel_fro"],
                  "uniform": group.uniform(n)}, group


def _seeds(run):
    seeds = run.cells["seed"].nunique()
    return ("The errors are those of one seed." if seeds == 1
            else f"The errors are medians over {seeds} seeds.")


def _exact(analysis):
    """Naive against tiled exact attention, in time and memory."""
    found = _widest(analysis.run, lambda g, n: _timed(g, "full", n) and _timed(g, "flash", n))
    if not found:
        return None
    group, n = found
    full, flash = group.find("full").at(n), group.find("flash").at(n)
    ratio = speedup_at(analysis.rounds, group.find("full"), group.find("flash"), n)
    title = {FASTER: f"Tiling makes exact attention {number(ratio.value)} times as fast",
             SLOWER: "Tiling costs exact attention time here",
             SAME: "Tiling changes memory, not time"}.get(ratio.verdict(analysis.margin),
                                                    "Tiled and naive attention")
    text = (f"On {_place(group)} at n = {n}, flash is {ratio} times as fast as full, which stores all "
            "scores")
    numbers = {"n": n, "ratio": ratio}
    share = full["ws_tracked_bytes"] / flash["ws_tracked_bytes"] if flash["ws_tracked_bytes"] else np.nan
    if np.isfinite(share):
        numbers["memory_ratio"] = share
        text += (f"; full takes {bytes_text(full['ws_tracked_bytes'])} of workspace, counted to the "
                 f"byte, and flash {bytes_text(flash['ws_tracked_bytes'])}, a ratio of {number(share)}")
    text += "."
    lean = _leanest(group, n)
    if lean and lean[0].label != "flash":
        numbers.update(leanest=lean[0].label, leanest_bytes=lean[1])
        text += f" The least workspace of all is that of {lean[0].label}: {bytes_text(lean[1])}."
    for _, first, row in group.find("full").ends:
        if first > n:
            text += f" From n = {first} on full {_why(row)}."
    return Finding(title, text, (group.slug, "memory"), numbers)


def _why(row):
    word = STATUSES[row["status"]]
    return word if word.split(" ")[0] in ("would", "timed", "crashed", "misses", "could") else f"is {word}"


def _workspaces(group, n):
    """[(series, bytes)] at length n, of attention proper."""
    rows = [(s, s.at(n)) for s in group.series if s.at(n) is not None and s.family != "control"]
    return [(s, r["ws_tracked_bytes"]) for s, r in rows if np.isfinite(r["ws_tracked_bytes"])]


def _leanest(group, n):
    rows = _workspaces(group, n)
    return min(rows, key=lambda p: p[1]) if rows else None


def _memory(analysis):
    """Most and least workspace, where there is no pair of exact variants."""
    found = _widest(analysis.run, lambda g, n: sum(s.at(n) is not None for s in g.series) >= 2)
    if not found:
        return None
    group, n = found
    rows = [(s, b) for s, b in _workspaces(group, n) if b > 0]
    if len(rows) < 2:
        return None
    low, high = min(rows, key=lambda p: p[1]), max(rows, key=lambda p: p[1])
    return Finding("Workspace", f"On {_place(group)} at n = {n}, {high[0].label} takes "
                   f"{bytes_text(high[1])} of workspace and {low[0].label} {bytes_text(low[1])}: "
                   f"a ratio of {number(high[1] / low[1])}, counted to the byte.",
                   (group.slug, "memory"), {"n": n, "ratio": high[1] / low[1]})


def _growth(analysis):
    """Exponents of the group that reaches furthest, and what does not do as it declares."""
    found = _widest(analysis.run, lambda g, n: any(analysis.fit(s, "time") for s in g.series))
    if not found:
        return None
    group, n = found
    fits = [(s, analysis.fit(s, "time")) for s in group.series if s.family != "control"]
    fits = [(s, f) for s, f in fits if f and f.n[-1] == n] or [(s, f) for s, f in fits if f]
    if not fits:
        return None
    said = [(s, f.tail if f.tail_from else f.exponent, f.tail_from or f.n[0]) for s, f in fits]
    lead = next((p for p in said if p[0].variant == "flash"), said[0])
    least, most = min(said, key=lambda p: p[1].value), max(said, key=lambda p: p[1].value)
    text = (f"On {_place(group)}, the time of {lead[0].label} grows as n to the power {lead[1]} between n = "
            f"{lead[2]} and {n}")
    rest = [p for p in (least, most) if p[0] is not lead[0] and abs(p[1].value - lead[1].value) > DIFFER]
    if rest:
        text += "; " + "; ".join(f"{'least' if p is least else 'most'}, that of {p[0].label}: {p[1]}" for p in rest)
    rising = [s.label for s, f in fits if not f.tail_from and len(f.n) >= 4]
    text += "."
    if rising:
        text += (f" The slope still changes within these lengths for {len(rising)} of {len(fits)}"
                 + (f" ({', '.join(rising)})" if len(rising) <= 4 else "") + ": no one exponent holds.")
    beyond = [(s, f.work) for s, f in fits if np.isfinite(f.work.low) and f.work.low > 1 + DIFFER]
    if beyond:
        s, work = max(beyond, key=lambda p: p[1].value)
        text += (f" Time grows faster than the declared operations for {len(beyond)}, most for {s.label}: as these "
                 f"to the power {work}.")
    return Finding("Growth of time, within the lengths measured", text, (group.slug, "exponents"),
                   {"lead": lead[0].label, "slope": lead[1].value, "low": lead[1].low, "high": lead[1].high})
