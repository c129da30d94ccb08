// Draws the charts of the page, follows the theme, and lets a model and a tensor be chosen.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const charts = read("cuvee-charts"), themes = read("cuvee-themes"), layers = read("cuvee-layers");
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  const views = (window.cuveeViews = {});
  const narrow = matchMedia("(max-width: 480px)");
  let theme = "system";

  const dark = () => (theme === "system" ? system.matches : theme === "dark");

  function config() {
    const own = themes[dark() ? "dark" : "light"];
    return narrow.matches ? { ...own, axisY: { ...own.axisY, labelLimit: 92 } } : own;
  }

  const maps = ["map-cosine", "map-ratio", "map-conflict"];

  function rowsOf(which) {
    return layers.cells.flatMap((cell) => Object.entries(cell.models).map(([name, own]) => (
      { x: cell.layer, y: cell.part, model: name, value: own[which], label: number(own[which]) })));
  }

  const number = (value) => (value === null ? "–" : value === 0 ? "0" : Math.abs(value) < 0.001
    ? value.toExponential(1) : value.toFixed(3));

  async function draw(element) {
    const name = element.dataset.chart;
    const options = {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, config: config(), logLevel: 1,
      tooltip: { theme: dark() ? "dark" : "light" },
    };
    views[name]?.finalize();
    const spec = structuredClone(charts[name]);
    if (maps.includes(name)) spec.data.values = rowsOf(maps.indexOf(name));
    const made = await vegaEmbed(element, spec, options);
    views[name] = made.view;
    element.closest("figure").classList.add("drawn");
    if (maps.includes(name)) {
      made.view.addEventListener("click", (_, item) => item?.datum?.y !== undefined && choose(item.datum));
    }
  }

  let drawing = Promise.resolve();

  function drawAll() {
    root.removeAttribute("data-drawn");
    drawing = drawing.then(async () => {
      for (const element of document.querySelectorAll("[data-chart]")) {
        await draw(element).catch((error) => console.error(element.dataset.chart, error));
      }
      if (layers.cells) await show();
      root.setAttribute("data-drawn", dark() ? "dark" : "light");
    });
    return drawing;
  }

  // ---- layers -------------------------------------------------------------------------------------------------

  const model = document.getElementById("layer-model"), tensor = document.getElementById("layer-tensor");

  function choose(datum) {
    const found = layers.cells.findIndex(
      (cell) => cell.layer === datum.x && cell.part === datum.y && model.value in cell.models);
    if (found < 0) return;
    tensor.value = String(found);
    show();
  }

  function bars(cell, counts, series) {
    const width = (2 * cell.edge) / counts.length, total = counts.reduce((a, b) => a + b, 0) || 1;
    return counts.map((count, n) => (
      { from: n * width - cell.edge, to: (n + 1) * width - cell.edge, share: count / total, series }));
  }

  async function show() {
    const cell = layers.cells[Number(tensor.value)], name = model.value;
    for (const key of maps) {
      if (views[key]) await views[key].signal("model", name).runAsync();
    }
    fillMaps(name);
    const own = cell.models[name];
    const said = document.getElementById("layer-said");
    if (!own) {
      said.textContent = `${name} has no part in ${cell.part}, layer ${cell.layer}`;
      return;
    }
    said.textContent = `${cell.part}, layer ${cell.layer}, ${name}: cosine ${number(own[0])}, norm ratio ` +
      `${number(own[1])}, sign conflict ${number(own[2])}; ${cell.entries.toLocaleString("en")} entries`;
    const rows = [...bars(cell, own[3], "model"), ...bars(cell, cell.merged[3], "this merge")];
    if (views.spread) await views.spread.data("rows", rows).runAsync();
    const half = rows.length / 2, percent = (share) => `${(100 * share).toFixed(2)}%`;
    fill("spread", ["change", name, "this merge"], rows.slice(0, half).map((row, n) =>
      [`${row.from.toExponential(2)} to ${row.to.toExponential(2)}`, percent(row.share), percent(rows[half + n].share)]));
    const text = `How the changes of ${cell.part}, layer ${cell.layer}, are spread: of ${name}, and of the merge. ` +
      "What lies beyond the ends is counted in the last bars.";
    document.querySelector("#figure-spread figcaption p").textContent = text;
    document.getElementById("chart-spread").setAttribute("aria-label", `Changes of one tensor. ${text}`);
  }

  function fillMaps(name) {
    const columns = [...new Set(layers.cells.map((cell) => cell.layer))];
    const parts = [...new Set(layers.cells.map((cell) => cell.part))];
    maps.forEach((key, n) => {
      const found = new Map();
      for (const cell of layers.cells) {
        if (cell.models[name]) found.set(`${cell.part}\n${cell.layer}`, number(cell.models[name][n]));
      }
      fill(key, [`part (${name})`, ...columns],
        parts.map((part) => [part, ...columns.map((layer) => found.get(`${part}\n${layer}`) ?? "–")]));
    });
  }

  function fill(name, columns, rows) {
    const table = document.querySelector(`#figure-${name} table`);
    const cells = (kind, scope) => (text, n) => {
      const cell = document.createElement(n === 0 || kind === "th" ? "th" : "td");
      if (cell.tagName === "TH") cell.scope = scope;
      else cell.className = "number";
      cell.textContent = text;
      return cell;
    };
    const row = (texts, kind, scope) => {
      const made = document.createElement("tr");
      made.append(...texts.map(cells(kind, scope)));
      return made;
    };
    table.tHead.replaceChildren(row(columns, "th", "col"));
    table.tBodies[0].replaceChildren(...rows.map((texts) => row(texts, "td", "row")));
  }

  if (layers.cells) {
    for (const chooser of document.querySelectorAll(".chooser")) chooser.hidden = false;
    model.addEventListener("change", show);
    tensor.addEventListener("change", show);
  }

  // ---- theme --------------------------------------------------------------------------------------------------

  const button = document.getElementById("theme");

  function keep(value) {
    try { localStorage.setItem("cuvee-theme", value); } catch { /* a page from disk may have no store */ }
  }

  function apply(value) {
    theme = value;
    if (value === "system") delete root.dataset.theme;
    else root.dataset.theme = value;
    button.textContent = `Theme: ${value}`;
    return drawAll();
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    const next = { system: dark() ? "light" : "dark", light: "dark", dark: "light" }[theme];
    keep(next);
    apply(next);
  });
  const printed = matchMedia("print");  // on paper stand the pictures, which are light
  system.addEventListener("change", () => theme === "system" && !printed.matches && drawAll());
  narrow.addEventListener("change", drawAll);
  let kept = null;
  try { kept = localStorage.getItem("cuvee-theme"); } catch { /* as above */ }
  apply(["light", "dark"].includes(kept) ? kept : "system");
})();
