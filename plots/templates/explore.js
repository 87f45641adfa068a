// Interactive charts. The library is in the page as text and is run when the
// section is opened, so that a reader who does not open it does not wait.
{
  const data = JSON.parse($("data").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const axes = {
    time: ["time of one forward pass [ms]", "ms"], state: ["kept between tokens [bytes]", "B"], memory: ["peak workspace beside Q, K, V, O [bytes]", "B"],
    error: ["relative error, ‖X − Y‖ / ‖Y‖ [1]", ""], accuracy: ["task accuracy [1]", ""],
  };
  // A call is a forward pass, or the step of a token: then part() has words of its own.
  const axis = (quantity) => part().axes[quantity] || axes[quantity];
  const part = () => data.groups[$("chart-group") ? Number($("chart-group").value) : 0];
  const chosen = { pareto: ["time", "error"], "memory-pareto": ["memory", "error"] };  // x and y of the charts of one length
  const hidden = new Set();

  function base(s) {
    return { name: s.name, legendgroup: s.family, legendgrouptitle: { text: s.family },
      marker: { symbol: s.symbol, size: 8, color: colour(`family-${s.family}`) },
      line: { color: colour(`family-${s.family}`), width: 1.8, dash: ["solid", "dash", "dot", "dashdot"][s.index % 4] } };
  }
  function bars(s, at) {
    const have = at.every((i) => s.low[i] !== null && s.high[i] !== null);
    return have ? { type: "data", symmetric: false, thickness: 1.2, width: 3, color: colour(`family-${s.family}`),
      array: at.map((i) => s.high[i] - s.time[i]), arrayminus: at.map((i) => s.time[i] - s.low[i]) } : undefined;
  }
  function curves(quantity) {
    const [, unit] = axis(quantity);
    return part().series.filter((s) => !hidden.has(s.family) && s[quantity].some((v) => v !== null)).map((s) => {
      const at = s.n.map((_, i) => i).filter((i) => s[quantity][i] !== null);
      const more = quantity === "time" ? at.map((i) => (s.low[i] === null ? "" : ` [${s.low[i]}, ${s.high[i]}]`)) : at.map(() => "");
      return { ...base(s), mode: "lines+markers", x: at.map((i) => s.n[i]), y: at.map((i) => s[quantity][i]), text: more,
        error_y: quantity === "time" ? bars(s, at) : undefined, hovertemplate: `%{y:.4g} ${unit}%{text}<br>n = %{x}` };
    });
  }
  function points(n, x) {
    return part().series.filter((s) => !hidden.has(s.family)).flatMap((s) => {
      const i = s.n.indexOf(n);
      if (i < 0 || s.error[i] === null || s[x][i] === null) return [];
      return [{ ...base(s), mode: "markers+text", x: [s[x][i]], y: [s.error[i]], text: [s.name], textposition: "top center",
        error_x: x === "time" ? bars(s, [i]) : undefined, hovertemplate: `%{x:.4g} ${axis(x)[1]}, error %{y:.3g}` }];
    });
  }
  function level(name, points, dash) {
    return { name, mode: "lines", x: points.map((p) => p[0]), y: points.map((p) => p[1]), line: { color: colour("muted"), width: 1.2, dash },
      legendgroup: "levels", legendgrouptitle: { text: "to compare with" }, hovertemplate: "%{y:.3g}" };
  }
  function draw() {
    const quantity = $("quantity").value, type = $("log").checked ? "log" : "linear";
    const lengths = [...new Set(part().series.flatMap((s) => s.n))].sort((a, b) => a - b);
    const n = Number($("chart-length").value);
    const [across, up] = chosen[quantity] || ["n", quantity], pareto = across !== "n", narrow = $("chart").clientWidth < 640;
    const traces = pareto ? points(n, across) : curves(quantity);
    if (quantity === "error" && lengths.length) {
      traces.push(level("zero output", lengths.map((x) => [x, 1]), "dot"));
      if (part().uniform.length) traces.push(level("uniform average", part().uniform, "dash"));
    }
    const grid = { gridcolor: colour("grid"), linecolor: colour("rule"), zeroline: false, exponentformat: "power", automargin: true };
    Plotly.react("chart", traces, {
      paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"), font: { color: colour("ink"), family: "system-ui, sans-serif", size: 13 },
      margin: { l: 70, r: 15, t: 40, b: 55 }, hovermode: "closest",
      xaxis: { ...grid, type, title: { text: pareto ? axis(across)[0] : part().length }, ...(pareto ? {} : { tickvals: lengths, ticktext: lengths.map(String) }) },
      yaxis: { ...grid, type: up === "accuracy" ? "linear" : type, title: { text: axis(up)[0] }, rangemode: "tozero" },
      legend: narrow ? { orientation: "h", y: -0.2, groupclick: "toggleitem" } : { groupclick: "toggleitem", tracegroupgap: 4 },
    }, { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { format: "svg", filename: `attnbench-${quantity}` } });
  }
  function choices() {
    const lengths = [...new Set(part().series.flatMap((s) => s.n))].sort((a, b) => a - b);
    $("chart-length").replaceChildren(...lengths.map((n) => new Option(n, n, false, n === lengths[lengths.length - 1])));
    $("chart-length-label").hidden = !chosen[$("quantity").value];
    const families = data.families.filter((f) => part().series.some((s) => s.family === f));
    $("chart-families").replaceChildren(...families.map((f) => {
      const label = document.createElement("label"), box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !hidden.has(f);
      box.addEventListener("change", () => { if (box.checked) hidden.delete(f); else hidden.add(f); draw(); });
      label.append(box, ` ${f}`);
      return label;
    }));
  }
  // The input and the mask that the page is narrowed to narrow the choice here too.
  function offered() {
    const select = $("chart-group");
    if (!select) return;
    for (const o of select.options) o.hidden = o.disabled = !allowed(data.groups[Number(o.value)].slug);
    if (select.selectedOptions[0].disabled) {
      select.value = (Array.from(select.options).find((o) => !o.disabled) || select.options[0]).value;
      choices();
    }
  }
  $("charts").addEventListener("toggle", () => {
    if (!$("charts").open || window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = $("plotly").textContent;
    document.head.append(script);
    choices();
    offered();
    draw();
    later.push(offered, draw);
    for (const id of ["quantity", "chart-group"]) if ($(id)) $(id).addEventListener("change", () => { choices(); draw(); });
    for (const id of ["chart-length", "log"]) $(id).addEventListener("change", draw);
  });
  $("quantity").form.addEventListener("submit", (event) => event.preventDefault());
  if (location.hash === "#explore") $("charts").open = true;
}
