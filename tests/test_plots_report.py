# SPDX-License-Identifier: BSD-3-Clause
"""plots/: the report, as a file and in a real browser."""
import base64
import json
import re
import shutil
import subprocess

import pytest

import synthetic
from synthetic import FAULTS

from plots import data, findings, report

pytest_plugins = ("plots_fixtures",)


@pytest.fixture(scope="module")
def page(folder, run):
    made = report.report(run, folder, overlay=True)
    assert made.paths[0][0] == folder / "report.html"
    return (folder / "report.html").read_text(encoding="utf-8")


def test_report_holds_everything(page, analysis, folder):
    for finding in findings.findings(analysis):
        assert finding.title in page
    for status, message in FAULTS.values():
        assert f"<code>{status}</code>" in page
    assert "E is for &lt;n = 1024&gt;" in page and "<n = 1024>" not in page
    assert "<code>ci_wide</code>, 26 of 98" in page
    assert page.count("<tr class=\"bad\" ") == len(FAULTS)
    assert "attnbench run harness/sweeps/default.ini --out results/default" in page
    assert "0123456789abcdef0123456789abcdef01234567" in page
    assert "Example CPU 9000 8-Core Processor" in page
    for name in ("summary.csv", "fits.csv", "slopes.csv", "crossovers.csv"):
        csv = re.search(rf'download="{name}" href="data:text/csv;base64,([^"]+)"', page)[1]
        assert base64.b64decode(csv) == (folder / name).read_bytes()


def test_report_needs_no_network(page):
    body = page[:page.index('<script type="text/plain" id="plotly">')]
    assert not re.search(r'\b(?:src|href|xlink:href)="(?:https?:)?//', body)
    assert "@import" not in body and "<img" not in body
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', body))
    assert {a or b for a, b in used} <= set(ids)


def test_implied_weights_are_on_the_page(tmp_path):
    table = synthetic.write_run(tmp_path, groups=[("gauss:sigma=1", 64, (16, 32), 6, 0.8, 0.9)])
    synthetic.keep_weights(tmp_path, table)
    report.report(data.load(tmp_path), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    figure = re.search(r'<figure id="gauss-sigma=1-implied-n32".*?</figure>', text, re.S)[0]
    assert figure.count("<image ") == 11 + 1  # exact and ten others, and the scale
    assert "no weights that variants imply" not in text
    assert ">As exact, to 0.001: full" in figure  # words are not rounded, as places are
    assert re.search(r'matrix\(\d\.\d{4,} ', figure)  # nor is the size of a picture


def test_hostile_names_are_text(tmp_path):
    evil = {"flash": synthetic.VARIANTS["flash"],
            "</script><script>alert(1)</script>": ("<b>x", *synthetic.VARIANTS["taylor1"][1:])}
    synthetic.write_run(tmp_path, evil, synthetic.GROUPS[1:])
    made = report.report(data.load(tmp_path), tmp_path, formats=("svg",))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    links = re.findall(r'<a href="(figures/[^"]+)"', text)
    assert links and all((tmp_path / link).is_file() for link in links)
    assert [path for path, _ in made.paths][1] == tmp_path / "figures"


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def browse(url, profile, *more):
    """(document after its scripts ran, what the console said)."""
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         "--allow-file-access-from-files", "--virtual-time-budget=8000", f"--user-data-dir={profile}",
         *more, "--dump-dom", url], capture_output=True, text=True, timeout=120, errors="replace")
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_report_in_a_browser(page, folder, tmp_path):
    dom, console = browse(f"{(folder / 'report.html').as_uri()}#explore", tmp_path / "profile")
    assert console == []
    assert 'class="main-svg"' in dom  # plotly has drawn
    assert ">98 of 98<" in dom


FILTERS = """
  page.getElementById("family").value = "linear";
  page.getElementById("family").dispatchEvent(new Event("change"));
  out.linear = page.getElementById("shown").textContent;
  page.getElementById("family").value = "";
  page.getElementById("input").value = "real minilm";
  page.getElementById("input").dispatchEvent(new Event("change"));
  out.real = page.getElementById("shown").textContent;
  out.group = page.getElementById("group").value;
  out.gauss = page.querySelector('#flash [data-group="gauss-sigma=1_d64"]').hidden;
  page.getElementById("charts").open = true;
  setTimeout(() => {
    out.chart = page.getElementById("chart-group").selectedOptions[0].textContent.slice(0, 11);
    out.curves = page.querySelectorAll("#chart .scatterlayer .trace").length;
    const box = page.querySelector("#chart-families input");
    box.click();
    setTimeout(() => { out.fewer = page.querySelectorAll("#chart .scatterlayer .trace").length; document.title = JSON.stringify(out); }, 1500);
  }, 2500);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_filters_work(page, folder, tmp_path):
    (tmp_path / "frame.html").write_text(f"""<!doctype html><title>waiting</title>
<iframe src="{(folder / 'report.html').as_uri()}" style="width:1280px;height:900px;border:0"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const page = event.target.contentDocument, out = {{}};
  {FILTERS}
}});
</script>""")
    dom, console = browse((tmp_path / "frame.html").as_uri(), tmp_path / "profile", "--window-size=1300,1000")
    assert console == []
    out = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])
    assert out == {"linear": "28 of 98", "real": "28 of 98", "group": "real-minilm_d32", "gauss": True,
                   "chart": "real minilm", "curves": 13, "fewer": 10}


def test_page_is_readable_by_a_screen_reader(page):
    assert '<html lang="en">' in page and 'class="skip" href="#findings"' in page
    for svg in re.findall(r"<svg [^>]*>", page[:page.index('<script type="text/plain"')]):
        assert 'role="img"' in svg and re.search(r'aria-label="[^"]{20,}"', svg)
    for table in re.findall(r'<div class="scroll[^>]*>', page):
        assert 'tabindex="0"' in table and 'aria-label="' in table
    labels = set(re.findall(r'<label for="([^"]+)"', page))
    for field in re.findall(r"(<label[^>]*>[^<]*)?<(?:select|input)\b([^>]*)>", page):
        assert field[0] or re.search(r'id="([^"]+)"', field[1])[1] in labels, field


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_report_fits_its_window(page, folder, tmp_path, width):
    """Sorts, filters and picks in a frame of that width, and looks for what sticks out."""
    (tmp_path / "frame.html").write_text(f"""<!doctype html><title>waiting</title>
<iframe src="{(folder / 'report.html').as_uri()}" style="width:{width}px;height:900px;border:0"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const first = page.querySelector("#flash .scroll");
  const out = {{ over: root.scrollWidth - root.clientWidth, scrolls: first.scrollWidth > first.clientWidth }};
  page.querySelector("#table thead button").click();
  page.querySelector("#table thead button").click();
  out.first = page.querySelector("#table tbody th").textContent.trim();
  const filter = page.getElementById("filter");
  filter.value = "topk 4096";
  filter.dispatchEvent(new Event("input"));
  out.shown = page.getElementById("shown").textContent;
  const group = page.getElementById("group");
  group.value = "real-minilm_d32";
  group.dispatchEvent(new Event("change"));
  out.hidden = page.querySelector('#figures [data-group="gauss-sigma=1_d64"]').hidden;
  out.narrow = getComputedStyle(page.querySelector(".view.narrow")).display !== "none";
  document.title = JSON.stringify(out);
}});
</script>""")
    dom, console = browse((tmp_path / "frame.html").as_uri(), tmp_path / "profile", f"--window-size={max(width, 500)},1000")
    assert console == []
    out = json.loads(re.search(r"<title>(.*?)</title>", dom)[1])
    assert out == {"over": 0, "scrolls": width < 640, "first": "topk", "shown": "1 of 98", "hidden": True, "narrow": width < 640}
