// Words: recorded ones isolated and shortened, numbers to a few digits.

const SHORT = 900;
const LINES = 14;

// Control characters as their pictures: NUL and escape sequences are seen, and do nothing.
function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (c) =>
    c === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + c.charCodeAt(0)),
  );
}

function shorten(text, longest) {
  const all = Array.from(text.slice(0, longest * 2));
  const line = visible(text.length > longest ? all.slice(0, longest - 1).join("") + "…" : text);
  return line.replace(/[\r\n\t]+/g, " ");
}

// A recorded text on one line; its direction is its own and ends with it.
function recorded(text, properties = {}) {
  return make("bdi", { dir: "auto", ...properties }, visible(text || ""));
}

function count(n) {
  return n.toLocaleString("en");
}

function plural(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}

function number(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const text = Math.abs(value) >= 1e6 ? value.toPrecision(3) : value.toFixed(digits);
  return text.replace(/^-(?=[0.]*$)/, "").replace("-", "−");
}

// As short as it can be said: for the ticks of an axis.
function plain(value) {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

function signed(value, digits = 2) {
  if (value === null || value === undefined) return "";
  const text = number(value, digits);
  return /[1-9]/.test(text) && value > 0 ? `+${text}` : text;
}

function moment(iso) {
  return iso.replace("T", " ").replace("+00:00", " UTC");
}

function percent(value) {
  return value === null || value === undefined ? "–" : `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
}

function span(low, high, say = number) {
  return low === null || low === undefined ? "" : `${say(low)} to ${say(high)}`;
}

// A recorded text over lines: its beginning, and a button for the rest.
function passage(cut, properties = {}) {
  const [text, leftOut] = Array.isArray(cut) ? cut : [cut || "", 0];
  if (!text) return null;
  const brief = beginning(text);
  const body = make("pre", { class: "passage", dir: "auto", ...properties }, visible(brief));
  const rest = leftOut ? make("p", { class: "quiet" }, `${plural(leftOut, "more character")}: see the store`) : null;
  if (brief.length === text.length) return make("div", {}, body, rest);
  const toggle = button(`show all ${count(text.length)} characters`, () => {
    body.textContent = visible(text);
    toggle.replaceWith(rest || "");
    body.tabIndex = -1;
    body.focus();
  }, { class: "link" });
  return make("div", {}, body, toggle);
}

function beginning(text) {
  if (text.length <= SHORT && text.split("\n", LINES + 1).length <= LINES) return text;
  const some = text.slice(0, SHORT).split("\n").slice(0, LINES).join("\n");
  const whole = /[\ud800-\udbff]$/.test(some) ? some.slice(0, -1) : some;
  return text.length - whole.length < 80 && text.split("\n").length <= LINES + 2 ? text : whole;
}
