// How all this was measured: what was searched, what each number means, and every feature's best unit.
//
// Knows nothing about the model.

import { reasons } from "./cards.js";
import { isOwnText, kindOf } from "./head.js";
import { byId, described, el, listOf, refill, score, unitButton, whole } from "./dom.js";

function searched(data) {
  const { search } = data;
  const kept = kindOf(data) === "trained" ? " that the network was not trained on" : "";
  const which = isOwnText(data) ? kept : " of another text";
  if (!search || typeof search.characters !== "number") return null;
  return el("p", {},
    `${whole(search.units)} units were compared with every feature on ${whole(search.characters)} characters${which}: `
    + `chosen on ${whole(search.discovery)} of them, judged on `
    + `${whole(search.confirmation)} others, with a gap of ${whole(search.gap)} between. `
    + `${whole(search.shifts)} circular shifts say what chance would find; `
    + `${whole(search.untrained_copies)} untrained copies of the network say what needs no learning.`);
}

function row(one, show) {
  const verdict = one.holds ? "holds" : reasons(one);
  const scores = [one.score, one.probe_score, one.character_score, one.untrained_score];
  return el("tr", { class: one.holds ? "holds" : null },
    el("th", { scope: "row" }, described(one)),
    el("td", {}, one.unit ? unitButton(one.unit, () => show(one.unit, true, one.name)) : "–"),
    ...scores.map((value) => el("td", { class: "n" }, score(value))),
    el("td", {}, verdict));
}

/** Fill the section. */
export function showMethod(data, { show }) {
  const head = ["feature", "best unit", "score", "probe", "character", "untrained", "verdict"];
  const features = listOf(data.features);
  refill(byId("method-searched"), searched(data));
  refill(byId("method-table"),
    el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...features.map((one) => row(one, show))));
  byId("method-features").hidden = features.length === 0;
  const skipped = Object.entries(data.skipped ?? {});
  byId("method-skipped").hidden = skipped.length === 0;
  const items = skipped.map(([name, why]) => el("li", {}, el("b", {}, name), `: ${why}`));
  refill(byId("method-skipped-list"), ...items);
}
