// Puts a view into the page whenever the address changes.
const views = { overview: ["Overview", overview], throughput: ["Throughput", throughput], accuracy: ["Accuracy", accuracy],
  tradeoffs: ["Error, speed, roofline", tradeoffs], compare: ["Compare", compare], runs: ["Runs", runs] };

function emptyPage() {
  return [section("No runs", data.made.filter ? note(`No run in ${data.made.store} passes: ${data.made.filter}`)
    : [note(`The history ${data.made.store} holds no runs yet. Put some in:`),
      el("pre", { tabindex: 0 }, ["verify --arch olmo --backend cpu --dtype f32", "bench --arch olmo --backend cpu --prompt 64 --gen 16",
        "report -o site/"].map((command) => `mlbench ${command}\n`).join(""))])];
}

// What a control is known by when the page is drawn anew.
function keyOfControl(node) {
  if (!node || node === document.body) return "";
  const label = node.closest("label");
  return node.getAttribute("data-key") || node.getAttribute("href") || (label ? label.firstChild.textContent : "");
}
function focusAgain(main, key) {
  if (key === "") return;
  const again = [...main.querySelectorAll("a, select, input, button")].find((node) => keyOfControl(node) === key);
  (again || main).focus({ preventScroll: again !== undefined });
}

let shownView = null;
function show() {
  const main = document.getElementById("main");
  const key = main.contains(document.activeElement) ? keyOfControl(document.activeElement) : "";
  readState();
  const view = currentView();
  document.getElementById("views").replaceChildren(...Object.entries(views).map(([name, [title]]) =>
    el("li", {}, el("a", { href: viewLink(name, {}), "aria-current": name === view ? "page" : null }, title))));
  if (runCount > 0) fillFilters();
  dropCharts();
  const parts = runCount === 0 ? emptyPage() : views[view][1]();
  main.replaceChildren(...parts.flat(2).filter((part) => part !== null && part !== undefined));
  drawCharts();
  document.title = `${data.made.title || "mlbench"}: ${views[view][0]}`;
  if (shownView !== null && shownView !== view) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  } else {
    focusAgain(main, key);
  }
  if (shownView !== null) say(`${views[view][0]}: ${counted(main.querySelectorAll("section").length, "section")}`);
  shownView = view;
}

function begin() {
  const made = data.made;
  document.getElementById("about").textContent = runCount === 0 ? "no runs"
    : `${counted(runCount, "run")}, ${dayText(data.runs.started.find((at) => at !== null) ?? null)} to ${dayText(newestTime)}`;
  document.getElementById("made").textContent = `Made ${timeText(made.when)} UTC by ${made.program} from ${made.store}` +
    (made.filter ? ` with ${made.filter}` : "") + ". Times are UTC.";
  if (made.title) document.getElementById("title").textContent = made.title;
  document.getElementById("filters").hidden = runCount === 0;
  // On a phone the filters would fill the first screen.
  if (matchMedia("(max-width: 700px)").matches) document.getElementById("filters").open = false;
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address behind # is the page's state
    document.getElementById("main").focus();
  });
  addEventListener("hashchange", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
  document.documentElement.dataset.ready = "true";
}
begin();
