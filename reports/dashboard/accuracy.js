// Error / limit: a heat map of one verification by tap and layer, and how the worst ratios moved from run to run.
const beyond = (ratio) => ratio !== null && ratio < 0;

// A tile has room for three characters.
function tileText(ratio) {
  if (ratio < 0) return "×";
  if (ratio === 0) return "0";
  if (ratio < 0.01) return "";
  if (ratio < 0.995) return ratio.toFixed(2).slice(1);
  if (ratio < 9.95) return ratio.toFixed(1);
  return ratio < 999.5 ? ratio.toFixed(0) : "e" + Math.floor(Math.log10(ratio));
}

function heatCell(ratio, failed, where) {
  if (ratio === null) return el("td", { class: "none" }, unseen("not checked"));
  const band = data.bands[bandOf(ratio)];
  const cell = el("td", { title: `${where}: ${ratioText(ratio)}${failed ? ", failed" : ""}`, class: failed && "failed" },
    el("span", { "aria-hidden": "true" }, tileText(ratio)), unseen(ratioText(ratio) + (failed ? " failed" : "")));
  cell.style.backgroundColor = band.colour;
  cell.style.color = band.ink;
  return cell;
}

function heatMap(map, mode, title, caption) {
  const { ratios, failed } = map.modes[mode];
  const bad = new Set(failed), width = map.layers.length;
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", { class: "heat" + (width > 40 ? " narrow" : "") }, el("caption", {}, title),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "tap"), map.layers.map((layer) =>
        el("th", { scope: "col" }, layer < 0 ? el("span", {}, "–", unseen(" outside the layers")) : layer)))),
      el("tbody", {}, map.kinds.map((kind, k) => el("tr", {}, el("th", { scope: "row" }, words(kind)), map.layers.map((layer, l) =>
        heatCell(ratios[k * width + l], bad.has(k * width + l), words(kind) + (layer < 0 ? "" : `, layer ${layer}`))))))));
}

function heatLegend() {
  return el("p", { class: "legend" }, "error / limit: ", data.bands.map((band) => {
    const key = el("span", {}, band.label);
    key.style.backgroundColor = band.colour;
    key.style.color = band.ink;
    return key;
  }), el("span", { class: "none" }, "not checked"));
}

// A logarithm has no place for 0, and none for what is not finite.
function driftFigure(model, parts) {
  const step = Math.max(1, Math.ceil(parts.length / drawnPoints));
  const points = [];
  for (let i = 0; i < parts.length; i += step) points.push(parts.slice(i, i + step));
  const worst = (some, mode) => some.map((p) => data.parts[mode][p]).reduce((a, b) => (worseRatio(b, a) ? b : a), null);
  const used = modes.filter((mode) => parts.some((p) => data.parts[mode][p] !== null));
  const finite = used.flatMap((mode) => points.map((some) => worst(some, mode))).filter((r) => r > 0);
  const top = 3 * finite.reduce((a, b) => Math.max(a, b), 1), bottom = finite.reduce((a, b) => Math.min(a, b), 1) / 2;
  const place = (ratio) => (ratio === null ? null : beyond(ratio) ? top : Math.max(ratio, bottom));
  const runOf = (i) => data.parts.run[points[i][points[i].length - 1]];
  const config = () => ({
    type: "line",
    data: { labels: points.map((_, i) => revisionText(runOf(i))), datasets: [...used.map((mode, m) => ({ label: mode,
      data: points.map((some) => place(worst(some, mode))), ratios: points.map((some) => worst(some, mode)),
      borderColor: colour(seriesColours[m]), backgroundColor: colour(seriesColours[m]), borderWidth: 1.5, stepped: false,
      borderDash: [[], [6, 3], [2, 2]][m], pointStyle: points.map((some) => (beyond(worst(some, mode)) ? "triangle" : pointShapes[m])),
      pointRadius: points.map((some) => (beyond(worst(some, mode)) ? 5 : points.length > 120 ? 0 : 2)) })),
    { label: "limit", data: points.map(() => 1), borderColor: colour("bad"), borderWidth: 1, pointRadius: 0, pointStyle: "line" }] },
    options: { interaction: { mode: "index", intersect: false },
      scales: { x: axis("commit, in the order of runs", { grid: { display: false }, ticks: commitTicks() }),
        y: logAxis("worst error / limit", ratioText, { suggestedMax: 2 }) },
      plugins: { tooltip: { callbacks: {
        title: (items) => `${revisionText(runOf(items[0].dataIndex))}, ${dayText(data.runs.started[runOf(items[0].dataIndex)])}`,
        label: (item) => (item.dataset.ratios ? `${item.dataset.label}: ${ratioText(item.dataset.ratios[item.dataIndex])}` : null) } } } },
  });
  return [figure({ title: `Worst error / limit over commits: ${modelText(model)}`, height: 240, config,
    summary: `${counted(parts.length, "verification")} in modes ${used.join(", ")}. Up to 1 passes.`,
    table: () => partsTable("Verifications, the newest first", [...parts].reverse(), false) }),
  step > 1 ? note(`Each point is the worst of ${step} verifications one after the other.`) : null];
}

function partsTable(caption, parts, ofOneRun) {
  const p = data.parts;
  return pagedTable(caption, [
    ofOneRun ? { head: "Model", cell: (part) => modelLink(p.model[part]) } : { head: "Revision", cell: (part) => runLink(p.run[part]) },
    ofOneRun ? { head: "Version", cell: (part) => words(p.version[part]) || "–" } : { head: "Started", cell: (part) => timeText(data.runs.started[p.run[part]]) },
    { head: "Verdict", cell: (part) => badge(words(p.verdict[part])) },
    { head: "Checks", number: true, cell: (part) => p.checks[part].toLocaleString("en-US") },
    { head: "Failed", number: true, cell: (part) => p.failed[part].toLocaleString("en-US") },
    ...modes.map((mode) => ({ head: mode, number: true, cell: (part) => ratioText(p[mode][part]) })),
  ], parts);
}

// The one that needs a look most: the worst verdict, then the worst ratio.
function mostInteresting(lines) {
  const rank = (l) => severity.indexOf(words(data.parts.verdict[l.part]));
  return lines.reduce((a, b) => (rank(b) > rank(a) || (rank(b) === rank(a) && worseRatio(worstRatio(b.part), worstRatio(a.part))) ? b : a));
}

function accuracy() {
  const passes = runsThatPass();
  const lines = modelsThatPass().map((model) => latestPart(model, passes)).filter((l) => l !== null);
  if (lines.length === 0) return [section("Accuracy", note("No verification passes the filters."))];
  const asked = lines.find((l) => keyOf(data.models, l.model) === state.line);
  const { model } = asked || mostInteresting(lines);
  const parts = partsOfModel[model].filter((part) => passes[data.parts.run[part]]);
  const mapped = parts.filter((part) => data.parts.heat[part] >= 0).reverse();
  const part = mapped.find((p) => String(data.runs.id[data.parts.run[p]]) === state.of) ?? mapped[0];
  return [
    section("Accuracy", el("div", { class: "fields" },
      select("Model, backend, type", lines.map((l) => [keyOf(data.models, l.model), modelText(l.model)]).sort((a, b) => a[1].localeCompare(b[1])),
        keyOf(data.models, model), (line) => go({ line, of: "" }))),
    driftFigure(model, parts)),
    part === undefined ? section("Heat map", note(`Taps are kept on this page for the newest ${data.made.heat} verifications of each model, backend and type; none of these passes the filters.`))
      : heatSection(model, part, mapped),
  ];
}

function heatSection(model, part, mapped) {
  const map = data.heat[data.parts.heat[part]];
  const has = modes.filter((mode) => map.modes[mode]);
  const run = data.parts.run[part];
  return section("Error / limit by tap and layer",
    el("div", { class: "fields" },
      select("Run", mapped.map((p) => [String(data.runs.id[data.parts.run[p]]), `${revisionText(data.parts.run[p])}, ${timeText(data.runs.started[data.parts.run[p]])}, ${words(data.parts.verdict[p])}`]),
        String(data.runs.id[run]), (of) => go({ of }))),
    el("p", {}, badge(words(data.parts.verdict[part])), ` ${counted(data.parts.checks[part], "check")}, ${data.parts.failed[part].toLocaleString("en-US")} failed. `, runLink(run, "This run")),
    heatLegend(), el("div", { class: "maps" }, has.map((mode) => heatMap(map, mode, mode, `Worst error / limit, ${mode}: ${modelText(model)}, ${revisionText(run)}`))),
    note(`Kept for the newest ${data.made.heat} verifications of each model, backend, device, type and split.`));
}
