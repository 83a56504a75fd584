"use strict";
// The page's scripts are one, put together in the order of reports/CMakeLists.txt. All text of runs gets into the page as
// text: by text nodes, and by attributes that hold nothing but text.

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    } else {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// For those who do not see where a thing stands, or its colour.
const unseen = (words) => el("span", { class: "unseen" }, words);

function section(title, ...children) {
  return el("section", { class: "card", "aria-label": title }, el("h2", {}, title), ...children);
}

const note = (...words) => el("p", { class: "soft" }, ...words);

// A list of choices: [value, shown].
function select(label, choices, chosen, change) {
  const box = el("select", { on: { change: () => change(box.value) } },
    choices.map(([value, shown]) => el("option", { value, selected: value === chosen }, shown)));
  return el("label", { class: "field" }, el("span", {}, label), box);
}

function say(words) {
  document.getElementById("status").textContent = words;
}

// What is a place in a long list is said once, in front of it.
const marks = { passed: "✓", sampled: "✓", failed: "✕", implausible: "✕", error: "!", untrusted: "?",
  unchecked: "○", unsupported: "–", slower: "▼", faster: "▲", same: "=", undecided: "?" };
function badge(verdict) {
  const known = Object.hasOwn(marks, verdict);
  return el("span", { class: "badge " + (known ? verdict : "unsupported") },
    el("span", { "aria-hidden": "true" }, (known ? marks[verdict] : "?") + " "), verdict || "unknown");
}
