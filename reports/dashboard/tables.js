// Tables with a caption and heads; long ones by pages.
const rowsPerPage = 25;

// columns: {head, cell: (row) => text or node, number}. The first column heads its row. The style sheet stacks rows on a
// phone, where they would cease to be a table for screen readers: hence the roles.
function plainTable(caption, columns, rows, options) {
  const { hideCaption = false, rowClass = null } = options || {};
  const head = el("tr", { role: "row" }, columns.map((c) => el("th", { scope: "col", role: "columnheader", class: c.number && "number" }, c.head)));
  const cell = (c, row, i) => (i === 0 ? el("th", { scope: "row", role: "rowheader" }, c.cell(row))
    : el("td", { role: "cell", "data-head": c.head, class: c.number && "number" }, c.cell(row)));
  const body = rows.map((row) => el("tr", { role: "row", class: rowClass && rowClass(row) }, columns.map((c, i) => cell(c, row, i))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", { class: "list", role: "table" }, el("caption", { class: hideCaption && "unseen" }, caption),
      el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, body)));
}

// With buttons where there are more rows than a page has. Pages turn in place.
function pagedTable(caption, columns, rows, options) {
  const perPage = (options && options.perPage) || rowsPerPage;
  if (rows.length === 0) return note("None.");
  if (rows.length <= perPage) return plainTable(caption, columns, rows, options);
  const pages = Math.ceil(rows.length / perPage);
  const place = el("span", { class: "place" });
  const holder = el("div", {});
  let page = Math.min(pages - 1, Math.floor(((options && options.start) || 0) / perPage));
  const button = (label, by) => el("button", { type: "button", on: { click: () => turn(by) } }, label);
  const before = button("Previous", -1), after = button("Next", 1);
  function turn(by) {
    page = Math.max(0, Math.min(pages - 1, page + by));
    const first = page * perPage;
    const shown = rows.slice(first, first + perPage);
    place.textContent = `${(first + 1).toLocaleString("en-US")}–${(first + shown.length).toLocaleString("en-US")} of ` +
      rows.length.toLocaleString("en-US");
    holder.replaceChildren(plainTable(caption, columns, shown, options));
    // Not `disabled`, which would take the focus away from who turns pages by key.
    before.setAttribute("aria-disabled", String(page === 0));
    after.setAttribute("aria-disabled", String(page === pages - 1));
    if (by !== 0) say(`${caption}: ${place.textContent}`);
  }
  turn(0);
  return el("div", { class: "paged" }, holder,
    el("div", { class: "pager", role: "group", "aria-label": `Pages of: ${caption}` }, before, place, after));
}

// A line of what a series did lately, for eyes alone: the figures stand beside it.
const sparkWidth = 110, sparkHeight = 22, sparkPoints = 60;
function sparkline(values) {
  const step = Math.max(1, Math.ceil(values.length / sparkPoints));
  const points = [];
  for (let i = 0; i < values.length; i += step) points.push(median(values.slice(i, i + step)));
  const low = Math.min(...points), high = Math.max(...points), span = high - low || 1;
  const x = (i) => (points.length > 1 ? (i / (points.length - 1)) * (sparkWidth - 4) + 2 : sparkWidth / 2);
  const y = (value) => sparkHeight - 3 - ((value - low) / span) * (sparkHeight - 6);
  const path = points.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return svg("svg", { width: sparkWidth, height: sparkHeight, viewBox: `0 0 ${sparkWidth} ${sparkHeight}`, class: "spark",
    "aria-hidden": "true" }, svg("path", { d: path }),
  svg("circle", { cx: x(points.length - 1), cy: y(points[points.length - 1]), r: 2 }));
}
