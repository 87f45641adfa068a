"use strict";
const $ = (id) => document.getElementById(id);
const all = (query, from = document) => Array.from(from.querySelectorAll(query));
const later = [];  // what to do when the colours change
for (const el of all("[hidden]")) if (el.id !== "chart-length-label") el.hidden = false;

// Light and dark: the system's choice until the button is used.
{
  const root = document.documentElement, button = $("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("attnbench-theme"); } catch (e) { /* a file: page may not keep anything */ }
  const asked = new URLSearchParams(location.search).get("theme") || kept;
  if (asked === "dark" || asked === "light") root.dataset.theme = asked;
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => { button.textContent = dark() ? "Light" : "Dark"; later.forEach((f) => f()); };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("attnbench-theme", root.dataset.theme); } catch (e) { /* as above */ }
    show();
  });
  system.addEventListener("change", show);
  show();
}

// One group at a time, one length of a Pareto figure at a time. Input and mask say
// which groups there are to choose from, here, in the charts and in the table.
const group = $("group");
const wanted = () => ({ input: $("input") ? $("input").value : "", mask: $("mask") ? $("mask").value : "" });
function matching(el) {
  const { input, mask } = wanted();
  return (!input || el.dataset.input === input) && (!mask || el.dataset.mask === mask);
}
const groups = group ? Array.from(group.options).filter((o) => o.value) : [];
function allowed(slug) {
  const option = groups.find((o) => o.value === slug);
  return !option || matching(option);
}
function pick(slug) {
  for (const el of all("main section [data-group]:not(tr)")) el.hidden = slug ? el.dataset.group !== slug : !allowed(el.dataset.group);
}
function length(slug, n) {
  for (const el of all(`[data-group="${CSS.escape(slug)}"] figure[data-length]`)) el.hidden = el.dataset.length !== n;
}
function narrow() {
  for (const o of groups) o.hidden = o.disabled = !matching(o);
  if (group.value && !allowed(group.value)) group.value = (groups.find(matching) || { value: "" }).value;
  pick(group.value);
  later.forEach((f) => f());
}
if (group) {
  group.addEventListener("change", () => pick(group.value));
  for (const id of ["input", "mask"]) if ($(id)) $(id).addEventListener("change", narrow);
  pick(group.value);
}
for (const select of all("select[data-lengths]")) {
  select.addEventListener("change", () => length(select.dataset.lengths, select.value));
  length(select.dataset.lengths, select.value);
}
// A link to a figure shows it first.
function reveal() {
  const el = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
  const part = el && el.closest("[data-group]");
  if (part && part.hidden) {
    for (const id of ["input", "mask"]) if ($(id)) $(id).value = "";
    group.value = part.dataset.group;
    narrow();
  }
  const figure = el && el.closest("figure[data-length]");
  if (figure && figure.hidden) {
    const select = part.querySelector("select[data-lengths]");
    select.value = figure.dataset.length;
    length(select.dataset.lengths, select.value);
  }
  if (el && part) el.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();

// Tables sort by a click on a head; empty cells stay last.
function value(row, column) {
  const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "" || text === "nan") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}
for (const table of all("table.sortable")) {
  all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      all("thead th", table).forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = Array.from(table.tBodies[0].rows).map((row, i) => [value(row, column), i, row]);
      rows.sort(([a, i], [b, j]) => {
        if (a === null || b === null) return (a === null) - (b === null) || i - j;
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return (down ? -order : order) || i - j;
      });
      table.tBodies[0].append(...rows.map(([, , row]) => row));
    });
  });
}

// The table of cells keeps rows that hold every word.
{
  const rows = Array.from($("table").tBodies[0].rows), filter = $("filter");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const family = $("family").value;
    rows.forEach((row, i) => {
      row.hidden = !words.every((w) => texts[i].includes(w)) || (family && row.dataset.family !== family) || !allowed(row.dataset.group);
      shown += !row.hidden;
    });
    $("shown").textContent = `${shown} of ${rows.length}`;
  };
  filter.addEventListener("input", apply);
  $("family").addEventListener("change", apply);
  later.push(apply);
  filter.form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = $(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch (e) { getSelection().selectAllChildren($(button.dataset.copy)); }
  });
}
