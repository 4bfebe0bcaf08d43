// Drawings: lines, points and words at coordinates.

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, properties = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), properties, children);
}

function picture(width, height, label, ...children) {
  const box = { viewBox: `0 0 ${width} ${height}`, width, height };
  return draw("svg", { ...box, role: "img", "aria-label": label, class: "drawing" }, ...children);
}

function line(x1, y1, x2, y2, kind) {
  return draw("line", { x1, y1, x2, y2, class: kind });
}

function word(x, y, text, properties = {}) {
  return draw("text", { x, y, ...properties }, text);
}

function dot(cx, cy, r, kind) {
  return draw("circle", { cx, cy, r, class: kind });
}

function path(points, kind) {
  return draw("path", { d: points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(""), class: kind });
}

// From values to places.
function scale(low, high, from, to) {
  const size = high - low || 1;
  return (value) => from + ((value - low) / size) * (to - from);
}

// Round numbers between two, both ends among them where they are round.
function ticks(low, high, most = 5) {
  const rough = (high - low) / most || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((nice) => nice * size).find((nice) => nice >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

// Marks that differ in shape, not in colour alone.
const MARKS = {
  sank: "M-6 -5 L6 -5 L0 6 Z",
  yes: "M-4.5 0.5 L-1.5 3.5 L4.5 -3.5",
  no: "M-4 -4 L4 4 M4 -4 L-4 4",
  half: "M-4.5 0 L4.5 0",
};

function mark(kind, x = 0, y = 0) {
  return draw("path", { d: MARKS[kind], transform: `translate(${x} ${y})`, class: `mark ${kind}` });
}

function icon(kind, label) {
  const naming = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return draw("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, class: `icon ${kind}`, ...naming }, mark(kind));
}
