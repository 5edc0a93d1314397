// Inside the gates: how often each gate is nearly closed and nearly open, one point for each unit.
//
// Knows nothing about the model. The figure is that of Karpathy, Johnson and Fei-Fei (2015), section 4.2.

import { nameOf, parseUnit } from "./engine.js";
import { byId, el, listOf, percent, refill } from "./dom.js";
import { scatter } from "./plots.js";

const VISIBLE = 0.02; // a share that moves a point by its own size

/** The gates that a plot would show something of: one point alone, or all in one corner, say nothing. */
export function gatesOf(saturation) {
  return Object.entries(saturation ?? {}).filter(([, one]) =>
    listOf(one?.left).length > 1 && [...one.left, ...listOf(one.right)].some((share) => share > VISIBLE));
}

/** Draw a plot for each gate; hide the section when there is none to show. */
export function showGates(saturation, view, { show, units }) {
  const groups = gatesOf(saturation);
  byId("gates").hidden = groups.length === 0;
  if (groups.length === 0) return false;
  const plots = groups.map(([group, { left, right }]) => {
    const told = el("p", { class: "told soft", "aria-live": "polite" }, "Point, tap, or use the arrow keys.");
    const tell = (index) => {
      const share = `${percent(left[index])} of the time below 0.1, ${percent(listOf(right)[index])} above 0.9`;
      refill(told, el("code", {}, `[${index}]`), ` ${share}`);
    };
    const choose = (index) => show(nameOf(group, index, units), true);
    const plot = scatter(group, left, listOf(right), { choose, tell });
    return { group, plot, node: el("figure", {}, el("figcaption", {}, el("code", {}, group)), plot.node, told) };
  });
  refill(byId("gate-plots"), ...plots.map((one) => one.node));
  view.listen(["unit"], () => {
    const [chosen, index] = parseUnit(view.get("unit"), units);
    const own = plots.find((one) => one.group === chosen);
    if (own && index < saturation[chosen].left.length) own.plot.show(index);
  });
  return true;
}
