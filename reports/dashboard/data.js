// The history: what reports/dashboard/data.h describes, and ways through it.
const data = mlbenchData;
const words = (place) => data.strings[place];
const runCount = data.runs.id.length;
const partCount = data.parts.run.length;
const rowCount = data.rows.run.length;
const modelCount = data.models.model.length;
const seriesCount = data.series.model.length;
const modes = ["isolated", "chained", "exact"];

// Lines of `of` by the line of another table that a column names, in the order of time.
function grouping(column, count) {
  const groups = Array.from({ length: count }, () => []);
  column.forEach((group, line) => groups[group].push(line));
  return groups;
}
const partsOfModel = grouping(data.parts.model, modelCount);
const rowsOfSeries = grouping(data.rows.series, seriesCount);
const partsOfRun = grouping(data.parts.run, runCount);
const rowsOfRun = grouping(data.rows.run, runCount);
const probesOfRun = grouping(data.probes.run, runCount);
const runOfId = new Map(data.runs.id.map((id, run) => [id, run]));

const isBenchmark = (run) => words(data.runs.kind[run]) === "bench";
function revisionText(run) {
  const revision = words(data.runs.revision[run]);
  if (revision === "") return `run ${data.runs.id[run]}`;
  return /^[0-9a-f]{11,}$/.test(revision) ? revision.slice(0, 9) : shortened(revision, 24);
}

function splitText(table, line) {
  const parts = [];
  if (table.tp[line] > 1) parts.push(`tp ${table.tp[line]}`);
  if (table.pp[line] > 1) parts.push(`pp ${table.pp[line]}`);
  if (table.apart[line]) parts.push("prefill and decode apart");
  if (table.replicas[line] > 1) parts.push(`${table.replicas[line]} replicas`);
  return parts.join(", ");
}

// "preset olmo-small, synthetic f32 weights, seed 1" is olmo-small in a list: the type stands beside it, and benchmarks
// call it that.
function modelName(place) {
  const preset = /^preset (\S+), synthetic \S+ weights, seed 1$/.exec(words(place));
  return preset ? preset[1] : words(place);
}

function modelText(model) {
  const m = data.models;
  const device = words(m.device[model]), backend = words(m.backend[model]);
  const split = splitText(m, model);
  return `${modelName(m.model[model])}, ${backend}${device === backend || device === "" ? "" : ` (${device})`}, ` +
    words(m.dtype[model]) + (split ? ", " + split : "");
}

// What was measured, without what stands in front of it.
function pointText(series) {
  const s = data.series;
  const out = [words(s.method[series])];
  if (s.batch[series] > 1) out.push(`batch ${s.batch[series]}`);
  if (s.prompt[series] > 0) out.push(`prompt ${s.prompt[series]}`);
  if (s.gen[series] > 0) out.push(`gen ${s.gen[series]}`);
  if (s.depth[series] > 0) out.push(`depth ${s.depth[series]}`);
  if (s.threads[series] > 0) out.push(counted(s.threads[series], "thread"));
  const split = splitText(s, series);
  if (split) out.push(split);
  return out.join(", ");
}
function seriesHead(series) {
  const s = data.series;
  return `${modelName(s.model[series])}, ${words(s.backend[series])}, ${words(s.dtype[series])}`;
}
const seriesText = (series) => `${seriesHead(series)}: ${pointText(series)}`;

// The same in every page of this history: what a link names a line by.
function keyOf(table, line) {
  return Object.entries(table).filter(([name]) => name !== "changes")
    .map(([name, column]) => (textColumns.has(name) ? words(column[line]) : column[line])).join("|");
}
const textColumns = new Set(["model", "architecture", "backend", "device", "dtype", "method", "processor"]);

const rightChecks = new Set(["passed", "sampled", "unchecked"]);
const countsAsRate = (row) => data.rows.rate[row] > 0 && rightChecks.has(words(data.rows.check[row]));
const isBroken = (verdict) => verdict !== "passed" && verdict !== "sampled" && verdict !== "unsupported" &&
  verdict !== "unchecked";

// Whether the first ratio is worse; -1 is what is not finite.
const worseRatio = (a, b) => a !== null && (b === null || (b >= 0 && (a < 0 || a > b)));

function bandOf(ratio) {
  if (ratio < 0) return data.bands.length - 1;
  return data.bands.findIndex((band) => band.most !== null && ratio <= band.most);
}

// [name, value] of each.
function environmentOf(run) {
  let entry = data.environments[run];
  if (!entry) return [];
  const differences = [];
  if (entry[0] < 0) {
    for (let i = 1; i < entry.length; i += 2) differences.push([entry[i], entry[i + 1]]);
    entry = data.environments[-1 - entry[0]];
  }
  const values = entry.slice(1);
  for (const [place, value] of differences) values[place] = value;
  return data.names[entry[0]].map((name, i) => [words(name), words(values[i])]);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
