// What is broken now, what got slower and since when, and the latest verdict of everything.

// The latest verification of a line of models, and the first of those since which it has been as it is.
function latestPart(model, passes) {
  const parts = partsOfModel[model].filter((part) => passes[data.parts.run[part]]);
  if (parts.length === 0) return null;
  const latest = parts[parts.length - 1];
  const broken = isBroken(words(data.parts.verdict[latest]));
  let since = parts.length - 1;
  while (since > 0 && isBroken(words(data.parts.verdict[parts[since - 1]])) === broken) --since;
  return { model, part: latest, since: parts[since], always: since === 0, broken };
}

// The same of a series of benchmark rows.
function latestRow(series, passes) {
  const rows = rowsOfSeries[series].filter((row) => passes[data.rows.run[row]]);
  if (rows.length === 0) return null;
  const row = rows[rows.length - 1];
  const broken = (at) => isBroken(words(data.rows.check[rows[at]]));
  let since = rows.length - 1;
  while (since > 0 && broken(since - 1) === broken(rows.length - 1)) --since;
  return { series, row, since: rows[since], always: since === 0, broken: broken(rows.length - 1) };
}

// Changes of level in a series that the filters let through: {row, ratio, low, high}, in the order of time.
function changesOf(series, passes) {
  const choice = branchOfChanges();
  const rows = rowsOfSeries[series];
  const single = rows.every((row) => data.runs.branch[data.rows.run[row]] === data.runs.branch[data.rows.run[rows[0]]]);
  return data.series.changes[series]
    .filter(([branch, row]) => (branch === choice || (choice === -1 && single)) && passes[data.rows.run[row]])
    .map(([, row, ratio, low, high]) => ({ series, row, ratio, low, high }));
}
const ratesOf = (series, passes) => rowsOfSeries[series].filter((row) => passes[data.rows.run[row]] && countsAsRate(row));

// The last change of each series, those that lost most (or gained most) first.
function lastChanges(passes) {
  const last = seriesThatPass().map((series) => changesOf(series, passes).pop()).filter((change) => change);
  return { slower: last.filter((c) => c.ratio < 1).sort((a, b) => a.ratio - b.ratio),
    faster: last.filter((c) => c.ratio > 1).sort((a, b) => b.ratio - a.ratio) };
}

const runLink = (run, shown) => el("a", { href: viewLink("runs", { run: data.runs.id[run] }), class: shown ? null : "nowrap" }, shown || revisionText(run));
const sinceCell = (run, always) => el("span", {}, always ? "first run, " : "", runLink(run), el("br"),
  el("span", { class: "soft nowrap" }, dayText(data.runs.started[run])));
const seriesLink = (series) => el("a", { href: viewLink("throughput", { series: keyOf(data.series, series) }) }, pointText(series));
const modelLink = (model, shown) => el("a", { href: viewLink("accuracy", { line: keyOf(data.models, model) }) }, shown || modelText(model));

function changesTable(caption, changes, passes) {
  return pagedTable(caption, [
    { head: "Measured", cell: (c) => el("span", {}, seriesLink(c.series), el("br"), el("span", { class: "soft" }, seriesHead(c.series))) },
    { head: "Change", number: true, cell: (c) => el("span", { class: c.ratio < 1 ? "bad" : "good" }, changeText(c.ratio)) },
    { head: "Since", cell: (c) => sinceCell(data.rows.run[c.row]) },
    { head: "Tokens/s now", number: true, cell: (c) => rateText(data.rows.rate[ratesOf(c.series, passes).pop()]) },
    { head: "95% interval", number: true, cell: (c) => changeRange(c.low, c.high) },
    { head: "Trend", cell: (c) => sparkline(ratesOf(c.series, passes).map((row) => data.rows.rate[row])) },
  ], changes, { hideCaption: true, perPage: 10 });
}

function brokenTable(parts, rows) {
  const lines = [
    ...parts.map((p) => ({ what: modelLink(p.model), kind: "verification", verdict: words(data.parts.verdict[p.part]),
      detail: `error / limit ${ratioText(worstRatio(p.part))}, ${data.parts.failed[p.part]} of ${counted(data.parts.checks[p.part], "check")} failed`,
      run: data.parts.run[p.part], since: data.parts.run[p.since], always: p.always })),
    ...rows.map((r) => ({ what: el("span", {}, seriesLink(r.series), el("br"), el("span", { class: "soft" }, seriesHead(r.series))),
      kind: "benchmark", verdict: words(data.rows.check[r.row]), detail: words(data.rows.check[r.row]) === "implausible" ? "faster than the device can be" : "its outputs are not right",
      run: data.rows.run[r.row], since: data.rows.run[r.since], always: r.always })),
  ];
  return pagedTable("Broken now", [
    { head: "What", cell: (l) => el("span", {}, l.what) },
    { head: "Verdict", cell: (l) => badge(l.verdict) },
    { head: "Since", cell: (l) => sinceCell(l.since, l.always) },
    { head: "Detail", cell: (l) => `${l.kind}: ${l.detail}` },
    { head: "Last run", cell: (l) => sinceCell(l.run) },
  ], lines, { hideCaption: true, perPage: 10 });
}

function worstRatio(part) {
  return modes.map((mode) => data.parts[mode][part]).reduce((worst, r) => (worseRatio(r, worst) ? r : worst), null);
}

// Architectures down, backends and types across.
function verdictMatrix(latest) {
  const m = data.models;
  const column = (model) => `${words(m.backend[model])}\n${words(m.dtype[model])}`;
  const columns = [...new Set(latest.map((l) => column(l.model)))].sort();
  const backends = [...new Set(columns.map((c) => c.split("\n")[0]))];
  const architectures = [...new Set(latest.map((l) => words(m.architecture[l.model])))].sort();
  const cell = (architecture, name) => {
    const here = latest.filter((l) => words(m.architecture[l.model]) === architecture && column(l.model) === name);
    return el("td", {}, here.length === 0 ? el("span", { class: "soft" }, unseen("not verified"), "·") : verdictLink(here, architecture, name));
  };
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Latest verdicts" },
    el("table", { class: "matrix" }, el("caption", { class: "unseen" }, "Latest verdict by architecture, backend and type"),
      el("thead", {},
        el("tr", {}, el("td", { rowspan: 2 }), backends.map((b) => el("th", { scope: "colgroup",
          colspan: columns.filter((c) => c.startsWith(b + "\n")).length }, b))),
        el("tr", {}, columns.map((c) => el("th", { scope: "col" }, c.split("\n")[1])))),
      el("tbody", {}, architectures.map((a) => el("tr", {}, el("th", { scope: "row" }, a), columns.map((c) => cell(a, c)))))));
}

const severity = ["passed", "unsupported", "untrusted", "error", "failed"];
function verdictLink(here, architecture, name) {
  const worst = here.reduce((a, b) => (severity.indexOf(words(data.parts.verdict[b.part])) >
    severity.indexOf(words(data.parts.verdict[a.part])) ? b : a));
  const ratio = here.map((l) => worstRatio(l.part)).reduce((a, b) => (worseRatio(b, a) ? b : a), null);
  const verdict = words(data.parts.verdict[worst.part]);
  const run = data.parts.run[worst.part];
  const [backend, dtype] = name.split("\n");
  const known = Object.hasOwn(marks, verdict);
  const when = dayText(data.runs.started[run]);
  return el("a", { class: "verdict " + (known ? verdict : "unsupported"),
    href: viewLink("accuracy", { line: keyOf(data.models, worst.model) }),
    title: `${architecture}, ${backend}, ${dtype}: ${verdict}, worst error / limit ${ratioText(ratio)}, ` +
      `${counted(here.length, "model")}, ${revisionText(run)}, ${when}` },
  el("span", { "aria-hidden": "true" }, (known ? marks[verdict] : "?") + " "), unseen(verdict + ", error / limit "), ratioText(ratio),
  here.length > 1 ? el("span", { class: "many" }, ` ×${here.length}`, unseen(" models")) : null);
}

const tile = (figureText, what, kind) => el("li", { class: "tile " + (kind || "") }, el("b", {}, figureText), el("span", {}, what));

function overview() {
  const passes = runsThatPass();
  const latest = modelsThatPass().map((model) => latestPart(model, passes)).filter((l) => l !== null);
  const measured = seriesThatPass().map((series) => latestRow(series, passes)).filter((l) => l !== null);
  const broken = latest.filter((l) => l.broken), brokenRows = measured.filter((l) => l.broken);
  const { slower, faster } = lastChanges(passes);
  const bad = broken.length + brokenRows.length;
  let newest = runCount - 1;
  while (newest >= 0 && !passes[newest]) --newest;
  return [
    el("ul", { class: "tiles" },
      tile(bad, `broken now, of ${latest.length + measured.length}`, bad ? "bad" : "good"),
      tile(slower.length, "slower than before", slower.length ? "warn" : "good"),
      tile(faster.length, "faster than before"),
      tile(passes.reduce((sum, one) => sum + one, 0).toLocaleString("en-US"), "runs"),
      tile(newest < 0 ? "–" : dayText(data.runs.started[newest]), "newest run")),
    section("Broken now", bad === 0 ? note("Nothing: the latest verification of every model and the latest row of every benchmark is right.")
      : brokenTable(broken, brokenRows)),
    section("Slower than before", slower.length === 0 ? note("No series' last change of level was for the worse.")
      : [note("The last change of level of each series, where it was for the worse; the largest loss first."),
        changesTable("Slower than before", slower, passes)]),
    section("Latest verdict", latest.length === 0 ? note("No verification passes the filters.")
      : [verdictMatrix(latest), note("Each number is the largest error / limit; up to 1 passes. ✓ passed, ✕ failed, ! error, ? untrusted, – unsupported.")]),
    faster.length === 0 ? null : section("Faster than before", changesTable("Faster than before", faster, passes)),
  ];
}
