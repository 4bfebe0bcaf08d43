// The first look: four numbers, two plots, two tables, and the list of episodes.

function tile(name, value, detail) {
  return make("div", { class: "tile" }, make("dt", {}, name), make("dd", {}, value), make("dd", { class: "quiet" }, detail));
}

function tiles(data) {
  const { success, tables } = data;
  const told = rowsOf(tables.agreement).find((row) => row.of === "last score");
  const error = /error ([\d.]+)/.exec(tables.calibration.note);
  return make("dl", { class: "tiles" },
    tile("Episodes", count(data.total), data.total - success.n ? `${count(data.total - success.n)} without an outcome` : "all with an outcome"),
    tile("Success", percent(success.share), span(success.low, success.high, percent)),
    tile("Agreement (AUC)", number(told && told.auc, 3), told ? span(told.low, told.high) : "no scores beside outcomes"),
    tile("Calibration error", error ? error[1] : "–", error ? "0 is perfect" : "no scores beside outcomes"));
}

function figure(table, legend, plot) {
  const body = table.rows.length ? fitted(make("div", { class: "plot" }), (width) => plot(table, width)) : null;
  return make("section", { class: "panel" }, make("h2", {}, table.title),
    body || make("p", { class: "quiet" }, table.note || "nothing to show"), body && make("p", { class: "legend quiet" }, ...legend));
}

function key(kind, words) {
  return make("span", { class: "key" }, make("i", { class: kind, "aria-hidden": "true" }), words);
}

function tablePanel(table, columns, low, high, value) {
  const rows = rowsOf(table);
  if (!rows.length) return make("section", { class: "panel wide" }, make("h2", {}, table.title), make("p", { class: "quiet" }, table.note || "nothing to show"));
  const kind = (say, extra) => [say && "number", extra && "extra"].filter(Boolean).join(" ") || null;
  const line = (row) => make("tr", {}, ...columns.map(([name, , say, extra], i) => {
    const cell = say ? say(row[name]) : recorded(String(row[name] ?? "–"));
    return make(i ? "td" : "th", { scope: i ? null : "row", class: kind(say, extra) }, cell);
  }), make("td", { class: "chart" }, whisker(row, row[value], low, high)));
  const head = columns.map(([, title, say, extra]) => make("th", { scope: "col", class: kind(say, extra) }, title));
  const shown = rows.slice(0, 12);
  const body = make("tbody", {}, ...shown.map(line));
  const more = rows.length > 12 && button(`show all ${count(rows.length)}`, (event) => {
    body.append(...rows.slice(12).map(line));
    event.target.remove();
  }, { class: "link" });
  return make("section", { class: "panel wide" }, make("h2", {}, table.title),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": table.title },
      make("table", {}, make("thead", {}, make("tr", {}, ...head, make("th", { scope: "col" }, "95 % interval"))), body)), more);
}

function actionsPanel(table) {
  const rows = rowsOf(table);
  const far = Math.max(0.05, ...rows.flatMap((row) => [row.low ?? row.mean_delta, row.high ?? row.mean_delta]).map(Math.abs));
  const columns = [["action", "tool or action"], ["n", "steps", count, true], ["episodes", "episodes", count, true],
    ["mean_delta", "mean change", (value) => signed(value, 3)], ["errors", "errors", (value) => (value === null ? "" : percent(value)), true]];
  return tablePanel(table, columns, -far, far, "mean_delta");
}

function successPanel(table) {
  const columns = [["policy", "policy"], ["env", "environment", null, true], ["n", "episodes", count], ["success", "success", percent]];
  return tablePanel(table, columns, 0, 1, "success");
}

function overviewPage(state) {
  const { data } = state;
  const list = new EpisodeList(state);
  const by = data.scorer ? [" scored by ", recorded(data.scorer, { class: "code" })] : [" not scored yet"];
  const page = make("div", { class: "overview" },
    make("h1", { tabindex: -1 }, recorded(data.store)),
    make("p", { class: "quiet" }, `${plural(data.total, "episode")},`, ...by, `; ${live ? "live" : `written ${moment(data.written)}`}`),
    tiles(data),
    make("div", { class: "panels" },
      figure(data.tables.calibration, [key("ideal", "perfect"), key("whisker", "95 % interval of the share that succeeded")], calibrationPlot),
      figure(data.tables.drops, [key("failed", "failed"), key("succeeded", "succeeded")], dropsPlot),
      successPanel(data.tables.success), actionsPanel(data.tables.actions)),
    make("section", { class: "panel wide", "aria-labelledby": "list-title" },
      make("h2", { id: "list-title" }, "Episodes, failures with the deepest drop first"),
      filterBar(state, list), list.said, list.box));
  list.refresh();
  return { page, list };
}
