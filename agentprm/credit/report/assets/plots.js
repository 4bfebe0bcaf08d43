// The plots of the overview, each from one credit table.

function rowsOf(table) {
  return table.rows.map((row) => Object.fromEntries(row.map((cell, i) => [table.columns[i], cell])));
}

function axes(x, y, box, xTicks, yTicks, say = plain) {
  return [
    ...yTicks.map((tick) => line(box.left, y(tick), box.right, y(tick), "grid")),
    ...yTicks.map((tick) => word(box.left - 8, y(tick) + 4, say(tick), { "text-anchor": "end" })),
    ...xTicks.map((tick) => word(x(tick), box.bottom + 18, say(tick), { "text-anchor": "middle" })),
    line(box.left, box.bottom, box.right, box.bottom, "axis"),
  ];
}

function calibrationPlot(table, width) {
  const height = 270;
  const box = { left: 44, right: width - 12, top: 12, bottom: height - 44 };
  const x = scale(0, 1, box.left, box.right);
  const y = scale(0, 1, box.bottom, box.top);
  const fifths = [0, 0.25, 0.5, 0.75, 1];
  const points = rowsOf(table).map((row) => ({ ...row, x: x(Math.min(1, Math.max(0, row.mean_score))), y: y(row.success) }));
  const most = Math.max(...points.map((point) => point.n), 1);
  return picture(width, height, `Calibration: ${table.note}`,
    ...axes(x, y, box, fifths, fifths),
    line(x(0), y(0), x(1), y(1), "ideal"),
    ...points.filter((p) => p.low !== null).map((p) => line(p.x, y(p.low), p.x, y(p.high), "whisker")),
    path(points.map((p) => [p.x, p.y]), "curve"),
    ...points.map((p) => told(dot(p.x, p.y, 3 + 4 * Math.sqrt(p.n / most), "point"),
      `score ${p.score}: ${percent(p.success)} succeeded (${span(p.low, p.high, percent)}), ${plural(p.n, "step")}`)),
    word((box.left + box.right) / 2, height - 6, "mean score", { "text-anchor": "middle", class: "name" }),
  );
}

function dropsPlot(table, width) {
  const height = 270;
  const rows = rowsOf(table);
  const box = { left: 44, right: width - 12, top: 12, bottom: height - 44 };
  const top = Math.max(...rows.map((row) => row.failed + row.succeeded), 1);
  const end = Math.max(rows[rows.length - 1].high, 8 * rows[0].high);
  const x = scale(0, end, box.left, box.right);
  const y = scale(0, top, box.bottom, box.top);
  const bar = (row, from, to, kind) => to > from && draw("rect", {
    x: x(row.low) + 1, width: Math.max(1, x(row.high) - x(row.low) - 2), y: y(to), height: y(from) - y(to), class: kind,
  });
  const whole = ticks(0, top, 4).filter(Number.isInteger);
  return picture(width, height, "How deep the score fell at most, per episode",
    ...axes(x, y, box, [], whole, count),
    ...ticks(0, end, 5).map((tick) => word(x(tick), box.bottom + 18, plain(tick), { "text-anchor": "middle" })),
    ...rows.map((row) => told(draw("g", {}, bar(row, 0, row.failed, "failed"),
      bar(row, row.failed, row.failed + row.succeeded, "succeeded")),
      `${span(row.low, row.high)}: ${count(row.failed)} failed, ${count(row.succeeded)} succeeded`)),
    word((box.left + box.right) / 2, height - 6, "largest drop in the episode", { "text-anchor": "middle", class: "name" }),
  );
}

function told(shape, words) {
  shape.append(draw("title", {}, words));
  return shape;
}

// A value with its interval on a line of its own, for the cells of a table.
function whisker(row, value, low, high) {
  const x = scale(low, high, 6, 134);
  const inside = (at) => x(Math.min(high, Math.max(low, at)));
  const drawn = [line(6, 10, 134, 10, "grid")];
  if (low < 0 && high > 0) drawn.push(line(x(0), 2, x(0), 18, "axis"));
  if (row.low !== null) drawn.push(line(inside(row.low), 10, inside(row.high), 10, "whisker"));
  drawn.push(dot(inside(value), 10, 4, "point"));
  return draw("svg", { viewBox: "0 0 140 20", width: 140, height: 20, class: "drawing", "aria-hidden": "true" }, ...drawn);
}

// A curve as small as a word, with the place where it sank.
function spark(values, sank) {
  const known = values.filter((value) => typeof value === "number");
  if (known.length < 2) return null;
  const low = Math.min(0, ...known);
  const x = scale(0, Math.max(values.length - 1, 1), 4, 104);
  const y = scale(low, Math.max(1, ...known), 24, 4);
  const points = values.map((value, i) => typeof value === "number" && [x(i), y(value)]).filter(Boolean);
  const at = sank !== null && typeof values[sank] === "number" ? [dot(x(sank), y(values[sank]), 3.5, "sank")] : [];
  return draw("svg", { viewBox: "0 0 108 28", width: 108, height: 28, class: "drawing spark", "aria-hidden": "true" },
    path(points, "curve"), ...at);
}
