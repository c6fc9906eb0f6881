"use strict";
// The page: its theme, its tables, its figures.

const DRAWN = { bars, ranges, plot, lanes, heat, flame };
const FIGURES = JSON.parse(document.getElementById("figures").textContent);

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  const button = document.getElementById("theme");
  button.textContent = name === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-pressed", String(name === "dark"));
  button.setAttribute("aria-label", name === "dark" ? "Use the light theme" : "Use the dark theme");
}

function themed() {
  setTheme(document.documentElement.dataset.theme);
  systemIsDark.addEventListener("change", (event) => { if (!chosenTheme) setTheme(event.matches ? "dark" : "light"); });
  document.getElementById("theme").addEventListener("click", () => {
    chosenTheme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    setTheme(chosenTheme);
    try { localStorage.setItem("harness-theme", chosenTheme); } catch { /* then it is chosen for this time */ }
  });
}

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
}

// Numbers begin with the largest, texts with the first; what is not there is always last.
function sort(table, column, header) {
  const before = header.getAttribute("aria-sort");
  const rows = [...table.tBodies[0].rows];
  const isNumber = rows.some((row) => row.cells[column].dataset.v !== undefined);
  const first = isNumber ? "descending" : "ascending";
  const order = before === first ? (isNumber ? "ascending" : "descending") : first;
  const sign = order === "ascending" ? 1 : -1;
  const keyed = rows.map((row) => [keyOf(row, column), row]);
  keyed.sort(([one], [other]) => {
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return sign * (typeof one === "number" ? one - other : one.localeCompare(other, "en"));
  });
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
}

function tabled(box) {
  const table = box.querySelector("table");
  const buttons = [...table.querySelectorAll("th button")];
  buttons.forEach((button, place) => {
    const header = button.parentElement;
    button.addEventListener("click", () => sort(table, header.cellIndex, header));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      buttons[(place + step + buttons.length) % buttons.length].focus();
    });
  });
  const search = box.querySelector("input");
  if (search) search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase() + [...row.cells].map((cell) => cell.title.toLowerCase()).join(" ");
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    box.querySelector("output").textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
  });
}

function drawAll() {
  for (const box of document.querySelectorAll("figure[data-figure]")) {
    const width = Math.floor(box.clientWidth);
    if (!width || Number(box.dataset.width) === width) continue;
    box.dataset.width = width;
    const caption = box.querySelector("figcaption");
    const figure = FIGURES[Number(box.dataset.figure)];
    box.replaceChildren(caption, ...DRAWN[figure.kind](figure, width));
  }
}

function followedContents() {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      for (const link of links.values()) link.classList.remove("here");
      links.get(entry.target.id).classList.add("here");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const part of document.querySelectorAll("main > section")) seen.observe(part);
}

themed();
document.querySelectorAll("div.table").forEach(tabled);
drawAll();
followedContents();
let drawing = 0;
addEventListener("resize", () => { clearTimeout(drawing); drawing = setTimeout(drawAll, 120); });
