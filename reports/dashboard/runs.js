// All runs, and of one what it found, where it ran and the command that repeats it.
const runsPerPage = 50;

function runFacts(run) {
  const r = data.runs;
  const facts = [["Kind", words(r.kind[run]) === "bench" ? "benchmark" : "verification"], ["Started", timeText(r.started[run]) + (r.started[run] === null ? "" : " UTC")], ["Revision", words(r.revision[run])],
    ["Branch", words(r.branch[run])], ["Label", words(r.label[run])], ["Host", words(r.host[run])],
    ["Processor", words(r.processor[run])], ["Program", words(r.program[run])]].filter(([, value]) => value !== "");
  return el("dl", { class: "facts" }, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function runRows(run) {
  const rows = rowsOfRun[run], r = data.rows;
  return pagedTable("Rows", [
    { head: "Measured", cell: (row) => el("span", {}, seriesLink(r.series[row]), el("br"), el("span", { class: "soft" }, seriesHead(r.series[row]))) },
    { head: "Tokens/s", number: true, cell: (row) => rateText(r.rate[row]) },
    { head: "95% interval", number: true, cell: (row) => (r.low[row] === null ? "–" : `${rateText(r.low[row])} to ${rateText(r.high[row])}`) },
    { head: "Samples", number: true, cell: (row) => r.samples[row] },
    { head: "MFU", number: true, cell: (row) => shareText(r.mfu[row]) },
    { head: "MBU", number: true, cell: (row) => shareText(r.mbu[row]) },
    { head: "Outputs", cell: (row) => badge(words(r.check[row])) },
  ], rows);
}

function oneRun(run) {
  const environment = environmentOf(run);
  const command = words(data.runs.command[run]);
  return [
    section(`Run ${data.runs.id[run]}`, el("p", {}, badge(words(data.runs.verdict[run])), " ",
      el("a", { href: viewLink("compare", { a: state.a, b: data.runs.id[run] }) }, "Compare with another run")), runFacts(run),
    command === "" ? null : [el("h3", {}, "The command that repeats it"), el("pre", { tabindex: 0, class: "command" }, command)]),
    partsOfRun[run].length === 0 ? null : section("Verifications", partsTable("Verifications of this run", partsOfRun[run], true)),
    rowsOfRun[run].length === 0 ? null : section("Benchmark", runRows(run)),
    environment.length === 0 ? null : section("Environment", plainTable("Where it ran", [
      { head: "Fact", cell: ([name]) => name }, { head: "Value", cell: ([, value]) => value }], environment)),
  ];
}

function allRuns(passes) {
  const r = data.runs;
  const lines = new Set([...partsOfLines(modelsThatPass(), partsOfModel, data.parts), ...partsOfLines(seriesThatPass(), rowsOfSeries, data.rows)]);
  const everyLine = ["architecture", "model", "backend", "dtype"].every((name) => state[name] === undefined);
  const runs = [];
  for (let run = runCount - 1; run >= 0; --run) if (passes[run] && (everyLine || lines.has(run))) runs.push(run);
  return section("Runs", note(`${counted(runs.length, "run")}, the newest first.`), pagedTable("Runs", [
    { head: "Run", cell: (run) => runLink(run, String(r.id[run])) },
    { head: "Started", cell: (run) => timeText(r.started[run]) },
    { head: "Kind", cell: (run) => words(r.kind[run]) },
    { head: "Verdict", cell: (run) => badge(words(r.verdict[run])) },
    { head: "Revision", cell: (run) => shortened(revisionText(run), 24) },
    { head: "Branch", cell: (run) => shortened(words(r.branch[run]), 30) },
    { head: "Label", cell: (run) => shortened(words(r.label[run]), 40) },
    { head: "Host", cell: (run) => shortened(words(r.host[run]), 30) },
    { head: "Compare", cell: (run) => el("span", {}, el("a", { href: viewLink("compare", { a: r.id[run], b: state.b }) }, "as base", unseen(` run ${r.id[run]}`)), " ",
      el("a", { href: viewLink("compare", { a: state.a, b: r.id[run] }) }, "as new", unseen(` run ${r.id[run]}`))) },
  ], runs, { perPage: runsPerPage, hideCaption: true }));
}
const partsOfLines = (lines, groups, table) => lines.flatMap((line) => groups[line].map((entry) => table.run[entry]));

function runs() {
  const run = runOfId.get(Number(state.run));
  const missing = state.run !== undefined && run === undefined;
  return [missing ? el("p", { class: "banner" }, `There is no run ${state.run} on this page.`) : null,
    ...(run === undefined ? [] : oneRun(run)), allRuns(runsThatPass())];
}
