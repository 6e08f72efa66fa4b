"use strict";
// What all charts share: texts, axes, hints and legends. Everything a text may hold is put in as
// text (textContent), never as HTML.

const el = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};
const stored = (id) => JSON.parse(document.getElementById(id).textContent);

const PHONE = 560; // CSS pixels of width below which labels are narrow
const GLYPH = 6.3; // width of a character, on average
const LINE = 14;
const shown = (value) => value === null ? "–" : typeof value === "number"
  ? value.toLocaleString("en", { maximumFractionDigits: 4 }) : value;
const unique = (values) => [...new Set(values)];
const finite = (values) => values.filter((v) => typeof v === "number" && Number.isFinite(v));

// A label in lines of about so many characters, broken where an expression has a joint.
function wrapped(label, characters) {
  const lines = [""];
  const pieces = String(label).split(/(?<=[\s+,(=])/)
    .flatMap((piece) => piece.match(new RegExp(`.{1,${characters}}`, "g")) ?? []);
  for (const piece of pieces) {
    if ((lines.at(-1) + piece).trimEnd().length > characters && lines.at(-1)) lines.push("");
    lines[lines.length - 1] += piece;
  }
  return lines.map((line) => line.trim()).join("\n");
}

function plot(width, options) {
  const { marks, x = {}, y = {}, ...rest } = options;
  const style = {
    fontSize: "12px", fontFamily: "inherit", background: "none", color: "var(--soft)",
    overflow: "visible", "--plot-background": "var(--raised)",
  };
  const svg = Plot.plot({
    width, marginTop: y.label ? 30 : 12, marginRight: 14, marginBottom: 40, marginLeft: 46, style,
    x: { grid: true, labelAnchor: "center", labelArrow: "none", ...x },
    y: { labelArrow: "none", ...y },
    marks, ...rest,
  });
  svg.setAttribute("aria-hidden", "true"); // the element around it says what it is
  return svg;
}

const tip = { fill: "var(--raised)", stroke: "var(--line)", textPadding: 8, fontSize: 12 };
const hints = (data, options) => Plot.tip(data, Plot.pointer({
  ...options, ...tip, title: "says", maxRadius: 24,
}));

// A mark of a legend as the chart draws it.
function swatch({ colour, symbol = "circle", hollow = false, dash, square = false }) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "-8 -8 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(ns, "path");
  const shapes = {
    circle: d3.symbolCircle, square: d3.symbolSquare, diamond: d3.symbolDiamond,
    triangle: d3.symbolTriangle, cross: d3.symbolCross, star: d3.symbolStar, wye: d3.symbolWye,
  };
  path.setAttribute("d", dash ? "M-8,0H8" : d3.symbol(square ? d3.symbolSquare : shapes[symbol],
    square ? 120 : 64)());
  path.style.fill = hollow || dash ? "none" : colour;
  path.style.stroke = colour;
  path.style.strokeWidth = dash ? 3 : 1.5;
  if (dash && dash !== "none") path.style.strokeDasharray = dash;
  svg.append(path);
  return svg;
}

const legend = (entries) => el("ul", { class: "key" }, ...entries.map((entry) =>
  el("li", {}, swatch(entry), entry.name)));

// Room for labels beside rows: pixels, and the labels in lines.
function gutter(labels, width) {
  const pixels = Math.min(width < PHONE ? Math.max(132, width * 0.36) : 300, 20 + GLYPH * Math.max(...labels.map((l) => l.length)));
  const lines = new Map(labels.map((l) => [l, wrapped(l, Math.floor((pixels - 14) / GLYPH))]));
  const tall = Math.max(...[...lines.values()].map((l) => l.split("\n").length));
  return { pixels, lines, row: LINE * tall + 8 };
}
