// One turn: what was seen, planned, called and done, and what everybody thinks of it.

const STATUS = { error: "failed", rejected: "rejected, never run", pending: "no answer recorded" };

function part(name, ...content) {
  const some = content.flat().filter(Boolean);
  return some.length ? make("div", { class: `part ${name}` }, make("h4", {}, name), make("div", {}, some)) : null;
}

function pictures(images) {
  return images.map((image, i) => image.data
    ? make("img", { src: image.data, alt: `picture ${i + 1}, ${shorten(image.type, 40)}`, loading: "lazy" })
    : make("p", { class: "quiet" }, `picture ${i + 1}: ${shorten(image.type, 40)}, ${count(image.bytes)} bytes, not in this page`));
}

function callPart(call) {
  const [name] = Array.isArray(call.name) ? call.name : [call.name];
  const again = call.attempts > 1 ? `${call.attempts} attempts` : null;
  const note = [STATUS[call.status], again].filter(Boolean).join(", ");
  return make("div", { class: `call ${call.status}` },
    make("div", { class: "name" }, recorded(name, { class: "code" }), note && make("span", { class: "flag" }, icon("no"), note)),
    passage(call.asked, { class: "passage asked" }),
    call.said !== null && make("div", { class: "answer" }, make("span", { class: "quiet" }, "answered"), passage(call.said) || "nothing"));
}

function agentOf(turn) {
  try {
    const info = JSON.parse(Array.isArray(turn.info) ? "null" : turn.info || "null");
    return info && typeof info.agent === "string" ? info.agent : null;
  } catch {
    return null;
  }
}

function peopleSay(episode, step) {
  return judged(episode).filter((one) => one.step === step).map((one) => {
    const kind = verdict(one.value);
    const words = { yes: "right", no: "wrong", half: "neither right nor wrong" }[kind];
    return make("div", { class: `people ${kind}` }, icon(kind), make("strong", {}, `people: ${words} `),
      recorded(text(one.who), { class: "quiet" }), one.code && recorded(` ${text(one.code)}`), passage(one.said));
  });
}

function text(cut) {
  return Array.isArray(cut) ? cut[0] + "…" : cut;
}

function opinionsOf(episode, step) {
  const here = episode.opinions.filter((one) => one.values[step] !== null);
  const notes = here.some((one) => one.notes[step]);
  const rows = here.map((one) => make("tr", {},
    make("th", { scope: "row" }, recorded(one.label)), make("td", { class: "number" }, number(one.values[step], 3)),
    make("td", { class: "number" }, signed(changes(one.values).deltas[step], 3)), make("td", {}, one.unit),
    notes && make("td", {}, passage(one.notes[step]))));
  if (!rows.length) return null;
  const head = ["scorer", "score", "change", "unit", notes && "says"].filter(Boolean)
    .map((name) => make("th", { scope: "col", class: ["score", "change"].includes(name) && "number" }, name));
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
}

function detailsOf(episode, step) {
  const turn = episode.turns[step];
  const box = make("details", {}, make("summary", {}, "numbers and info"));
  box.addEventListener("toggle", () => {
    if (box.childElementCount > 1) return;
    const paid = turn.paid === turn.reward ? "" : `, paid to the learner ${number(turn.paid, 3)}`;
    box.append(make("p", {}, `reward of the world ${number(turn.reward, 3)}${paid}`));
    box.append(...[opinionsOf(episode, step), passage(turn.info, { class: "passage code" })].filter(Boolean));
  });
  return box;
}

function scoreOf(opinion, step, kind) {
  if (!opinion) return null;
  const delta = changes(opinion.values).deltas[step];
  return make("span", { class: `score ${kind}` }, make("i", { class: `swatch ${kind}`, "aria-hidden": "true" }),
    make("span", { class: "hidden" }, kind === "first" ? "score " : "second score "),
    make("b", {}, number(opinion.values[step])), delta === null || delta === undefined ? null : make("span", { class: "quiet" }, ` ${signed(delta)}`));
}

// An episode that went well was not sunk by the step that lost most.
function sankIt(episode) {
  return outcomeKind(episode.outcome) === "no" ? "The step that sank it" : "The step that lost most";
}

function turnCard(episode, step, first, second, choose) {
  const turn = episode.turns[step];
  const worst = first ? changes(first.values).worst : NOWHERE;
  const sank = worst.step === step;
  const who = agentOf(turn);
  return make("article", { class: "turn", tabindex: -1, "data-step": step, "data-sank": sank, onclick: () => choose(step, false) },
    make("header", {}, make("h3", {}, `Step ${step}`), who && recorded(who, { class: "agent" }),
      turn.reward ? make("span", { class: "quiet" }, `reward ${number(turn.reward)}`) : null,
      scoreOf(first, step, "first"), scoreOf(second, step, "second")),
    sank && make("p", { class: "verdict" }, icon("sank"), `${sankIt(episode)}: the score fell by ${number(-worst.delta)}.`),
    peopleSay(episode, step),
    part("saw", passage(turn.saw), pictures(turn.images)),
    part("planned", passage(turn.plan)),
    part("called", turn.calls.map(callPart)),
    part("did", passage(turn.did, { class: text(turn.did).length < 120 ? "passage deed" : "passage" })),
    detailsOf(episode, step));
}
