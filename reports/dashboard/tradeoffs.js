// Error against speed over backends and types, and the roofline of one run.
const isDecode = (series) => data.series.decode[series] === 1;

// The fastest point now of a verified model, with the same backend, device, type and split.
function fastest(model, decode, passes) {
  const m = data.models, s = data.series;
  const same = ["architecture", "backend", "device", "dtype", "tp", "pp", "apart", "replicas"];
  let best = null;
  for (const series of seriesThatPass()) {
    if (isDecode(series) !== decode || modelName(s.model[series]) !== modelName(m.model[model]) ||
      !same.every((name) => s[name][series] === m[name][model])) continue;
    const row = ratesOf(series, passes).pop();
    if (row !== undefined && (best === null || data.rows.rate[row] > data.rows.rate[best])) best = row;
  }
  return best;
}

function errorAgainstSpeed(passes) {
  const decode = state.phase !== "prefill";
  const points = modelsThatPass().map((model) => latestPart(model, passes)).filter((l) => l !== null && data.parts.isolated[l.part] !== null)
    .map((l) => ({ ...l, row: fastest(l.model, decode, passes), ratio: data.parts.isolated[l.part] })).filter((p) => p.row !== null);
  const choice = el("div", { class: "fields" }, select("Phase", [["decode", "decode"], ["prefill", "prefill"]], decode ? "decode" : "prefill",
    (phase) => go({ phase })));
  if (points.length === 0) return section("Error against speed", choice, note("No model, backend and type among these was both verified and measured."));
  const m = data.models;
  const backends = [...new Set(points.map((p) => words(m.backend[p.model])))].sort();
  const dtypes = [...new Set(points.map((p) => words(m.dtype[p.model])))].sort();
  const groups = backends.flatMap((b) => dtypes.map((d) => ({ b, d, points: points.filter((p) => words(m.backend[p.model]) === b && words(m.dtype[p.model]) === d) })))
    .filter((g) => g.points.length > 0);
  const finite = points.map((p) => p.ratio).filter((r) => r > 0);
  const top = 3 * finite.reduce((a, b) => Math.max(a, b), 1), bottom = finite.reduce((a, b) => Math.min(a, b), 1) / 2;
  const place = (ratio) => (ratio < 0 ? top : Math.max(ratio, bottom));
  const config = () => ({
    type: "scatter",
    data: { datasets: groups.map((g) => ({ label: `${g.b} ${g.d}`, points: g.points,
      data: g.points.map((p) => ({ x: data.rows.rate[p.row], y: place(p.ratio) })),
      pointStyle: pointShapes[dtypes.indexOf(g.d) % pointShapes.length], radius: 5, hoverRadius: 7, borderWidth: 1.5,
      borderColor: colour(seriesColours[backends.indexOf(g.b) % seriesColours.length]),
      backgroundColor: colour(seriesColours[backends.indexOf(g.b) % seriesColours.length]) })) },
    options: { scales: { x: logAxis(`tokens per second, ${decode ? "decode" : "prefill"}, the fastest point`, rateText), y: logAxis("worst isolated error / limit", ratioText, { suggestedMax: 2 }) },
      plugins: { tooltip: { callbacks: { label: (item) => {
        const p = item.dataset.points[item.dataIndex];
        return [modelText(p.model), `${rateText(data.rows.rate[p.row])} tokens/s (${pointText(data.rows.series[p.row])})`, `error / limit ${ratioText(p.ratio)}, ${words(data.parts.verdict[p.part])}`];
      } } } } },
    plugins: [limitLine],
  });
  return section("Error against speed", choice, figure({ title: "Worst isolated error / limit against tokens per second", height: 320, config,
    summary: `${counted(points.length, "model")} on ${counted(backends.length, "backend")}. Further right is faster, below 1 passes.`,
    table: () => pagedTable("Error against speed", [
      { head: "Model, backend, type", cell: (p) => modelLink(p.model) },
      { head: "Tokens/s", number: true, cell: (p) => rateText(data.rows.rate[p.row]) },
      { head: "At", cell: (p) => pointText(data.rows.series[p.row]) },
      { head: "Error / limit", number: true, cell: (p) => ratioText(p.ratio) },
      { head: "Verdict", cell: (p) => badge(words(data.parts.verdict[p.part])) },
    ], points) }), note("The latest verification, isolated, and the latest right row of a benchmark of the same model, backend, device, type and split."));
}

const limitLine = { id: "limit", beforeDatasetsDraw: (chart) => {
  const { ctx, chartArea: area, scales: { y } } = chart;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("bad");
  ctx.beginPath();
  ctx.moveTo(area.left, y.getPixelForValue(1));
  ctx.lineTo(area.right, y.getPixelForValue(1));
  ctx.stroke();
  ctx.fillText("limit", area.left + 4, y.getPixelForValue(1) - 4);
  ctx.restore();
} };

// ---- roofline

const roofRuns = 200;

// Rows of a run that can stand in a roofline, with the probe that is theirs.
function underRoofs(run) {
  const p = data.probes, s = data.series;
  return rowsOfRun[run].filter((row) => countsAsRate(row) && linePasses(s, data.rows.series[row]))
    .map((row) => {
      const series = data.rows.series[row], [flops, bytes] = data.works[data.rows.work[row]];
      const probe = probesOfRun[run].find((one) => p.backend[one] === s.backend[series] && p.device[one] === s.device[series] &&
        p.dtype[one] === s.dtype[series] && p.threads[one] === s.threads[series] && p.flops[one] > 0 && p.read[one] > 0);
      return { row, series, probe, x: flops / bytes, y: flops * data.rows.rate[row] };
    }).filter((point) => point.probe !== undefined && point.x > 0 && isFinite(point.x) && point.y > 0);
}

const probeText = (probe) => `${words(data.probes.backend[probe])} ${words(data.probes.dtype[probe])}, ${counted(data.probes.threads[probe], "thread")}`;
const roofAt = (probe, intensity) => Math.min(data.probes.flops[probe], data.probes.read[probe] * intensity);

function roofFigure(points) {
  const probes = [...new Set(points.map((p) => p.probe))];
  const p = data.probes;
  const edges = [...points.map((point) => point.x), ...probes.map((one) => p.flops[one] / p.read[one])];
  const from = Math.min(...edges) / 2, to = Math.max(...edges) * 2;
  const tint = (probe) => colour(seriesColours[probes.indexOf(probe) % seriesColours.length]);
  const config = () => ({
    type: "scatter",
    data: { datasets: [
      ...probes.map((one) => ({ label: `roof ${probeText(one)}`, type: "line", borderColor: tint(one), borderWidth: 1.5, pointRadius: 0, pointStyle: "line",
        data: [from, p.flops[one] / p.read[one], to].map((x) => ({ x, y: roofAt(one, x) })) })),
      ...probes.flatMap((one) => [false, true].map((decode) => {
        const some = points.filter((point) => point.probe === one && isDecode(point.series) === decode);
        return { label: `${decode ? "decode" : "prefill"} ${words(p.dtype[one])}`, points: some, data: some.map(({ x, y }) => ({ x, y })), radius: 4,
          pointStyle: decode ? "circle" : "rectRot", borderColor: tint(one), backgroundColor: tint(one) };
      })).filter((set) => set.data.length > 0),
    ] },
    options: { scales: { x: logAxis("FLOPs per byte that the model needs", ratioText, { min: from, max: to }), y: logAxis("FLOP/s reached", (v) => unitText(v, "FLOP/s")) },
      plugins: { tooltip: { callbacks: { label: (item) => {
        if (!item.dataset.points) return `${item.dataset.label}: ${unitText(item.raw.y, "FLOP/s")}`;
        const point = item.dataset.points[item.dataIndex];
        return [seriesText(point.series), `${unitText(point.y, "FLOP/s")}, ${shareText(point.y / roofAt(point.probe, point.x))} of the roof`];
      } } } } },
  });
  return figure({ title: "Roofline", height: 340, config, summary: `${counted(points.length, "row")} under the measured rates of ${probes.map(probeText).join("; ")}.`,
    table: () => pagedTable("Roofline", [
      { head: "Row", cell: (point) => seriesText(point.series) },
      { head: "FLOPs per byte", number: true, cell: (point) => ratioText(point.x) },
      { head: "Reached", number: true, cell: (point) => unitText(point.y, "FLOP/s") },
      { head: "Roof", number: true, cell: (point) => unitText(roofAt(point.probe, point.x), "FLOP/s") },
      { head: "Share", number: true, cell: (point) => shareText(point.y / roofAt(point.probe, point.x)) },
    ], points) });
}

function roofline(passes) {
  const runs = [];
  for (let run = runCount - 1; run >= 0 && runs.length < roofRuns; --run)
    if (passes[run] && probesOfRun[run].length > 0 && underRoofs(run).length > 0) runs.push(run);
  const asked = runOfId.get(Number(state.roof));
  if (asked !== undefined && !runs.includes(asked) && underRoofs(asked).length > 0) runs.unshift(asked);
  if (runs.length === 0) return section("Roofline", note("No benchmark among these measured the device's rates and a row whose operations are known."));
  const run = runs.includes(asked) ? asked : runs[0];
  return section("Roofline",
    el("div", { class: "fields" }, select("Run", runs.map((one) => [String(data.runs.id[one]), `${revisionText(one)}, ${timeText(data.runs.started[one])}, ${words(data.runs.processor[one])}`]),
      String(data.runs.id[run]), (roof) => go({ roof }))),
    roofFigure(underRoofs(run)),
    note("Roofs are what the device reached in the same process: its arithmetic, and reading from memory. A model that stays in the caches may lie above the slope. ", runLink(run, "This run")));
}

function tradeoffs() {
  const passes = runsThatPass();
  return [errorAgainstSpeed(passes), roofline(passes)];
}
