// The keyboard: what each key does, and the page that says so.

const KEYS = [
  ["j  ↓", "next episode in the list, next step in an episode", ["j", "ArrowDown"], () => view.down(1)],
  ["k  ↑", "the one before", ["k", "ArrowUp"], () => view.down(-1)],
  ["Enter", "open the episode", ["Enter"], () => view.enter()],
  ["n  →", "next episode", ["n", "ArrowRight"], () => view.across(1)],
  ["p  ←", "previous episode", ["p", "ArrowLeft"], () => view.across(-1)],
  ["s", "the step that sank it", ["s"], () => view.sinking()],
  ["c", "mark an episode; on a second one, open both side by side", ["c"], () => view.beside()],
  ["/", "filter the list", ["/"], () => view.filter()],
  ["t", "light or dark", ["t"], () => turnTheme()],
  ["?", "this page of keys", ["?"], () => help()],
  ["Esc", "back", ["Escape"], () => back()],
];

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("input, select, textarea, summary");
    if (field && event.key !== "Escape") {
      if (field.id === "words" && (event.key === "Enter" || event.key === "ArrowDown")) leave(event);
      return;
    }
    if (event.key === "Enter" && event.target.closest("button, a")) return;
    if (/^Arrow(Left|Right)$/.test(event.key) && event.target.closest(".scroll")) return;
    const known = KEYS.find(([, , keys]) => keys.includes(event.key));
    if (known && known[3]() !== false) event.preventDefault();
  });
}

function leave(event) {
  event.preventDefault();
  byId("episodes").focus();
}

function help() {
  const close = () => { show(overlay); if (before && before.isConnected) before.focus(); };
  const before = document.activeElement;
  const rows = KEYS.map(([keys, does]) => make("tr", {}, make("th", { scope: "row" }, keys.split("  ").map((one) => make("kbd", {}, one))), make("td", {}, does)));
  const shut = button("close", close);
  const box = make("div", { class: "dialog", role: "dialog", "aria-modal": "true", "aria-label": "Keys", onkeydown: (event) => keepIn(event, shut) },
    make("h2", {}, "Keys"), make("table", {}, make("tbody", {}, rows)), shut);
  show(overlay, make("div", { class: "veil", onclick: (event) => event.target === event.currentTarget && close() }, box));
  shut.focus();
}

function keepIn(event, only) {
  if (event.key === "Tab") {
    event.preventDefault();
    only.focus();
  }
}

function back() {
  if (overlay.childElementCount) {
    overlay.querySelector("button").click();
    return true;
  }
  return view.back();
}
