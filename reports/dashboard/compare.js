// Any two runs, side by side: rows of benchmarks by point and method, verifications by model, and where they ran.
const offeredRuns = 100;

function runChoice(label, name, chosen, passes) {
  const offered = [];
  for (let run = runCount - 1; run >= 0 && offered.length < offeredRuns; --run) if (passes[run]) offered.push(run);
  if (chosen !== undefined && !offered.includes(chosen)) offered.unshift(chosen);
  const number = el("input", { type: "number", min: 1, step: 1, value: chosen === undefined ? "" : data.runs.id[chosen], "data-key": `number ${name}`,
    on: { change: () => go({ [name]: number.value }) } });
  return el("div", { class: "fields" },
    select(label, [["", "choose a run"], ...offered.map((run) => [String(data.runs.id[run]), runLine(run)])],
      chosen === undefined ? "" : String(data.runs.id[chosen]), (id) => go({ [name]: id })),
    el("label", { class: "field small" }, el("span", {}, "or its number"), number));
}
const runLine = (run) => `${data.runs.id[run]}: ${words(data.runs.kind[run])} ${revisionText(run)}, ${timeText(data.runs.started[run])}` +
  (words(data.runs.label[run]) ? `, ${shortened(words(data.runs.label[run]), 30)}` : "");

// What stands on both sides: by the same key, in the order of the second.
function matched(a, b, key) {
  const first = new Map(a.map((line) => [key(line), line]));
  return b.filter((line) => first.has(key(line))).map((line) => ({ a: first.get(key(line)), b: line }));
}
const pointKey = (row) => {
  const series = data.rows.series[row];
  return Object.keys(data.series).filter((name) => name !== "changes" && name !== "processor").map((name) => data.series[name][series]).join("|");
};

// The widest ratio that both intervals allow.
function rateRatio({ a, b }) {
  const r = data.rows;
  const known = [r.low[a], r.high[a], r.low[b], r.high[b]].every((value) => value > 0);
  return { value: r.rate[b] / r.rate[a], low: known ? r.low[b] / r.high[a] : null, high: known ? r.high[b] / r.low[a] : null };
}
function difference({ value, low, high }) {
  const floor = data.made.smallest;
  if (low === null || !isFinite(value)) return "undecided";
  if (high < 1 - floor) return "slower";
  if (low > 1 + floor) return "faster";
  return low >= 1 - floor && high <= 1 + floor ? "same" : "undecided";
}

function rowsCompared(a, b) {
  const rows = matched(rowsOfRun[a].filter(countsAsRate), rowsOfRun[b].filter(countsAsRate), pointKey);
  if (rows.length === 0) return null;
  const order = ["slower", "faster", "undecided", "same"];
  const lines = rows.map((pair) => ({ ...pair, ratio: rateRatio(pair) })).map((line) => ({ ...line, difference: difference(line.ratio) }))
    .sort((x, y) => order.indexOf(x.difference) - order.indexOf(y.difference) || x.ratio.value - y.ratio.value);
  const counts = order.map((kind) => [kind, lines.filter((line) => line.difference === kind).length]).filter(([, n]) => n > 0);
  return section("Throughput", el("p", {}, counts.map(([kind, n]) => [badge(kind), ` ${n} `])),
    pagedTable("Rows of both runs", [
      { head: "Measured", cell: (l) => el("span", {}, seriesLink(data.rows.series[l.b]), el("br"), el("span", { class: "soft" }, seriesHead(data.rows.series[l.b]))) },
      { head: "Base, tokens/s", number: true, cell: (l) => rateText(data.rows.rate[l.a]) },
      { head: "New, tokens/s", number: true, cell: (l) => rateText(data.rows.rate[l.b]) },
      { head: "Change", number: true, cell: (l) => changeText(l.ratio.value) },
      { head: "Range", number: true, cell: (l) => (l.ratio.low === null ? "not known" : changeRange(l.ratio.low, l.ratio.high)) },
      { head: "", cell: (l) => badge(l.difference) },
    ], lines),
    note("The range reaches from the low end of the new interval over the high end of the base to the opposite: with intervals of 95% it holds the ratio of the two runs in at least 90% of cases. ",
      `Slower or faster: all of it lies beyond ${100 * data.made.smallest}%. What differs between runs of one build is not in it; mlbench compare tests the samples themselves.`));
}

function partsCompared(a, b) {
  const pairs = matched(partsOfRun[a], partsOfRun[b], (part) => data.parts.model[part]);
  if (pairs.length === 0) return null;
  const p = data.parts;
  const both = (cell) => (pair) => el("span", {}, cell(pair.a), " → ", cell(pair.b));
  return section("Verification", pagedTable("Models of both runs", [
    { head: "Model", cell: (pair) => modelLink(p.model[pair.b]) },
    { head: "Verdict", cell: both((part) => badge(words(p.verdict[part]))) },
    { head: "Failed checks", number: true, cell: both((part) => String(p.failed[part])) },
    ...modes.map((mode) => ({ head: mode, number: true, cell: both((part) => ratioText(p[mode][part])) })),
  ], pairs));
}

function surroundingsCompared(a, b) {
  const first = new Map(environmentOf(a)), second = new Map(environmentOf(b));
  const names = [...new Set([...first.keys(), ...second.keys()])];
  if (names.length === 0) return null;
  const differing = names.filter((name) => first.get(name) !== second.get(name));
  return section("Where they ran", differing.length === 0 ? note("The recorded surroundings are the same.")
    : pagedTable("Facts that differ", [
      { head: "Fact", cell: (name) => name },
      { head: "Base", cell: (name) => first.get(name) ?? "–" },
      { head: "New", cell: (name) => second.get(name) ?? "–" },
    ], differing), note(`${names.length - differing.length} of ${names.length} facts are the same.`));
}

function compare() {
  const passes = runsThatPass();
  const a = runOfId.get(Number(state.a)), b = runOfId.get(Number(state.b));
  const unknown = ["a", "b"].filter((name) => state[name] && !runOfId.has(Number(state[name])));
  const choice = section("Compare two runs", runChoice("Base run", "a", a, passes), runChoice("New run", "b", b, passes),
    unknown.map((name) => el("p", { class: "bad" }, `There is no run ${state[name]} on this page.`)),
    a === undefined || b === undefined ? note("Choose two runs, here or in the list of runs.")
      : el("p", {}, runLink(a, runLine(a)), " → ", runLink(b, runLine(b)), " ",
        el("a", { href: linkTo({ a: state.b, b: state.a }) }, "Swap")),
    a !== undefined && b !== undefined && isBenchmark(a) && isBenchmark(b)
      ? [note("The same with tests of the samples:"), el("pre", { tabindex: 0 }, `mlbench compare store:${state.a} store:${state.b}`)] : null);
  if (a === undefined || b === undefined) return [choice];
  const parts = [rowsCompared(a, b), partsCompared(a, b)];
  return [choice, ...parts,
    parts.every((part) => part === null) ? section("Nothing in common", note("The runs have no row and no verified model in common.")) : null,
    surroundingsCompared(a, b)];
}
