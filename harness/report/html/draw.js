"use strict";
// Units as in units.py, elements, and the tip that is shown at the pointer.
const SCALES = {
  ns: [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]],
  bytes: [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]],
  flops: [["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]],
};

function threeDigits(value) {
  if (Math.abs(value) >= 999.5) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

function format(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "share") return (value * 100).toFixed(1) + "%";
  if (unit === "ratio") return value.toFixed(2) + " ×";
  if (unit === "count") return value.toLocaleString("en");
  if (unit === "identifier" || typeof value === "string") return String(value);
  for (const [name, factor] of SCALES[unit] || [])
    if (Math.abs(value) >= factor) return threeDigits(value / factor) + " " + name;
  return SCALES[unit] && value === 0 ? "0" : threeDigits(value);
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== "") made.textContent = text;
  return made;
}

// A measure of text without layout: wide enough for the system's fonts at 12 px.
const widthOf = (text) => [...text].length * 6.7;

function cut(text, width) {
  const most = Math.max(1, Math.floor(width / 6.7));
  const letters = [...text];
  return letters.length <= most ? text : letters.slice(0, most - 1).join("") + "…";
}

const tip = element("div", { id: "tip", hidden: "" });
document.body.append(tip);

function tipped(node, text) {
  node.addEventListener("pointermove", (event) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 12, innerWidth - box.width - 6);
    const below = event.clientY + 16;
    const top = below + box.height > innerHeight ? event.clientY - box.height - 10 : below;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, top) + "px";
  });
  node.addEventListener("pointerleave", () => { tip.hidden = true; });
  return node;
}

function colour(name, place) {
  return /^idle$|^waiting$|^not known$/.test(name) ? "var(--idle)" : `var(--s${place % 8})`;
}

function legend(names) {
  const box = element("div", { class: "legend" });
  names.forEach((name, place) => {
    const sign = element("i");
    sign.style.background = colour(name, place);
    box.append(element("span", {}, sign, name));
  });
  return box;
}

// Round values that divide an axis from 0 to `most`; of binary units, round in that unit.
function ticks(most, unit, about) {
  if (!(most > 0)) return [0];
  let factor = 1;
  if (unit === "bytes") for (const [, each] of SCALES.bytes) if (most >= each) { factor = each; break; }
  const raw = most / factor / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw) * factor;
  const whole = unit === "identifier" ? Math.max(1, Math.round(step)) : step;
  const found = [];
  for (let value = 0; value <= most * 1.0001; value += whole) found.push(value);
  return found;
}

// The values behind a figure, for those who do not see it, and to copy.
function valuesOf(head, rows) {
  const body = element("tbody");
  const table = element("table", {}, element("thead", {}, element("tr", {},
    ...head.map((name) => element("th", { scope: "col" }, name)))), body);
  const box = element("details", {}, element("summary", {}, "Values"));
  box.addEventListener("toggle", () => {
    if (body.childElementCount) return;
    for (const row of rows()) body.append(element("tr", {}, ...row.map((each) => element("td", {}, each))));
    box.append(element("div", { class: "scroll", tabindex: "0" }, table));
  });
  return box;
}

function canvas(width, height, title) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
}
