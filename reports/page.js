// Draws the charts of a page: reads #data, which names a canvas for each.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const soft = "#5c6878", line = "#e6eaee";
const modeColours = { isolated: "#2f69ab", chained: "#8a4fae", exact: "#1b8a6b" };
Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.color = soft;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.font.size = 11;

// How many of a tap's checks lie in each band, as shares: a bar of one length for each tap.
function drawSpread(canvas, spread) {
  const totals = spread.counts.map((row) => row.reduce((sum, n) => sum + n, 0));
  const datasets = data.bands.map((band, b) => ({
    label: band.label,
    data: spread.counts.map((row, t) => (100 * row[b]) / totals[t]),
    backgroundColor: band.colour,
    borderWidth: 0,
    barPercentage: 0.86,
    categoryPercentage: 1,
  }));
  const used = datasets.filter((_, b) => spread.counts.some((row) => row[b] > 0));
  new Chart(canvas, {
    type: "bar",
    data: { labels: spread.taps, datasets: used },
    options: {
      indexAxis: "y",
      scales: {
        x: { stacked: true, min: 0, max: 100, grid: { color: line }, ticks: { callback: (v) => v + "%" } },
        y: { stacked: true, grid: { display: false }, ticks: { autoSkip: false } },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          callbacks: {
            label: (item) => {
              const band = data.bands.findIndex((b) => b.label === item.dataset.label);
              return `${item.dataset.label}: ${spread.counts[item.dataIndex][band]} of ${totals[item.dataIndex]} checks`;
            },
          },
        },
      },
    },
  });
}

// What is not finite is a triangle above all others.
function drawLayers(canvas, layers) {
  const finite = layers.lines.flatMap((l) => l.ratios).filter((r) => r > 0);
  const top = 3 * Math.max(1, ...finite);
  const isBeyond = (r) => r === "beyond";
  const lines = layers.lines.map((l) => ({
    label: l.mode,
    data: l.ratios.map((r) => (isBeyond(r) ? top : r > 0 ? r : null)), // a logarithm has no place for 0
    ratios: l.ratios,
    pointStyle: l.ratios.map((r) => (isBeyond(r) ? "triangle" : "circle")),
    borderColor: modeColours[l.mode],
    backgroundColor: modeColours[l.mode],
    borderWidth: 2,
    pointRadius: l.ratios.map((r) => (isBeyond(r) ? 5 : layers.layers.length > 40 ? 0 : 2.5)),
    tension: 0,
    spanGaps: false,
  }));
  const limit = {
    label: "limit",
    data: layers.layers.map(() => 1),
    borderColor: "#d8301f",
    borderWidth: 1.5,
    borderDash: [5, 4],
    pointRadius: 0,
  };
  new Chart(canvas, {
    type: "line",
    data: { labels: layers.layers, datasets: [...lines, limit] },
    options: {
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { title: { display: true, text: "layer" }, grid: { color: line } },
        y: {
          type: "logarithmic",
          suggestedMax: 2,
          title: { display: true, text: "worst error / limit" },
          grid: { color: line },
          ticks: { callback: (v) => (Number.isInteger(Math.log10(v)) ? Number(v).toPrecision(1) * 1 : "") },
        },
      },
      plugins: {
        legend: { position: "bottom", labels: { boxWidth: 18, boxHeight: 2 } },
        tooltip: {
          callbacks: {
            label: (item) => {
              const ratio = item.dataset.ratios ? item.dataset.ratios[item.dataIndex] : item.raw;
              return `${item.dataset.label}: ${isBeyond(ratio) ? "limit 0, or not finite" : ratio}`;
            },
          },
        },
      },
    },
  });
}

// Figures over time; what was not told leaves a gap.
function drawSeries(canvas, series) {
  const colours = ["#2f69ab", "#c2571a", "#1b8a6b", "#8a4fae", "#7a6a00"];
  const lines = series.lines.map((l, i) => ({
    label: l.name,
    data: series.seconds.map((x, at) => ({ x, y: l.values[at] })),
    borderColor: colours[i % colours.length],
    backgroundColor: colours[i % colours.length],
    borderWidth: 1.5,
    pointRadius: series.seconds.length > 60 ? 0 : 2,
    tension: 0,
  }));
  const times = { label: "wrong value", data: series.faults.map((x) => ({ x, y: series.top })), showLine: false,
    pointStyle: "triangle", pointRadius: 6, borderColor: "#d8301f", backgroundColor: "#d8301f" };
  new Chart(canvas, {
    type: "line",
    data: { datasets: series.faults.length > 0 ? [...lines, times] : lines },
    options: {
      scales: {
        x: { type: "linear", title: { display: true, text: "seconds" }, grid: { color: line } },
        y: { title: { display: true, text: series.unit }, grid: { color: line }, suggestedMin: series.low },
      },
      plugins: { legend: { position: "bottom", labels: { boxWidth: 18, boxHeight: 2 } } },
    },
  });
}

for (const chart of data.charts) {
  const canvas = document.getElementById(chart.id);
  if (chart.spread) drawSpread(canvas, chart.spread);
  if (chart.layers) drawLayers(canvas, chart.layers);
  if (chart.series) drawSeries(canvas, chart.series);
}
