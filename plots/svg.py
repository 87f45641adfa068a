# SPDX-License-Identifier: BSD-3-Clause
"""SVG figures made part of a page: small, in its colours, and apart from each other;
and the font that their words are set in, cut down to the characters they use."""
import base64
import io
import re

from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont

from . import style


def colours():
    """{hex: name of a CSS variable} of every colour that a figure uses."""
    names = {style.INK: "ink", style.MUTED: "muted", style.RULE: "rule", style.GRID: "grid",
             style.PAPER: "paper"}
    for family, value in style.FAMILIES.items():
        names.setdefault(style.text_colour(family), f"text-{family}")
        names[value] = f"family-{family}"
    return names


_VARIABLES = {value: f"var(--{name})" for value, name in colours().items()}
_COLOUR = re.compile("|".join(_VARIABLES))
_ID = re.compile(r'(\bid="|xlink:href="#|url\(#)([^")]+)')
_TAG = re.compile(r"<[^>]*>")
_LONG = re.compile(r"(?:scale|matrix)\([^)]*\)|-?\d+\.\d{3,}")
_FONT = re.compile(r"font: (?:(?P<weight>\d+|bold) )?(?P<size>[\d.]+)px [^;\"]*|font-family: [^;\"]*; ?")


def inline(text, prefix, label):
    """An <svg> element for a page; ids get the prefix, label is read aloud."""
    text = text[text.index("<svg"):]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
    text = _ID.sub(lambda m: f"{m[1]}{prefix}{m[2]}", text)
    text = _TAG.sub(lambda tag: _LONG.sub(_rounded, tag[0]), text)
    text = _COLOUR.sub(lambda m: _VARIABLES[m[0]], text)
    text = _FONT.sub(_short_font, text)
    width, height = re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups()
    head = (f'<svg role="img" aria-label="{_attribute(label)}" viewBox="0 0 {width} {height}" '
            'xmlns:xlink="http://www.w3.org/1999/xlink">')
    body = text[text.index(">") + 1:]
    return head + re.sub(r"\n\s*", "\n", body).replace("\n>", ">").strip()


def _rounded(match):
    """Of places; what they are multiplied by stays."""
    return match[0] if match[0].endswith(")") else f"{float(match[0]):.2f}"


def _short_font(match):
    """The family is that of the page's figures; size and weight stay."""
    if match["size"] is None:
        return ""
    weight = f"font-weight: {match['weight']}; " if match["weight"] else ""
    return f"{weight}font-size: {match['size']}px"


def font_faces(pictures):
    """CSS with the figures' font for the characters of pictures, in two weights."""
    used = sorted(set(re.sub(r"&#?\w+;", "", "".join(re.findall(r">([^<>]+)<", "".join(pictures))))) | set("&<>"))
    return "\n".join(
        f"@font-face {{ font-family: figure; font-weight: {weight}; src: url(data:font/woff;base64,{_cut(used, weight)}) format('woff'); }}"
        for weight in ("normal", "bold"))


def _cut(characters, weight):
    """The font as base64, with these characters alone."""
    font = TTFont(findfont(FontProperties(family=style.FONT, weight=weight)), recalcTimestamp=False)
    cutter = subset.Subsetter(subset.Options(layout_features=["kern"], hinting=False, drop_tables=["FFTM"]))
    cutter.populate(text="".join(characters))
    cutter.subset(font)
    font.flavor = "woff"
    out = io.BytesIO()
    font.save(out)
    return base64.b64encode(out.getvalue()).decode()


def _attribute(text):
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
