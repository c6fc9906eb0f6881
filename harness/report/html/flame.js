"use strict";
// The flame graph: buttons, so that a keyboard reaches each of them.

const FLAME_ROW = 20;

function flameState(figure) {
  const children = figure.frames.map(() => []);
  figure.frames.forEach(([, parent], at) => { if (parent >= 0) children[parent].push(at); });
  const own = figure.frames.map(([, , total], at) =>
    total - children[at].reduce((sum, child) => sum + figure.frames[child][2], 0));
  let zoom = 0;  // Frames that all have in common say nothing.
  while (children[zoom].length === 1 && own[zoom] === 0) zoom = children[zoom][0];
  return { children, own, zoom, here: zoom };
}

function flame(figure, width) {
  const state = figure.state || (figure.state = flameState(figure));
  const box = element("div", { class: "flame", role: "group", "aria-label": `${figure.title}: arrows move, Enter widens, Escape goes back` });
  const told = element("p", { class: "told", "aria-live": "polite" });
  const search = element("input", { type: "search", "aria-label": "Search the flame graph" });
  const count = element("output");
  const back = element("button", { type: "button" }, "Back to all");
  const draw = (focus) => drawFlame(figure, state, box, told, width, search.value, count, focus);
  search.addEventListener("input", () => draw(false));
  back.addEventListener("click", () => { state.zoom = state.here = 0; draw(false); });
  box.addEventListener("click", (event) => {
    const at = event.target.dataset.at;
    if (at === undefined) return;
    state.zoom = state.here = Number(at);
    draw(true);
  });
  box.addEventListener("keydown", (event) => {
    const next = flameMove(figure, state, event.key);
    if (next === null) return;
    event.preventDefault();
    if (next.zoom !== undefined) state.zoom = next.zoom;
    state.here = next.here;
    draw(true);
  });
  const tools = element("div", { class: "tools" }, element("label", {}, "Search ", search), count, back, flameLegend());
  draw(false);
  return [tools, box, told];
}

function flameLegend() {
  const box = element("span", { class: "legend" });
  for (const [name, text] of [["own", "your code"], ["module", "module"], ["library", "library"], ["operator", "operator"]]) {
    const sign = element("i");
    sign.style.background = `var(--${name})`;
    box.append(element("span", {}, sign, text));
  }
  return box;
}

// Where a key leads: up to the caller, down to the widest callee, left and right to its like.
function flameMove(figure, state, key) {
  const parent = figure.frames[state.here][1];
  const outside = state.here === state.zoom;
  if (key === "Escape" || key === "Backspace") {
    const above = Math.max(figure.frames[state.zoom][1], 0);
    return { zoom: above, here: above };
  }
  if (key === "Home") return { zoom: 0, here: 0 };
  if (key === "ArrowUp") {
    if (parent < 0) return null;
    return outside ? { zoom: parent, here: parent } : { here: parent };
  }
  if (key === "ArrowDown") return state.children[state.here].length ? { here: state.children[state.here][0] } : null;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    if (parent < 0 || outside) return null;
    const like = state.children[parent];
    const next = like[like.indexOf(state.here) + (key === "ArrowRight" ? 1 : -1)];
    return next === undefined ? null : { here: next };
  }
  return null;
}

function drawFlame(figure, state, box, told, width, words, count, focus) {
  box.replaceChildren();
  const all = figure.frames[0][2], whole = figure.frames[state.zoom][2];
  const placed = [];
  for (let at = state.zoom; at >= 0; at = figure.frames[at][1]) placed.unshift([at, 0, width]);
  const depthOfZoom = placed.length - 1;
  placed.forEach((each, depth) => each.push(depth));
  const waiting = [[state.zoom, 0, depthOfZoom]];
  while (waiting.length) {
    const [at, from, depth] = waiting.pop();
    let x = from;
    for (const child of state.children[at]) {
      const wide = width * figure.frames[child][2] / whole;
      if (wide >= 1.5 || child === state.here) {
        placed.push([child, x, wide, depth + 1]);
        waiting.push([child, x, depth + 1]);
      }
      x += wide;
    }
  }
  let found = 0, deepest = 0, focused = null;
  const wanted = words.toLowerCase();
  for (const [at, x, wide, depth] of placed) {
    const [name, , total, group] = figure.frames[at];
    const own = state.own[at] ? `, ${format(state.own[at], figure.unit)} of it itself` : "";
    const text = `${name}\n${format(total, figure.unit)}, ${(100 * total / all).toFixed(1)}% of all${own}`;
    const frame = element("button", { type: "button", tabindex: at === state.here ? "0" : "-1", "data-at": at, "aria-label": text });
    frame.style.cssText = `left:${x.toFixed(2)}px;top:${depth * FLAME_ROW}px;width:${Math.max(wide, 1).toFixed(2)}px;background:var(--${group})`;
    if (wide > 26) frame.textContent = name;
    if (depth < depthOfZoom) frame.classList.add("above");
    if (wanted && name.toLowerCase().includes(wanted)) { frame.classList.add("found"); found += 1; }
    frame.addEventListener("focus", () => { state.here = at; told.textContent = text.replace("\n", ": "); });
    deepest = Math.max(deepest, depth);
    if (at === state.here) focused = frame;
    box.append(tipped(frame, text));
  }
  box.style.height = (deepest + 1) * FLAME_ROW + "px";
  count.textContent = wanted ? `${found} frames` : "";
  if (focus && focused) focused.focus();
}
