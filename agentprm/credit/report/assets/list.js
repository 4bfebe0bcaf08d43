// The list of episodes: filtered, and drawn only where it is looked at.

const ROW = 72;

function outcomeKind(outcome) {
  return outcome === null || outcome === undefined ? "half" : outcome >= 0.5 ? "yes" : "no";
}

const WENT = { yes: "succeeded", no: "failed", half: "outcome unknown" };

class EpisodeList {
  constructor(state) {
    this.state = state;
    this.rows = [];
    this.space = make("div", { class: "space" });
    this.box = make("div", {
      class: "rows", role: "listbox", tabindex: 0, id: "episodes", "aria-label": "Episodes, the deepest drop of the score first",
      onscroll: () => this.paint(),
    }, this.space);
    this.said = make("p", { class: "quiet", role: "status" });
    new ResizeObserver(() => this.paint()).observe(this.box);
  }

  matches(episode) {
    const { words, outcome, policy, task } = this.state.filter;
    if (outcome && outcomeKind(episode.outcome) !== outcome) return false;
    if (policy && (episode.policy || "") !== policy) return false;
    if (task && episode.key !== task) return false;
    const text = [episode.task, episode.policy, episode.env, episode.action, episode.id].join(" ").toLowerCase();
    return words.toLowerCase().split(/\s+/).every((one) => text.includes(one));
  }

  refresh() {
    const { episodes, total } = this.state.data;
    this.rows = this.state.list = episodes.filter((episode) => this.matches(episode));
    const leftOut = total - episodes.length;
    const rest = leftOut ? `; ${plural(leftOut, "further episode")} left out of this ${live ? "list" : "file"}` : "";
    this.said.textContent = `${count(this.rows.length)} of ${plural(episodes.length, "episode")}${rest}`;
    this.space.style.height = `${this.rows.length * ROW}px`;
    const at = this.rows.findIndex((episode) => episode.id === this.state.chosen);
    this.at = at >= 0 ? at : 0;
    this.paint();
  }

  paint() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 4);
    const last = Math.min(this.rows.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + 4);
    show(this.space, this.rows.slice(first, last).map((episode, i) => this.row(episode, first + i)));
    if (this.rows.length) this.box.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(episode, i) {
    const went = outcomeKind(episode.outcome);
    const lost = episode.sank === null || episode.delta > -LEAST ? null : `${number(episode.delta)} at step ${episode.sank}`;
    const marked = episode.marked === null ? null : `people: wrong at step ${episode.marked}`;
    const row = make("div", {
      class: "row", role: "option", id: `row-${i}`, "aria-selected": String(i === this.at),
      "aria-posinset": i + 1, "aria-setsize": this.rows.length, "data-marked": this.state.beside === episode.id,
      onclick: () => { this.at = i; openEpisode(episode.id); },
    },
      icon(went, WENT[went]),
      make("div", { class: "what" },
        recorded(episode.task || episode.key || episode.id, { class: "task" }),
        make("div", { class: "quiet" },
          episode.policy && recorded(episode.policy),
          [plural(episode.steps, "step"), episode.status ? null : "not ended", marked].filter(Boolean).map((words) => make("span", {}, words)))),
      make("div", { class: "fate" }, spark(episode.curve, lost ? episode.sank : null) || make("span", { class: "spark" }),
        make("div", { class: "lost" },
          lost && make("strong", {}, lost), lost && episode.action && recorded(episode.action, { class: "quiet" }))));
    row.style.top = `${i * ROW}px`;
    return row;
  }

  move(by) {
    if (!this.rows.length) return;
    this.at = Math.min(this.rows.length - 1, Math.max(0, this.at + by));
    this.state.chosen = this.rows[this.at].id;
    const top = this.at * ROW;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    const end = top + ROW - this.box.clientHeight;
    if (end > this.box.scrollTop) this.box.scrollTop = end;
    this.paint();
  }

  current() {
    return this.rows[this.at] || null;
  }
}

function filterBar(state, list) {
  const set = (name) => (value) => { state.filter[name] = value; state.chosen = null; list.box.scrollTop = 0; list.refresh(); };
  const names = (key, text) => [...new Map(state.data.episodes.filter((e) => e[key]).map((e) => [e[key], e[text]]))]
    .sort((a, b) => (a[1] < b[1] ? -1 : 1)).slice(0, 500);
  const search = make("input", {
    type: "search", id: "words", "aria-label": "Filter episodes by words", placeholder: "filter by words", value: state.filter.words,
    oninput: (event) => set("words")(event.target.value),
  });
  const { outcome, policy, task } = state.filter;
  return make("div", { class: "filters", role: "search" },
    make("label", { class: "choice" }, make("span", {}, "Words"), search),
    choice("Outcome", [["", "any"], ["no", "failed"], ["yes", "succeeded"], ["half", "unknown"]], outcome, set("outcome")),
    choice("Policy", [["", "any"], ...names("policy", "policy")], policy, set("policy")),
    choice("Task", [["", "any"], ...names("key", "task")], task, set("task")));
}
