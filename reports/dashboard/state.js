// What is shown stands in the address behind #, so that every view can be linked to and gone back to.
const filterNames = ["architecture", "model", "backend", "dtype", "branch", "processor", "period"];
const filterLabels = { architecture: "Architecture", model: "Model", backend: "Backend", dtype: "Type",
  branch: "Branch", processor: "Processor", period: "Period" };
const periods = [["", "all"], ["7", "last 7 days"], ["30", "last 30 days"], ["90", "last 90 days"],
  ["365", "last 365 days"]];
const secondsPerDay = 86400;
const allBranches = "*";

let state = {};
function readState() {
  state = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}
const currentView = () => (Object.hasOwn(views, state.view) ? state.view : "overview");

// The address of this state with some of it changed; "" takes a name out.
function linkTo(changes) {
  const next = { ...state, ...changes };
  return "#" + new URLSearchParams(Object.entries(next).filter(([, value]) => value !== "" && value !== undefined));
}
// Another view: filters stay, the view's own state goes.
function viewLink(view, changes) {
  const gone = Object.fromEntries(Object.keys(state).filter((name) => !filterNames.includes(name)).map((n) => [n, ""]));
  return linkTo({ ...gone, view, ...changes });
}
function go(changes) {
  location.hash = linkTo(changes);
}

// ---- filters

// The branch with most runs, unless another is asked for.
const usualBranch = (() => {
  const counts = new Map();
  for (const branch of data.runs.branch) counts.set(branch, (counts.get(branch) || 0) + 1);
  return [...counts].reduce((most, entry) => (entry[1] > most[1] ? entry : most), [0, -1])[0];
})();
const newestTime = data.runs.started.reduce((newest, at) => Math.max(newest, at || 0), 0);

function branchChoice() {
  if (state.branch === allBranches) return -1;
  if (state.branch === undefined) return usualBranch;
  const place = data.strings.indexOf(state.branch.slice(1));
  return place < 0 ? -2 : place;
}
// Branch -1 of the changes is that of all together, where there are several.
const branchOfChanges = () => (branchChoice() === -1 && new Set(data.runs.branch).size === 1 ? usualBranch : branchChoice());

// Of each run, whether it passes the filters of runs.
function runsThatPass() {
  const branch = branchChoice();
  const since = state.period > 0 ? newestTime - state.period * secondsPerDay : -Infinity;
  const passes = new Uint8Array(runCount);
  for (let run = 0; run < runCount; ++run) {
    const rightBranch = branch === -1 || data.runs.branch[run] === branch;
    const rightTime = since === -Infinity || (data.runs.started[run] || 0) >= since;
    passes[run] = rightBranch && rightTime && isFiltered("processor", words(data.runs.processor[run])) ? 1 : 0;
  }
  return passes;
}
const isFiltered = (name, value) => state[name] === undefined || state[name] === value;
function linePasses(table, line) {
  return ["architecture", "backend", "dtype"].every((name) => isFiltered(name, words(table[name][line]))) &&
    isFiltered("model", modelName(table.model[line]));
}
const modelsThatPass = () => [...Array(modelCount).keys()].filter((model) => linePasses(data.models, model));
const seriesThatPass = () => [...Array(seriesCount).keys()].filter((line) =>
  linePasses(data.series, line) && isFiltered("processor", words(data.series.processor[line])));

function choicesOf(name) {
  const places = name === "processor" ? data.runs.processor : [...data.models[name], ...data.series[name]];
  const shown = [...new Set(places)].map(name === "model" ? modelName : words);
  return [...new Set(shown)].filter((value) => value !== "").sort();
}

function fillFilters() {
  const form = document.getElementById("filter-form");
  // The control that is in use keeps the focus.
  const focused = form.contains(document.activeElement) ? document.activeElement.closest("label").innerText : "";
  form.replaceChildren(...filterNames.map(filterField).filter((field) => field !== null));
  const set = filterNames.filter((name) => state[name] !== undefined);
  const clear = Object.fromEntries(filterNames.map((name) => [name, ""]));
  form.append(el("button", { type: "button", disabled: set.length === 0, on: { click: () => go(clear) } }, "Clear filters"));
  document.getElementById("filters-set").textContent = set.length === 0 ? "none set" :
    set.map((name) => `${filterLabels[name]}: ${name === "branch" ? branchLabel() : state[name]}`).join(", ");
  for (const field of form.querySelectorAll("label")) {
    if (focused && focused.startsWith(field.querySelector("span").innerText)) field.querySelector("select").focus();
  }
}
const branchLabel = () => (state.branch === allBranches ? "all" : state.branch.slice(1) || "none");

function filterField(name) {
  const change = (value) => go({ [name]: value, page: "" });
  if (name === "period") return select("Period", periods, state.period || "", change);
  if (name === "branch") return branchField(change);
  const choices = choicesOf(name);
  if (choices.length < 2) return null;
  return select(filterLabels[name], [["", "all"], ...choices.map((c) => [c, shortened(c, 40)])], state[name] || "", change);
}

// Names of branches are told from "all" by a sign in front of them.
function branchField(change) {
  const branches = [...new Set(data.runs.branch)];
  if (branches.length < 2) return null;
  const usual = words(usualBranch) || "no branch";
  const others = branches.filter((b) => b !== usualBranch).map(words).sort();
  return select("Branch", [["", usual], [allBranches, "all branches"],
    ...others.map((b) => ["=" + b, b === "" ? "no branch" : shortened(b, 40)])], state.branch || "", change);
}
