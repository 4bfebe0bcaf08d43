// Elements, made and never parsed: whatever was recorded becomes text, and nothing else.

function make(tag, properties = {}, ...children) {
  return dress(document.createElement(tag), properties, children);
}

function dress(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function show(place, ...children) {
  place.replaceChildren(...children.flat().filter(Boolean));
  return place;
}

function button(text, action, properties = {}) {
  return make("button", { type: "button", onclick: action, ...properties }, text);
}

function choice(label, options, chosen, action) {
  const select = make("select", { "aria-label": label, onchange: (event) => action(event.target.value) });
  for (const [value, text] of options) {
    select.append(make("option", { value, selected: value === chosen, dir: "auto" }, shorten(text, 80)));
  }
  return make("label", { class: "choice" }, make("span", {}, label), select);
}

// Call `draw(width)` now and whenever the place changes its width.
function fitted(place, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now && now !== width) show(place, draw((width = now)));
  }).observe(place);
  return place;
}

function byId(id) {
  return document.getElementById(id);
}
