// Draws the charts when they come into view, and makes tables sort, choosers choose and charts speak to the keyboard.
(() => {
"use strict";

const palettes = JSON.parse(document.getElementById("palettes").textContent);
const darkness = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");
const charts = new Map(); // element .plot -> what was read from its JSON, for those drawn
let printing = false;

// --- charts -----------------------------------------------------------------------------------------------------

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// Plotly's form of a matrix, little-endian float32 in base64, as rows; what is not a number becomes null.
function matrix(packed) {
  const bytes = Uint8Array.from(atob(packed.bdata), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const [rows, columns] = packed.shape.split(", ").map(Number);
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => {
      const value = view.getFloat32(4 * (i * columns + j), true);
      return Number.isFinite(value) ? value : null;
    }));
}

// A reader of one cell: of a matrix, or of the one number that all cells hold.
function cells(packed) {
  if (packed === null || typeof packed === "number") return () => packed;
  const rows = matrix(packed);
  return (i, j) => rows[i][j];
}

function digits(value, count) {
  return value === null ? "–" : value.toFixed(count);
}

// Gives a map its values, and every pair of layers its text.
function fill(heat, pairs) {
  const values = matrix(pairs.values);
  const [stderr, chance, zscores] = [pairs.stderr, pairs.chance, pairs.zscores].map(cells);
  heat.z = values;
  heat.text = values.map((row, i) => row.map((value, j) => {
    const said = [
      `${pairs.network}: ${pairs.rows[i]}`,
      `baseline: ${pairs.columns[j]}`,
      `${pairs.label} ${digits(value, 3)}, standard error ${digits(stderr(i, j), 3)}`,
      `chance ${digits(chance(i, j), 3)}, z-score ${digits(zscores(i, j), 1)}`,
    ];
    if (pairs.yardstick) said.push(`seed to seed ${digits(pairs.yardstick[i], 3)} at the corresponding layer`);
    return said.map(escaped).join("<br>");
  }));
}

// The same in the colours of the theme in use; Plotly writes into what it is given, so it gets a copy.
function themed(value, exchange) {
  if (typeof value === "string") return exchange.get(value) ?? value;
  if (Array.isArray(value)) return value.map((item) => themed(item, exchange));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) =>
    [key, key === "text" || key === "z" ? item : themed(item, exchange)]));
}

function read(plot) {
  const chart = JSON.parse(plot.parentElement.querySelector("script").textContent);
  if (chart.pairs) fill(chart.data[0], chart.pairs);
  charts.set(plot, chart);
  const canvas = plot.firstElementChild;
  return Plotly.newPlot(canvas, [], {}, { displayModeBar: false, responsive: true, doubleClick: "reset" }).then(() => {
    canvas.on("plotly_hover", (event) => tell(plot, event.points[0]));
    return paint(plot);
  });
}

function paint(plot) {
  const { data, layout } = charts.get(plot);
  const dark = darkness.matches && !printing;
  const exchange = new Map(dark ? palettes.light.map((colour, i) => [colour, palettes.dark[i]]) : []);
  const figure = themed({ data, layout }, exchange);
  if (coarse.matches) figure.layout.dragmode = false; // a finger on a map scrolls the page
  return Plotly.react(plot.firstElementChild, figure.data, figure.layout);
}

function draw(plot) {
  return charts.has(plot) ? Plotly.Plots.resize(plot.firstElementChild) : read(plot);
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });

darkness.addEventListener("change", () => charts.forEach((_, plot) => paint(plot)));

// --- charts by keyboard -----------------------------------------------------------------------------------------

const places = new WeakMap(); // element .plot -> { curve, point } where the keyboard is

function tell(plot, point) {
  const text = point.data.text;
  const index = point.pointNumber ?? point.pointIndex;
  const said = Array.isArray(index) ? text[index[0]][index[1]] : text[index];
  const words = new DOMParser().parseFromString(said.replaceAll("<br>", "; "), "text/html").body.textContent;
  plot.parentElement.querySelector(".readout").textContent = words;
}

function clamp(value, most) {
  return Math.max(0, Math.min(most, value));
}

// Where an arrow leads in a map: rows upward, columns rightward. The first key enters at the lower left.
function stepInMap(trace, point, key) {
  const [rows, columns] = [trace.text.length - 1, trace.text[0].length - 1];
  if (point === undefined || key === "Home") return [0, 0];
  if (key === "End") return [rows, columns];
  const [up, right] = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[key];
  return [clamp(point[0] + up, rows), clamp(point[1] + right, columns)];
}

// Where an arrow leads among curves: along a curve by left and right, from curve to curve by up and down.
function stepAlong(curves, data, place, key) {
  if (place === undefined) return { curve: curves[0], point: 0 };
  const last = data[place.curve].text.length - 1;
  if (key === "Home" || key === "End") return { curve: place.curve, point: key === "Home" ? 0 : last };
  const turn = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (turn) {
    const curve = curves[clamp(curves.indexOf(place.curve) + turn, curves.length - 1)];
    return { curve, point: clamp(place.point, data[curve].text.length - 1) };
  }
  const point = place.point + (key === "ArrowRight" ? 1 : -1);
  if (point >= 0 && point <= last) return { curve: place.curve, point };
  const curve = curves[curves.indexOf(place.curve) + Math.sign(point - place.point)]; // on to the next curve
  if (curve === undefined) return place;
  return { curve, point: point < 0 ? data[curve].text.length - 1 : 0 };
}

function onKey(event) {
  const plot = event.currentTarget;
  const canvas = plot.firstElementChild;
  if (event.key === "Escape" && charts.has(plot)) {
    Plotly.Fx.unhover(canvas);
    return;
  }
  if (!["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  if (event.altKey || event.ctrlKey || event.metaKey || !charts.has(plot)) return;
  event.preventDefault();
  const { data } = charts.get(plot);
  const curves = data.flatMap((trace, i) => (trace.text && trace.text.length ? [i] : []));
  const place = places.get(plot);
  const next = data[curves[0]].type === "heatmap"
    ? { curve: curves[0], point: stepInMap(data[curves[0]], place?.point, event.key) }
    : stepAlong(curves, data, place, event.key);
  places.set(plot, next);
  tell(plot, { data: data[next.curve], pointNumber: next.point });
  const { curve, point } = next; // Plotly finds the cell of a map by its place only
  const where = Array.isArray(point) ? { xval: point[1], yval: point[0] } : { pointNumber: point };
  Plotly.Fx.hover(canvas, [{ curveNumber: curve, ...where }]);
}

for (const plot of document.querySelectorAll(".plot")) {
  plot.addEventListener("keydown", onKey);
  plot.addEventListener("blur", () => charts.has(plot) && Plotly.Fx.unhover(plot.firstElementChild));
  watcher.observe(plot);
}

// --- choosers: one of several parts is shown --------------------------------------------------------------------

function show(select) {
  for (const part of document.querySelectorAll(`[data-chooser="${select.id}"]`)) {
    part.hidden = part.dataset.option !== select.value && !printing;
    if (part.hidden) continue;
    for (const plot of part.querySelectorAll(".plot")) {
      if (charts.has(plot)) draw(plot); // the window may have changed while it was hidden
    }
  }
}

for (const select of document.querySelectorAll(".chooser select")) {
  select.addEventListener("change", () => show(select));
  show(select);
}

// --- tables -----------------------------------------------------------------------------------------------------

function sort(table, header) {
  const rising = header.getAttribute("aria-sort") !== "ascending";
  const column = header.cellIndex;
  const numeric = header.dataset.sort === "number";
  const value = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === ""); // what has no value comes last either way
    const order = numeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
    return rising ? order : -order;
  };
  const body = table.tBodies[0];
  body.append(...Array.from(body.rows).sort(compare));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const status = table.closest(".card").querySelector("[role=status]");
  status.textContent = `Sorted by ${header.textContent}, ${rising ? "ascending" : "descending"}.`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, header));
  }
}

// --- paper: everything is shown, in light colours, at the width of a page ---------------------------------------

function forPaper(on) {
  printing = on;
  document.documentElement.classList.toggle("printing", on);
  document.querySelectorAll(".chooser select").forEach(show);
  for (const plot of document.querySelectorAll(".plot")) {
    if (charts.has(plot)) {
      paint(plot);
      if (plot.offsetParent !== null) draw(plot); // what is hidden has no size to follow
    } else if (on) {
      watcher.unobserve(plot);
      draw(plot);
    }
  }
}

addEventListener("beforeprint", () => forPaper(true));
addEventListener("afterprint", () => forPaper(false));
})();
