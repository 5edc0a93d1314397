// Small drawings in SVG: histograms, curves over training, saturation.
//
// Knows nothing about models. Colours are classes of page.css; every drawing has a label for those who cannot see it.

import { el, fill, fixed, listOf, svg } from "./dom.js";

const drawing = (width, height, label, attributes = {}) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img", "aria-label": label, ...attributes });

const label = (x, y, text, anchor = "start") => svg("text", { x, y, "text-anchor": anchor }, text);
const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });

/** Shares of a unit's values where the feature is on (orange) and off (blue). */
export function histogram({ low, high, on, off }, names) {
  const [width, height, base] = [320, 104, 84];
  const shares = (counts) => {
    const total = listOf(counts).reduce((sum, count) => sum + count, 0) || 1;
    return listOf(counts).map((count) => count / total);
  };
  const [ons, offs] = [shares(on), shares(off)];
  const tallest = Math.max(...ons, ...offs, 1e-9);
  const bars = (values, name) =>
    values.map((share, bin) => {
      const tall = share ? Math.max(1, ((base - 6) * share) / tallest) : 0;
      const wide = width / values.length;
      return svg("rect", { x: bin * wide, y: base - tall, width: Math.max(1, wide - 1), height: tall, class: name });
    });
  return fill(drawing(width, height, `Histogram of the unit: ${names.on} against ${names.off}`),
    ...bars(offs, "off"), ...bars(ons, "on"), line(0, base, width, base, "axis"),
    label(0, height - 4, fixed(low)), label(width, height - 4, fixed(high), "end"),
  );
}

/** The mean of a unit in each tenth of a number's range, and the middle half of its values there. */
export function tenths({ bins, quartiles, labels }, name) {
  const [width, height, base] = [320, 104, 84];
  const means = listOf(bins);
  const halves = means.map((_, at) => listOf(listOf(quartiles)[at]));
  const all = [...means, ...halves.flat()].filter(Number.isFinite);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const y = (value) => 8 + (base - 14) * (1 - (value - low) / (high - low || 1));
  const x = (at) => ((at + 0.5) * width) / means.length;
  const spread = halves.map(([from, to], at) =>
    Number.isFinite(from) && Number.isFinite(to) ? line(x(at), y(from), x(at), y(to), "spread") : null);
  const ends = [listOf(listOf(labels)[0])[0], listOf(listOf(labels).at(-1))[1]];
  const [first, last] = ends.every(Number.isFinite) ? ends.map((end) => fixed(end, 0)) : ["smallest", "largest"];
  return fill(drawing(width, height, `The unit's mean as the number grows: ${name}`),
    line(0, base, width, base, "axis"), ...spread,
    svg("polyline", { points: means.map((mean, at) => `${x(at)},${y(mean)}`).join(" "), class: "line k0" }),
    ...means.map((mean, at) => svg("circle", { cx: x(at), cy: y(mean), r: 3.5, class: "on" })),
    label(0, height - 4, first), label(width, height - 4, last, "end"),
  );
}

/**
 * Curves over the steps of training on a logarithmic axis. `curves`: [{ name, points: [[step, value]] }]; `low` and
 * `high` bound the values. Returns { node, mark(step) }: `mark` moves a line to a step.
 */
export function curves(list, { low, high, last, name, unit = "" }) {
  const [width, height, left, base] = [560, 190, 44, 160];
  const x = (step) => left + ((width - left - 12) * Math.log1p(step)) / Math.log1p(Math.max(1, last));
  const y = (value) => 10 + (base - 10) * (1 - (value - low) / (high - low || 1));
  const ticks = [low, (low + high) / 2, high].map((value) => [
    line(left, y(value), width - 12, y(value), "grid"),
    label(left - 6, y(value) + 4, fixed(value, high - low < 5 ? 2 : 0), "end"),
  ]);
  const steps = [0, ...[1, 10, 100, 1000, 10000, 100000, 1000000].filter((step) => step < last / 1.6), last];
  const lines = list.map(({ points }, at) => {
    const seen = points.filter(([, value]) => Number.isFinite(value));
    const places = seen.map(([step, value]) => `${x(step)},${y(value)}`).join(" ");
    return [
      svg("polyline", { points: places, class: `line k${at % 6}` }),
      ...seen.map(([step, value]) => svg("circle", { cx: x(step), cy: y(value), r: 2.6, class: `dot k${at % 6}` })),
    ];
  });
  const cursor = line(left, 4, left, base + 4, "cursor");
  const node = fill(drawing(width, height, `${name} over the steps of training`, { class: "plot curves" }),
    ...ticks.flat(), ...steps.map((step) => label(x(step), height - 12, step.toLocaleString("en"), "middle")),
    label(width - 12, height - 0.5, "step", "end"), unit ? label(left + 4, 9, unit) : null, ...lines.flat(), cursor,
  );
  const mark = (step) => {
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
  };
  return { node, mark };
}

/** What the colours of `curves` stand for. */
export const key = (names) =>
  el("ul", { class: "key" }, ...names.map((name, at) => el("li", {}, el("i", { class: `k${at % 6}` }), name)));

/**
 * Each unit of a gate as a point: how often it is nearly closed (below 0.1, to the right) and nearly open (above 0.9,
 * upwards). Keyboard: left and right go through the units, Enter chooses. `choose(index)`, `tell(index)`.
 */
export function scatter(group, left, right, { choose, tell }) {
  const [size, from, to] = [220, 30, 210];
  const at = (share) => from + (to - from) * share;
  const down = (share) => size - at(share);
  const points = left.map((share, index) =>
    svg("circle", { cx: at(share), cy: down(right[index] ?? 0), r: 3.2, class: "unit", "data-index": index }));
  const ring = svg("circle", { r: 6.5, class: "ring", visibility: "hidden" });
  const upwards = label(14, size - to, "above 0.9 →", "end");
  upwards.setAttribute("transform", `rotate(-90 14 ${size - to})`);
  let current = -1;
  const show = (index) => {
    current = index;
    ring.setAttribute("visibility", "visible");
    ring.setAttribute("cx", at(left[index]));
    ring.setAttribute("cy", down(right[index] ?? 0));
    tell(index);
  };
  const indexOf = (event) => Number(event.target.getAttribute?.("data-index") ?? NaN);
  const node = drawing(size, size, `${group}: share of time nearly closed and nearly open, a point for each unit`, {
    tabindex: 0,
    role: "application",
    class: "plot scatter",
    onkeydown(event) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) show((Math.max(0, current + step) + left.length) % left.length);
      else if (event.key === "Enter" && current >= 0) choose(current);
      else return;
      event.preventDefault();
    },
    onpointermove: (event) => indexOf(event) >= 0 && show(indexOf(event)),
    onclick: (event) => indexOf(event) >= 0 && choose(indexOf(event)),
  });
  fill(node,
    line(from, down(0), to, down(0), "axis"), line(from, down(0), from, down(1), "axis"),
    line(from, down(1), to, down(0), "grid"), label(to, size - 6, "below 0.1 →", "end"), upwards, ring, ...points,
  );
  return { node, show };
}
