// One series of throughputs over its runs, with intervals and changes of level, and the list to choose it from.
const drawnPoints = 400;

// The series in the order of the list: what lost most by its last change, then what did not change.
function listedSeries(passes) {
  return seriesThatPass().map((series) => ({ series, rows: ratesOf(series, passes), last: changesOf(series, passes).pop() }))
    .filter((entry) => entry.rows.length > 0)
    .sort((a, b) => (a.last ? a.last.ratio : 1) - (b.last ? b.last.ratio : 1));
}

// So many neighbours as one that no more than drawnPoints are left: medians, and the widest interval.
function thinned(rows) {
  const step = Math.max(1, Math.ceil(rows.length / drawnPoints));
  const points = [];
  for (let i = 0; i < rows.length; i += step) {
    const some = rows.slice(i, i + step), r = data.rows;
    points.push({ row: some[0], count: some.length, rate: median(some.map((row) => r.rate[row])),
      low: Math.min(...some.map((row) => r.low[row] ?? r.rate[row])), high: Math.max(...some.map((row) => r.high[row] ?? r.rate[row])) });
  }
  return { step, points };
}

// Of each point the level it belongs to: the median between changes.
function levelsOf(rows, changes, step) {
  const bounds = [0, ...changes.map((c) => rows.indexOf(c.row)).filter((i) => i > 0), rows.length];
  const levels = new Array(Math.ceil(rows.length / step)).fill(null);
  for (let i = 0; i + 1 < bounds.length; ++i) {
    const level = median(rows.slice(bounds[i], bounds[i + 1]).map((row) => data.rows.rate[row]));
    for (let at = Math.floor(bounds[i] / step); at < Math.ceil(bounds[i + 1] / step); ++at) levels[at] = level;
  }
  return levels;
}

function seriesFigure(series, rows, passes) {
  // One at the first run that is shown has nothing in front of it to compare with.
  const changes = changesOf(series, passes).filter((change) => rows.indexOf(change.row) > 0);
  const { step, points } = thinned(rows);
  const levels = levelsOf(rows, changes, step);
  const runOf = (point) => data.rows.run[point.row];
  const wrong = rowsOfSeries[series].filter((row) => passes[data.rows.run[row]] && isBroken(words(data.rows.check[row])));
  const config = () => ({
    type: "line",
    data: { labels: points.map((p) => revisionText(runOf(p))), datasets: [
      { label: "tokens/s", data: points.map((p) => p.rate), borderColor: colour("chart-1"), backgroundColor: colour("chart-1"),
        borderWidth: points.length > 120 ? 1 : 1.5, pointRadius: points.length > 120 ? 0 : 2, pointHitRadius: 8 },
      { label: "level", data: levels, borderColor: colour("ink"), borderWidth: 1.5, borderDash: [2, 2], pointRadius: 0, stepped: true, pointStyle: "line" },
      { label: "95% interval", data: points.map((p) => p.high), borderWidth: 0, pointRadius: 0, fill: "+1", backgroundColor: colour("band"), pointStyle: "rect" },
      { label: "low", data: points.map((p) => p.low), borderWidth: 0, pointRadius: 0, fill: false },
    ] },
    options: {
      interaction: { mode: "index", intersect: false },
      scales: { x: axis("commit, in the order of runs", { grid: { display: false }, ticks: commitTicks() }),
        y: axis("tokens per second", { grace: "8%", ticks: { callback: rateText } }) },
      plugins: { legend: { labels: { usePointStyle: true, boxHeight: 7, filter: (item) => item.text !== "low" } },
        tooltip: { callbacks: {
          title: (items) => `${revisionText(runOf(points[items[0].dataIndex]))}, ${dayText(data.runs.started[runOf(points[items[0].dataIndex])])}`,
          label: (item) => {
            const p = points[item.dataIndex];
            if (item.datasetIndex === 0) return `${rateText(p.rate)} tokens/s` + (p.count > 1 ? `, the median of ${p.count} runs` : "");
            if (item.datasetIndex === 2) return `from ${rateText(p.low)} to ${rateText(p.high)}`;
            return item.datasetIndex === 1 ? `level ${rateText(item.raw)}` : null;
          } } } },
    },
    plugins: [verticalLines(changes.map((c) => ({ index: Math.floor(rows.indexOf(c.row) / step), colour: colour(c.ratio < 1 ? "bad" : "good") })))],
  });
  const last = points[points.length - 1];
  return [
    figure({ title: `Tokens per second over commits: ${seriesText(series)}`, height: 300, config,
      summary: `${counted(rows.length, "run")}, now ${rateText(last.rate)}; ${counted(changes.length, "change")} of level. The figures stand in the table below.`,
      table: () => runsOfSeries(series, rows) }),
    step > 1 ? note(`Each point is the median of ${step} runs one after the other, its band their widest.`) : null,
    wrong.length === 0 ? null : el("p", { class: "bad" }, `${counted(wrong.length, "row")} failed the check of outputs or of times and ${wrong.length === 1 ? "does" : "do"} not count: last in `,
      runLink(data.rows.run[wrong[wrong.length - 1]])),
    changes.length === 0 ? note("No change of level was found.") : plainTable("Changes of level", [
      { head: "From", cell: (c) => sinceCell(data.rows.run[c.row]) },
      { head: "Change", number: true, cell: (c) => el("span", { class: c.ratio < 1 ? "bad" : "good" }, changeText(c.ratio)) },
      { head: "95% interval", number: true, cell: (c) => changeRange(c.low, c.high) },
      { head: "Run before", cell: (c) => runLink(data.rows.run[rows[rows.indexOf(c.row) - 1]]) },
      { head: "", cell: (c) => el("a", { href: viewLink("compare", { a: data.runs.id[data.rows.run[rows[rows.indexOf(c.row) - 1]]],
        b: data.runs.id[data.rows.run[c.row]] }) }, "Compare", unseen(" the runs before and after")) },
    ], [...changes].reverse()),
  ];
}

function runsOfSeries(series, rows) {
  const r = data.rows;
  return pagedTable(`Runs of: ${seriesText(series)}`, [
    { head: "Revision", cell: (row) => runLink(r.run[row]) },
    { head: "Started", cell: (row) => timeText(data.runs.started[r.run[row]]) },
    { head: "Tokens/s", number: true, cell: (row) => rateText(r.rate[row]) },
    { head: "95% interval", number: true, cell: (row) => `${rateText(r.low[row])} to ${rateText(r.high[row])}` },
    { head: "MFU", number: true, cell: (row) => shareText(r.mfu[row]) },
    { head: "MBU", number: true, cell: (row) => shareText(r.mbu[row]) },
    { head: "J/token", number: true, cell: (row) => (r.joules[row] === null ? "–" : ratioText(r.joules[row])) },
    { head: "Memory", number: true, cell: (row) => (r.memory[row] ? `${r.memory[row].toLocaleString("en-US")} MiB` : "–") },
    { head: "Outputs", cell: (row) => badge(words(r.check[row])) },
  ], [...rows].reverse());
}

function throughput() {
  const passes = runsThatPass();
  const list = listedSeries(passes);
  if (list.length === 0) return [section("Throughput", note("No benchmark passes the filters."))];
  const asked = state.series === undefined ? 0 : list.findIndex((entry) => keyOf(data.series, entry.series) === state.series);
  const chosen = Math.max(0, asked);
  const { series, rows } = list[chosen];
  return [
    section("Throughput over commits", asked < 0 ? el("p", { class: "warn" }, "The series of the link does not pass the filters; this is another.") : null,
      seriesFigure(series, rows, passes)),
    section("Series", note("What lost most by its last change of level comes first."), pagedTable("Series", [
      { head: "Measured", cell: (e) => el("a", { href: linkTo({ series: keyOf(data.series, e.series) }),
        "aria-current": e.series === series ? "true" : null }, pointText(e.series)) },
      { head: "Model, backend, type", cell: (e) => seriesHead(e.series) },
      { head: "Tokens/s now", number: true, cell: (e) => rateText(data.rows.rate[e.rows[e.rows.length - 1]]) },
      { head: "Last change", number: true, cell: (e) => (e.last ? el("span", { class: e.last.ratio < 1 ? "bad" : "good" }, changeText(e.last.ratio)) : "–") },
      { head: "Since", cell: (e) => (e.last ? runLink(data.rows.run[e.last.row]) : "–") },
      { head: "Runs", number: true, cell: (e) => e.rows.length },
      { head: "Trend", cell: (e) => sparkline(e.rows.map((row) => data.rows.rate[row])) },
    ], list, { hideCaption: true, start: chosen, rowClass: (e) => (e.series === series ? "chosen" : null) })),
  ];
}
