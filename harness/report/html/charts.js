"use strict";
// A function for each kind of figure: from its values and a width to elements.

function labelWidth(labels, width) {
  return Math.min(Math.max(...labels.map(widthOf), 30) + 10, width * 0.38);
}

function valueAxis(svg, left, right, bottom, most, unit) {
  const about = Math.max(2, Math.min(6, Math.floor((right - left) / 110)));
  for (const value of ticks(most, unit, about)) {
    const x = left + (right - left) * (most ? value / most : 0);
    svg.append(shape("line", { x1: x, x2: x, y1: 0, y2: bottom, class: "axis" }));
    svg.append(shape("text", { x, y: bottom + 15, "text-anchor": "middle" }, format(value, unit)));
  }
}

function bars(figure, width) {
  const row = 24, height = figure.labels.length * row;
  const sums = figure.labels.map((_, at) =>
    figure.series.reduce((sum, each) => sum + (each.values[at] || 0), 0));
  const most = Math.max(...sums, 0);
  const left = labelWidth(figure.labels, width), room = 64, right = width - room;
  const svg = canvas(width, height + 22, figure.title);
  valueAxis(svg, left, right, height, most, figure.unit);
  figure.labels.forEach((label, at) => {
    const y = at * row;
    const name = shape("text", { x: left - 8, y: y + 16, "text-anchor": "end", class: "label" }, cut(label, left - 8));
    svg.append(tipped(name, label));
    let from = left;
    figure.series.forEach((each, place) => {
      const value = each.values[at] || 0;
      const wide = most ? (right - left) * value / most : 0;
      if (!wide) return;
      const part = figure.series.length > 1 ? ` (${(100 * value / sums[at]).toFixed(1)}%)` : "";
      const bar = shape("rect", { x: from, y: y + 4, width: wide, height: row - 8, rx: 1.5 });
      bar.style.fill = colour(each.name, place);
      svg.append(tipped(bar, `${label}\n${each.name}: ${format(value, figure.unit)}${part}`));
      from += wide;
    });
    svg.append(shape("text", { x: from + 5, y: y + 16 }, format(sums[at], figure.unit)));
  });
  const parts = figure.series.length > 1 ? [legend(figure.series.map((each) => each.name))] : [];
  return [...parts, svg, valuesOf(["", ...figure.series.map((each) => each.name)], () =>
    figure.labels.map((label, at) =>
      [label, ...figure.series.map((each) => format(each.values[at], figure.unit))]))];
}

function ranges(figure, width) {
  const row = 16 * figure.series.length + 12, height = figure.labels.length * row;
  const all = figure.series.flatMap((each) => each.values.filter((one) => one !== null));
  const most = Math.max(...all.map((one) => one.high), 0);
  const left = labelWidth(figure.labels, width), right = width - 64;
  const svg = canvas(width, height + 22, figure.title);
  valueAxis(svg, left, right, height, most, figure.unit);
  const place = (value) => left + (right - left) * (most ? value / most : 0);
  figure.labels.forEach((label, at) => {
    const name = shape("text", { x: left - 8, y: at * row + row / 2 + 4, "text-anchor": "end", class: "label" }, cut(label, left - 8));
    svg.append(tipped(name, label));
    figure.series.forEach((each, number) => {
      const value = each.values[at];
      if (value === null) return;
      const y = at * row + 14 + number * 16;
      const group = shape("g");
      const line = shape("line", { x1: place(value.low), x2: place(value.high), y1: y, y2: y, "stroke-width": 4, "stroke-linecap": "round", "stroke-opacity": 0.45 });
      const dot = shape("circle", { cx: place(value.middle), cy: y, r: 5 });
      line.style.stroke = dot.style.fill = colour(each.name, number);
      group.append(line, dot);
      svg.append(tipped(group, `${label}\n${each.name}: ${format(value.middle, figure.unit)}, from ${format(value.low, figure.unit)} to ${format(value.high, figure.unit)}`));
    });
  });
  return [legend(figure.series.map((each) => each.name)), svg, valuesOf(
    ["", ...figure.series.flatMap((each) => [each.name, "least", "greatest"])], () =>
      figure.labels.map((label, at) => [label, ...figure.series.flatMap((each) => {
        const one = each.values[at] || {};
        return [one.middle, one.low, one.high].map((value) => format(value, figure.unit));
      })]))];
}

function plot(figure, width) {
  const height = 220, left = 62, right = width - 14, bottom = height - 36, top = 8;
  const svg = canvas(width, height, figure.title);
  const xs = figure.series.flatMap((each) => each.x), ys = figure.series.flatMap((each) => each.y);
  const log = figure.is_logarithmic;
  const least = (values) => (log ? 10 ** Math.floor(Math.log10(Math.min(...values))) : 0);
  const power = (values) => Math.max(Math.ceil(Math.log10(Math.max(...values)) - 1e-9), Math.floor(Math.log10(Math.min(...values))) + 1);
  const most = (values) => (log ? 10 ** power(values) : Math.max(...values, 0));
  const scale = (value, low, high) => (log
    ? (Math.log10(value) - Math.log10(low)) / (Math.log10(high) - Math.log10(low) || 1)
    : (value - low) / (high - low || 1));
  const x0 = least(xs), x1 = most(xs) * (figure.x_unit === "identifier" ? 1 : 1), y0 = least(ys), y1 = most(ys);
  const px = (value) => left + (right - left) * scale(value, x0, x1);
  const py = (value) => bottom - (bottom - top) * scale(value, y0, y1);
  const powers = (low, high) => {
    const found = [];
    for (let value = low; value <= high * 1.0001; value *= 10) found.push(value);
    return found;
  };
  for (const value of log ? powers(y0, y1) : ticks(y1, figure.y_unit, 4)) {
    svg.append(shape("line", { x1: left, x2: right, y1: py(value), y2: py(value), class: "axis" }));
    svg.append(shape("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, format(value, figure.y_unit)));
  }
  for (const value of log ? powers(x0, x1) : ticks(x1, figure.x_unit, Math.max(2, Math.floor(width / 120)))) {
    if (figure.x_unit === "identifier" && value === 0) continue;
    svg.append(shape("text", { x: px(value), y: bottom + 15, "text-anchor": "middle" }, format(value, figure.x_unit)));
  }
  svg.append(shape("text", { x: right, y: height - 4, "text-anchor": "end" }, figure.x_title));
  if (figure.y_title) svg.append(shape("text", { x: left + 4, y: top + 8 }, figure.y_title));
  figure.series.forEach((each, number) => {
    const told = (at) => `${(each.labels && each.labels[at]) || each.name}\n${format(each.x[at], figure.x_unit)}: ${format(each.y[at], figure.y_unit)}`;
    const plain = (at) => `${each.name}, ${(each.labels && each.labels[at]) || ""}\n${format(each.y[at], figure.y_unit)}`;
    if (figure.style === "stairs") {
      let path = "";
      each.x.forEach((x, at) => { path += at ? `H${px(x).toFixed(1)}V${py(each.y[at]).toFixed(1)}` : `M${px(x).toFixed(1)} ${py(each.y[at]).toFixed(1)}`; });
      const line = shape("path", { d: path + `H${right}`, fill: "none", "stroke-width": 1.6 });
      line.style.stroke = colour(each.name, number);
      svg.append(line);
      return;
    }
    if (each.is_line) {
      const at = each.x.map((x, place) => `${px(x).toFixed(1)} ${py(each.y[place]).toFixed(1)}`);
      const line = shape("path", { d: `M${at.join("L")}`, fill: "none", "stroke-width": 1.6 });
      line.style.stroke = colour(each.name, number);
      svg.append(tipped(line, each.name));
      return;
    }
    each.x.forEach((x, at) => {
      const dot = shape("circle", { cx: px(x), cy: py(each.y[at]), r: 4.5, "fill-opacity": 0.85 });
      dot.style.fill = colour(each.name, number);
      svg.append(tipped(dot, log ? told(at) : plain(at)));
    });
  });
  if (figure.style === "stairs") followed(svg, figure, px, left, right, top, bottom, width);
  return [legend(figure.series.map((each) => each.name)), svg, valuesOf(
    ["", figure.x_title, figure.y_title || "value"], () => figure.series.flatMap((each) => each.x.map((x, at) =>
      [(each.labels && each.labels[at]) || each.name, format(x, figure.x_unit), format(each.y[at], figure.y_unit)])))];
}

// Shows the values at the pointer of lines that keep their value until the next point.
function followed(svg, figure, px, left, right, top, bottom, width) {
  const line = shape("line", { y1: top, y2: bottom, class: "axis", visibility: "hidden" });
  svg.append(line);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) * width / box.width;
    if (at < left || at > right) return;
    line.setAttribute("x1", at); line.setAttribute("x2", at); line.setAttribute("visibility", "visible");
    const texts = figure.series.map((each) => {
      const place = each.x.findLastIndex((x) => px(x) <= at);
      return `${each.name}: ${place < 0 ? "–" : format(each.y[place], figure.y_unit)}`;
    });
    tip.textContent = texts.join("\n");
    tip.hidden = false;
    tip.style.left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 6) + "px";
    tip.style.top = event.clientY + 16 + "px";
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; line.setAttribute("visibility", "hidden"); });
}

function lanes(figure, width) {
  const row = 22, top = 18, names = figure.lanes.map((lane) => lane.name);
  const left = labelWidth(names, width), right = width - 4, bottom = top + names.length * row;
  const edges = figure.edges_ns, span = edges[edges.length - 1] || 1;
  const svg = canvas(width, bottom + 20, figure.title);
  const px = (time) => left + (right - left) * time / span;
  figure.marks.forEach((mark, at) => {
    const wide = px(mark.end_ns) - px(mark.start_ns);
    const box = shape("rect", { x: px(mark.start_ns), y: 0, width: Math.max(wide, 0.5), height: bottom, "fill-opacity": at % 2 ? 0.05 : 0.11 });
    box.style.fill = "var(--accent)";
    svg.append(tipped(box, `${mark.name}: ${format(mark.end_ns - mark.start_ns, "ns")}`));
    if (wide > widthOf(mark.name)) svg.append(shape("text", { x: px(mark.start_ns) + 3, y: 12 }, mark.name));
  });
  figure.lanes.forEach((lane, at) => {
    const y = top + at * row;
    svg.append(tipped(shape("text", { x: left - 8, y: y + 15, "text-anchor": "end", class: "label" }, cut(lane.name, left - 8)), lane.name));
    svg.append(shape("line", { x1: left, x2: right, y1: y + row - 2, y2: y + row - 2, class: "axis" }));
    lane.busy_ns.forEach((busy, bin) => {
      if (!busy) return;
      const from = edges[bin], until = edges[bin + 1], part = busy / (until - from);
      const cell = shape("rect", { x: px(from), y: y + 2, width: Math.max(px(until) - px(from), 0.4), height: row - 4, "fill-opacity": 0.12 + 0.88 * part });
      cell.style.fill = "var(--s0)";
      svg.append(tipped(cell, `${lane.name}\n${format(from, "ns")} to ${format(until, "ns")}: busy ${(100 * part).toFixed(1)}%`));
    });
  });
  const about = Math.max(2, Math.floor((right - left) / 110));
  for (const value of ticks(span, "ns", about))
    svg.append(shape("text", { x: px(value), y: bottom + 15, "text-anchor": "middle" }, format(value, "ns")));
  return [svg, valuesOf(["lane", "busy", "of the time shown"], () => figure.lanes.map((lane) => {
    const busy = lane.busy_ns.reduce((sum, each) => sum + each, 0);
    return [lane.name, format(busy, "ns"), format(busy / span, "share")];
  }))];
}

function heat(figure, width) {
  const row = 22, top = 70, left = labelWidth(figure.rows, width);
  const wide = Math.min(64, (width - left) / figure.columns.length);
  const svg = canvas(width, top + figure.rows.length * row + 4, figure.title);
  figure.columns.forEach((name, at) => {
    const x = left + at * wide + wide / 2 + 4;
    svg.append(shape("text", { x, y: top - 6, transform: `rotate(-48 ${x} ${top - 6})` }, name));
  });
  figure.rows.forEach((name, at) => {
    const y = top + at * row;
    svg.append(tipped(shape("text", { x: left - 8, y: y + 15, "text-anchor": "end", class: "label" }, cut(name, left - 8)), name));
    figure.values[at].forEach((value, place) => {
      const cell = shape("rect", { x: left + place * wide + 1, y: y + 1, width: wide - 2, height: row - 2, rx: 2 });
      cell.style.fill = value === null ? "none" : "var(--s0)";
      cell.style.stroke = "var(--line)";
      if (value !== null) cell.setAttribute("fill-opacity", Math.min(1, value));
      svg.append(tipped(cell, `${name}\n${figure.columns[place]}: ${value === null ? "not measured" : format(value, "share")}`));
      if (value !== null && wide > 34) {
        const text = shape("text", { x: left + place * wide + wide / 2, y: y + 15, "text-anchor": "middle", "pointer-events": "none" }, Math.round(value * 100));
        text.style.fill = value > 0.55 ? "var(--card)" : "var(--ink)";
        svg.append(text);
      }
    });
  });
  return [svg, valuesOf(["", ...figure.columns], () => figure.rows.map((name, at) =>
    [name, ...figure.values[at].map((value) => format(value, "share"))]))];
}
