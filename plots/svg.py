# SPDX-License-Identifier: BSD-3-Clause
"""SVG figures made part of a page: small, in its colours, and apart from each other.

Glyphs are the same in every figure and are kept once, in a sheet of their own.
"""
import re

from . import style

GLYPH = re.compile(r'\s*<path id="(DejaVu[^"]+|STIX[^"]+|Cmr[^"]+)" d="([^"]*)"([^>]*)/>')


def colours():
    """{hex: name of a CSS variable} of every colour that a figure uses."""
    names = {style.INK: "ink", style.MUTED: "muted", style.RULE: "rule", style.GRID: "grid",
             style.PAPER: "paper"}
    for family, value in style.FAMILIES.items():
        names.setdefault(style.text_colour(family), f"text-{family}")
        names[value] = f"family-{family}"
    return names


class Sprite:
    """Collects the glyphs of the figures that pass through inline()."""

    def __init__(self):
        self.glyphs = {}

    def inline(self, text, prefix, label):
        """An <svg> element for a page; ids get the prefix, label is read aloud."""
        text = text[text.index("<svg"):]
        text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
        for name, path, rest in GLYPH.findall(text):
            self.glyphs.setdefault(name, f'<path id="{name}" d="{_flat(path)}"{rest}/>')
        text = GLYPH.sub("", text)
        shared = self.glyphs

        def own(match):
            return match[0] if match[2] in shared else f"{match[1]}{prefix}{match[2]}"
        text = re.sub(r'(\bid=")([^"]+)', own, text)
        text = re.sub(r'(xlink:href="#)([^"]+)', own, text)
        text = re.sub(r"(url\(#)([^)]+)", own, text)
        text = re.sub(r"scale\([^)]*\)|-?\d+\.\d{3,}", _short, text)
        for value, name in colours().items():
            text = text.replace(value, f"var(--{name})")
        width, height = re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups()
        head = (f'<svg role="img" aria-label="{_attribute(label)}" viewBox="0 0 {width} {height}" '
                'xmlns:xlink="http://www.w3.org/1999/xlink">')
        body = text[text.index(">") + 1:]
        return head + re.sub(r"\n\s*", "\n", body).replace("\n>", ">").strip()

    def sheet(self):
        """The glyphs, for the top of the page."""
        return ('<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
                + "".join(self.glyphs.values()) + "</defs></svg>")


def _short(match):
    return match[0] if match[0].startswith("scale") else f"{float(match[0]):.2f}"


def _flat(path):
    return re.sub(r"\s+", " ", path).strip()


def _attribute(text):
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
