// Figures and times as they are shown. Minus signs are typographic ones; times are UTC.
const grouped = (value) => Math.round(value).toLocaleString("en-US");

function rateText(value) {
  if (value === null) return "–";
  if (value >= 1000) return grouped(value);
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

// A change of a ratio: 0.958 is −4.2%, 0.85 is −15%.
function changeText(ratio, digits = Math.abs(ratio - 1) >= 0.1 ? 0 : 1) {
  const percent = 100 * (ratio - 1);
  const shown = Math.abs(percent).toFixed(digits);
  return (Number(shown) === 0 ? "±" : percent < 0 ? "−" : "+") + shown + "%";
}
const changeRange = (low, high) => `${changeText(low, 1)} to ${changeText(high, 1)}`;

function ratioText(ratio) {
  if (ratio === null) return "–";
  if (ratio < 0) return "not finite";
  return String(Number(ratio.toPrecision(3)));
}

const shareText = (share) => (share === null ? "–" : (100 * share).toPrecision(3) + "%");

const units = ["", "k", "M", "G", "T", "P"];
function unitText(value, unit) {
  const step = value > 0 ? Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(value) / 3))) : 0;
  return Number((value / 1000 ** step).toPrecision(3)) + " " + units[step] + unit;
}

const pad = (number) => String(number).padStart(2, "0");
function dayText(seconds) {
  if (seconds === null) return "no date";
  const at = new Date(1000 * seconds);
  return `${at.getUTCFullYear()}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
}
function timeText(seconds) {
  if (seconds === null) return "no date";
  const at = new Date(1000 * seconds);
  return `${dayText(seconds)} ${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
}

const counted = (count, noun) => `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
const shortened = (words, most) => (words.length > most ? words.slice(0, most - 1) + "…" : words);
