// Charts: a picture with a name for screen readers, and behind it the same as a table. Colours are the style sheet's, so
// that they follow the light or dark scheme.
let drawn = [];
let undrawn = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const seriesColours = ["chart-1", "chart-2", "chart-3", "chart-4", "chart-5", "chart-6"];
const pointShapes = ["circle", "rectRot", "triangle", "rect", "star", "crossRot"];

// options: {title, summary, height, config: () => of Chart.js, table: () => node}
function figure(options) {
  const canvas = el("canvas", { role: "img", "aria-label": `${options.title}. ${options.summary}` });
  const box = el("div", { class: "canvas" }, canvas);
  box.style.height = (options.height || 280) + "px";
  const more = el("details", { class: "as-table" }, el("summary", {}, "As table", unseen(`: ${options.title}`)));
  more.addEventListener("toggle", () => {
    if (more.open && more.childElementCount === 1) more.append(options.table());
  });
  undrawn.push(() => drawn.push(new Chart(canvas, options.config())));
  return el("figure", {}, el("figcaption", {}, options.title), box, more);
}

// Charts are drawn once they stand in the page and know their size.
function drawCharts() {
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.color = colour("soft");
  Chart.defaults.borderColor = colour("line");
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 11;
  Chart.defaults.plugins.legend.position = "bottom";
  Chart.defaults.plugins.legend.labels.usePointStyle = true;
  Chart.defaults.plugins.legend.labels.boxHeight = 7;
  for (const draw of undrawn) draw();
  undrawn = [];
}
function dropCharts() {
  for (const chart of drawn) chart.destroy();
  drawn = [];
  undrawn = [];
}

function axis(title, more) {
  return { title: { display: true, text: title }, grid: { color: colour("line") }, ...more };
}
// As many names of commits as fit beside each other.
const commitTicks = () => ({ maxRotation: 0, maxTicksLimit: Math.max(2, Math.min(10, Math.floor(innerWidth / 110))) });
// Lines at powers of ten; also at twice and five times them where the axis is short.
function logAxis(title, shown, more) {
  return axis(title, { type: "logarithmic", ticks: { autoSkip: false, maxRotation: 0, callback: shown },
    afterBuildTicks: (scale) => {
      const low = Math.floor(Math.log10(scale.min)), high = Math.ceil(Math.log10(scale.max));
      const steps = Math.log10(scale.max / scale.min) < 2.5 ? [1, 2, 5] : [1];
      scale.ticks = [];
      for (let power = low; power <= high; ++power) {
        for (const step of steps) {
          const value = step * 10 ** power;
          if (value >= scale.min && value <= scale.max) scale.ticks.push({ value, major: true });
        }
      }
    }, ...more });
}

// What belongs to an ordinal axis, as vertical lines: [{index, colour}].
function verticalLines(lines) {
  return { id: "lines", beforeDatasetsDraw: (chart) => {
    const { ctx, chartArea: area, scales: { x } } = chart;
    ctx.save();
    ctx.lineWidth = 1;
    ctx.setLineDash([4, 3]);
    for (const line of lines) {
      ctx.strokeStyle = line.colour;
      const at = x.getPixelForValue(line.index);
      ctx.beginPath();
      ctx.moveTo(at, area.top);
      ctx.lineTo(at, area.bottom);
      ctx.stroke();
    }
    ctx.restore();
  } };
}
