// Which view is shown, and what it shows when data arrives.

const bar = byId("bar");
const main = byId("main");
const overlay = byId("overlay");
const NOTHING = () => false;
const IDLE = { down: NOTHING, enter: NOTHING, across: NOTHING, sinking: NOTHING, beside: NOTHING, filter: NOTHING, back: NOTHING };
const state = { data: null, mark: null, filter: { words: "", outcome: "", policy: "", task: "" }, chosen: null, beside: null, first: null, second: null, list: [], place: 0 };
let view = IDLE;
let turn = 0;

function route() {
  const [, kind, ...ids] = location.hash.slice(1).split("/");
  return kind === "e" ? ids.filter(Boolean).slice(0, 2) : [];
}

function openEpisode(id, other) {
  const target = `#/e/${id}${other ? `/${other}` : ""}`;
  if (location.hash !== target) location.hash = target;
}

function toOverview() {
  location.hash = "#/";
}

// The episode before or after this one, in the order of the list as it was filtered.
function besides(by) {
  const [id] = route();
  const list = state.list.some((episode) => episode.id === id) ? state.list : state.data.episodes;
  const next = list[list.findIndex((episode) => episode.id === id) + by];
  if (next) openEpisode(next.id);
  return Boolean(next);
}

async function render({ keep = false } = {}) {
  const mine = (turn += 1);
  const ids = route();
  if (!ids.length) return showOverview(keep);
  try {
    const episodes = await Promise.all(ids.map(episodeOf));
    if (mine === turn) showEpisodes(episodes, keep);
  } catch (error) {
    if (mine === turn) showProblem(error);
  }
}

function showProblem(error) {
  view = { ...IDLE, back: toOverview };
  show(main, make("div", { class: "panel" }, make("h1", { tabindex: -1 }, "This cannot be shown"),
    make("p", {}, String(error.message)), button("‹ all episodes", toOverview)));
}

function showOverview(keep) {
  const { list, page } = overviewPage(state);
  const focused = document.activeElement && document.activeElement.id;
  const scrolled = keep && byId("episodes") ? byId("episodes").scrollTop : 0;
  const top = window.scrollY;
  show(main, page);
  list.refresh();
  view = { ...overviewKeys(list), columns: [] };
  if (turn === 1) requestAnimationFrame(() => performance.mark("overview"));
  if (keep) {
    list.box.scrollTop = scrolled;
    window.scrollTo(0, top);
    if (focused && byId(focused)) byId(focused).focus({ preventScroll: true });
  } else if (state.chosen) {
    list.move(0);
    window.scrollTo(0, state.place);
    list.box.focus({ preventScroll: true });
  } else {
    window.scrollTo(0, 0);
  }
}

function overviewKeys(list) {
  const open = (episode) => { if (episode) openEpisode(episode.id); };
  return { ...IDLE,
    down: (by) => { if (document.activeElement !== list.box) list.box.focus(); else list.move(by); },
    enter: () => open(list.current()),
    beside: () => {
      const here = list.current();
      if (!here) return;
      if (state.beside && state.beside !== here.id) { openEpisode(state.beside, here.id); state.beside = null; return; }
      state.beside = state.beside ? null : here.id;
      list.paint();
    },
    filter: () => { byId("words").focus(); byId("words").select(); },
    back: () => {
      if (document.activeElement === byId("words")) { list.box.focus(); return true; }
      if (!state.filter.words && !state.beside) return false;
      state.beside = null;
      state.filter.words = byId("words").value = "";
      list.refresh();
      return true;
    },
  };
}

function showEpisodes(episodes, keep) {
  const steps = keep ? view.columns.map((column) => column.step) : [];
  if (!route().includes(state.chosen)) [state.chosen] = route();
  const { page, columns } = episodePage(state, episodes);
  const top = window.scrollY;
  show(main, page);
  view = { ...IDLE, columns,
    down: (by) => columns.forEach((column) => column.choose(column.step === null ? 0 : column.step + by, column === columns[0] || columns.length > 1)),
    across: besides,
    sinking: () => columns.forEach((column) => column.choose(column.sinking())),
    filter: () => { toOverview(); return true; },
    back: () => { episodes.length > 1 ? openEpisode(episodes[0].id) : toOverview(); return true; },
  };
  columns.forEach((column, i) => column.choose(steps[i] ?? null, false));
  if (keep) window.scrollTo(0, top);
  else { window.scrollTo(0, 0); main.querySelector("h1").focus({ preventScroll: true }); }
}

function turnTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("agentprm-theme", document.documentElement.dataset.theme); } catch { /* a page from a file may keep nothing */ }
}

function drawBar() {
  try {
    const kept = localStorage.getItem("agentprm-theme");
    if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  } catch { /* as above */ }
  show(bar, button("agentprm", toOverview, { class: "brand", "aria-label": "agentprm: all episodes" }),
    make("span", { class: "quiet", id: "pulse", role: "status" }),
    make("span", { class: "tools" }, button("keys", help, { title: "?" }), button("light / dark", turnTheme, { title: "t" })));
}

// Ask a live store again and again, and draw anew only what is new.
async function follow() {
  let wait = 2000;
  try {
    const answer = await ask("index.json", state.mark);
    if (answer) {
      const first = state.data === null;
      state.data = answer.data;
      state.mark = answer.mark;
      if (first || !route().length) render({ keep: !first });
      else if (view.columns.some((column) => !column.episode.status)) render({ keep: true });
    }
    byId("pulse").textContent = "live";
  } catch {
    byId("pulse").textContent = "the server is away: what you see is as it was";
    wait = 5000;
  }
  setTimeout(follow, document.hidden ? 10000 : wait);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
let before = location.hash;
window.addEventListener("hashchange", () => {
  if (!before.startsWith("#/e/")) state.place = window.scrollY;
  before = location.hash;
  if (state.data) render();
});
drawBar();
listen();
if (live) follow();
else {
  state.data = parsed("overview");
  render();
}
