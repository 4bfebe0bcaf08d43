// The promise of one episode, step by step, by one or two scorers, with what people said below it.

const NOWHERE = { step: null, delta: null };
const LEAST = 0.005; // what falls by less has not fallen, to two digits

// The step that lost most, and each step's change: its score less the last one given before it.
function changes(values) {
  let before = null;
  let worst = NOWHERE;
  const deltas = values.map((value, step) => {
    if (typeof value !== "number") return null;
    const delta = before === null ? null : value - before;
    before = value;
    if (delta !== null && delta <= -LEAST && (worst.delta === null || delta < worst.delta - 1e-12)) worst = { step, delta };
    return delta;
  });
  return { deltas, worst };
}

function curvePlot(episode, first, second, at, choose, width) {
  const marks = judged(episode).length > 0;
  const height = marks ? 210 : 192;
  const n = episode.turns.length;
  const opinions = [first, second].filter(Boolean);
  const known = opinions.flatMap((one) => one.values).filter((value) => typeof value === "number");
  const low = Math.min(0, ...known);
  const high = Math.max(1, ...known);
  const box = { left: 40, right: width - 16, top: 28, bottom: height - (marks ? 46 : 28) };
  const x = scale(0, Math.max(n - 1, 1), box.left + 8, box.right - 8);
  const y = scale(low, high, box.bottom, box.top);
  const steps = ticks(0, Math.max(n - 1, 1), Math.min(8, width / 60)).filter(Number.isInteger);
  const half = Math.max(3, (x(1) - x(0)) / 2);
  const band = Math.min(half, 14);
  return picture(width, height, curveInWords(first),
    ...axes(x, y, box, steps, ticks(low, high, 4)),
    at !== null && draw("rect", { x: x(at) - band, width: 2 * band, y: box.top, height: box.bottom - box.top, class: "here" }),
    second && trace(second, x, y, "second"),
    first && trace(first, x, y, "first"),
    first && sinking(first, x, y, box),
    ...peopleBelow(episode, x, box.bottom + 32),
    ...episode.turns.map((_, step) => draw("rect", {
      x: x(step) - half, width: 2 * half, y: 0, height, class: "target", onclick: () => choose(step),
    })),
  );
}

function trace(opinion, x, y, kind) {
  const points = opinion.values.map((value, step) => typeof value === "number" && [x(step), y(value)]).filter(Boolean);
  const square = ([px, py]) => draw("rect", { x: px - 3, y: py - 3, width: 6, height: 6, class: "point" });
  const round = ([px, py]) => dot(px, py, points.length > 60 ? 1.5 : 3.5, "point");
  return draw("g", { class: kind }, path(points, "curve"), ...points.map(kind === "second" ? square : round));
}

function sinking(opinion, x, y, box) {
  const { step, delta } = changes(opinion.values).worst;
  if (step === null) return null;
  const value = opinion.values[step];
  const left = x(step) > (box.left + box.right) / 2;
  let from = step - 1;
  while (typeof opinion.values[from] !== "number") from -= 1;
  return draw("g", { class: "sinking" },
    path([[x(from), y(opinion.values[from])], [x(step), y(value)]], "fall"),
    dot(x(step), y(value), 6, "sank"),
    line(x(step), box.top - 8, x(step), y(value) - 6, "plumb"),
    mark("sank", x(step), box.top - 14),
    word(x(step) + (left ? -10 : 10), box.top - 10, `step ${step}: ${number(delta)}`, { "text-anchor": left ? "end" : "start", class: "sank" }));
}

function peopleBelow(episode, x, y) {
  return judged(episode).map(({ step, value }) => mark(verdict(value), x(step), y)).filter(Boolean);
}

function verdict(value) {
  return value === null || value < 0.5 ? "no" : value > 0.5 ? "yes" : "half";
}

// What people said of single steps: scores that stand for them, and labels.
function judged(episode) {
  const scores = episode.opinions.filter((one) => one.people).flatMap((one) =>
    one.values.map((value, step) => ({ step, value, who: one.label, said: one.notes[step] })).filter((one) => one.value !== null));
  const labels = episode.labels.filter((label) => label.step !== null && label.step >= 0)
    .map((label) => ({ step: label.step, value: label.value, who: label.who, code: label.code, said: label.comment }));
  return [...scores, ...labels].filter((one) => one.step < episode.turns.length);
}

function curveInWords(opinion) {
  if (!opinion) return "No scores to draw";
  const { step, delta } = changes(opinion.values).worst;
  const fell = step === null ? "it never fell" : `it fell most at step ${step}, by ${number(-delta)}`;
  return `Score by step: ${opinion.values.map((value) => number(value)).slice(0, 60).join(", ")}; ${fell}`;
}
