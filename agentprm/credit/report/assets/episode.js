// One episode, or two beside each other: a column of turns, and the curve of the score.

class Column {
  constructor(episode, state) {
    this.episode = episode;
    this.state = state;
    this.step = null;
    this.chart = make("div", { class: "plot" });
    this.turns = make("div", { class: "turns" });
    fitted(this.chart, (width) => this.plot((this.width = width)));
    this.legend = make("p", { class: "legend quiet" });
    this.near = make("div", { class: "near" });
    this.side = make("aside", { class: "side", "aria-label": "Score by step" }, this.chart, this.legend, this.near);
    this.element = make("section", { class: "column" }, this.heading(), this.side, this.turns);
    this.draw();
  }

  opinion(label) {
    return this.episode.opinions.find((one) => one.label === label) || null;
  }

  get first() {
    const { opinions } = this.episode;
    return this.opinion(this.state.first) || this.opinion(this.state.data.scorer) || opinions.find((one) => !one.people) || opinions[0] || null;
  }

  get second() {
    const second = this.opinion(this.state.second);
    return second === this.first ? null : second;
  }

  plot(width) {
    return curvePlot(this.episode, this.first, this.second, this.step, (step) => this.choose(step), width);
  }

  draw() {
    const { episode } = this;
    const cards = episode.turns.map((_, step) => turnCard(episode, step, this.first, this.second, (at, move) => this.choose(at, move)));
    const last = part("saw", passage(episode.last.saw), pictures(episode.last.images));
    this.turns.classList.toggle("many", cards.length > 100);
    show(this.turns, cards, last && make("article", { class: "turn last" }, make("header", {}, make("h3", {}, "After the last step")), last));
    if (this.width) show(this.chart, this.plot(this.width));
    const sank = this.first && changes(this.first.values).worst.step !== null;
    const named = (kind, opinion) => opinion && key(kind, recorded(opinion.label, { class: "code" }));
    show(this.legend, named("first", this.first) || "not scored", named("second", this.second),
      sank ? make("span", { class: "key" }, icon("sank"), "lost most") : null,
      judged(episode).length ? make("span", { class: "key" }, icon("yes"), icon("no"), "people") : null);
    this.choose(this.step, false);
  }

  choose(step, move = true) {
    if (step === null || !this.episode.turns.length) return;
    this.step = Math.min(this.episode.turns.length - 1, Math.max(0, step));
    for (const card of this.turns.querySelectorAll(".turn[data-here]")) card.removeAttribute("data-here");
    const card = this.turns.children[this.step];
    card.setAttribute("data-here", "");
    if (this.width) show(this.chart, this.plot(this.width));
    show(this.near, opinionsOf(this.episode, this.step) && [make("h3", {}, `Step ${this.step}`), opinionsOf(this.episode, this.step)]);
    if (move) this.bring(card);
  }

  // Beside another episode the turns scroll by themselves, so that each column can stand at its own step.
  bring(card) {
    card.focus({ preventScroll: true });
    if (getComputedStyle(this.turns).overflowY === "auto") this.turns.scrollTop = card.offsetTop - 3;
    else card.scrollIntoView({ block: "start", behavior: "instant" });
  }

  sinking() {
    return this.first ? changes(this.first.values).worst.step : null;
  }

  heading() {
    const { episode } = this;
    const went = outcomeKind(episode.outcome);
    const facts = [["policy", episode.policy], ["environment", episode.env], ["group", episode.group], ["seed", episode.seed],
      ["outcome", episode.outcome === null ? null : number(episode.outcome)], ["began", episode.began.startsWith("1970") ? null : moment(episode.began)], ["id", episode.id]];
    return make("div", { class: "heading" },
      make("h1", { tabindex: -1 }, icon(went, WENT[went]), recorded(shorten(text(episode.task), 160) || "an episode without a task")),
      text(episode.task).length > 160 ? make("details", {}, make("summary", {}, "the whole task"), passage(episode.task)) : null,
      make("p", { class: "facts" }, make("b", { class: went }, WENT[went]), episode.status ? ` ${episode.status}` : " not ended",
        facts.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => make("span", {}, `${name} `, recorded(String(value), { class: "code" }))),
        this.parent()),
      this.whole(),
      episode.meta && make("details", {}, make("summary", {}, "meta"), passage(episode.meta, { class: "passage code" })));
  }

  parent() {
    const { parent } = this.episode;
    return parent && button(`from step ${parent.step} of another episode`, () => openEpisode(parent.id), { class: "link" });
  }

  // What people said of the episode as a whole.
  whole() {
    return this.episode.labels.filter((label) => label.step === null).map((label) => make("p", { class: "people" },
      icon(verdict(label.value)), recorded(text(label.code)), " ", recorded(text(label.who), { class: "quiet" }), passage(label.comment)));
  }
}

function controls(state, columns) {
  const labels = [...new Set(columns.flatMap((column) => column.episode.opinions.map((one) => one.label)))];
  const options = labels.map((label) => [label, label]);
  const redraw = (name) => (value) => { state[name] = value || null; columns.forEach((column) => column.draw()); };
  const first = columns[0].first ? columns[0].first.label : "";
  return make("div", { class: "filters controls" },
    button("‹ all episodes", toOverview, { title: "Esc" }),
    button("previous", () => besides(-1), { title: "← or p" }), button("next", () => besides(1), { title: "→ or n" }),
    columns[0].sinking() === null ? null : button("sinking step", () => columns.forEach((column) => column.choose(column.sinking())), { title: "s" }),
    options.length > 1 ? choice("Scorer", options, first, redraw("first")) : null,
    options.length > 1 ? choice("Second scorer", [["", "none"], ...options], state.second || "", redraw("second")) : null,
    choice("Beside it", companions(state, columns[0].episode), columns[1] ? columns[1].episode.id : "",
      (other) => openEpisode(columns[0].episode.id, other)));
}

// Episodes worth comparing: those of the same task first, successes before failures.
function companions(state, episode) {
  const { episodes } = state.data;
  const here = episodes.find((one) => one.id === episode.id);
  const rank = (one) => (here && one.key === here.key ? 0 : 2) + (outcomeKind(one.outcome) === "yes" ? 0 : 1);
  const others = episodes.filter((one) => one.id !== episode.id).sort((a, b) => rank(a) - rank(b)).slice(0, 100);
  const named = (one) => `${here && one.key === here.key ? "same task" : shorten(one.task, 40)}, ${WENT[outcomeKind(one.outcome)]}, ${plural(one.steps, "step")}, …${one.id.slice(-6)}`;
  return [["", "nothing"], ...others.map((one) => [one.id, named(one)])];
}

function episodePage(state, episodes) {
  const columns = episodes.map((episode) => new Column(episode, state));
  const tabs = columns.length > 1 && make("div", { class: "tabs" }, columns.map((column, i) =>
    button(["first", "second"][i], () => { body.dataset.side = i; })));
  const body = make("div", { class: `columns n${columns.length}`, "data-side": 0 }, columns.map((column) => column.element));
  return { page: make("div", { class: "episode" }, controls(state, columns), tabs, body), columns };
}
