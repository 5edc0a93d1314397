// Inside the gates: how often each gate is nearly closed and nearly open, one point for each unit.
//
// Knows nothing about the model. The figure is that of Karpathy, Johnson and Fei-Fei (2015), section 4.2.

import { nameOf, parseUnit } from "./engine.js";
import { byId, el, listOf, percent, refill } from "./dom.js";
import { scatter } from "./plots.js";

/** Draw a plot for each gate; hide the section when the model has none. */
export function showGates(saturation, view, { show, units }) {
  const groups = Object.entries(saturation ?? {}).filter(([, one]) => listOf(one?.left).length);
  byId("gates").hidden = groups.length === 0;
  if (groups.length === 0) return false;
  const plots = groups.map(([group, { left, right }]) => {
    const told = el("p", { class: "told soft", "aria-live": "polite" }, "Point, or use the arrow keys.");
    const tell = (index) => {
      const share = `${percent(left[index])} of the time below 0.1, ${percent(listOf(right)[index])} above 0.9`;
      refill(told, el("code", {}, `[${index}]`), ` ${share}`);
    };
    const plot = scatter(group, left, listOf(right), { choose: (index) => show(nameOf(group, index, units), true), tell });
    return { group, plot, node: el("figure", {}, el("figcaption", {}, el("code", {}, group)), plot.node, told) };
  });
  refill(byId("gate-plots"), ...plots.map((one) => one.node));
  view.listen(["unit"], () => {
    const [chosen, index] = parseUnit(view.get("unit"), units);
    for (const { group, plot } of plots) if (group === chosen) plot.show(index);
  });
  return true;
}
