// Two ways to ask: by a word for what a unit might follow, and by marking a passage in the text.
//
// Knows nothing about the model: it asks a recording. What a marked passage gives is a look, not a finding.

import { reasons, scoreName } from "./cards.js";
import { badge, byId, described, el, inSlices, listOf, refill, score, unitButton, whole } from "./dom.js";
import { Comparison } from "./recording.js";

const SHOWN = 8;
const MARKED_UNITS = 10;
const byFinger = matchMedia("(hover: none) and (pointer: coarse)").matches;
const HOW_TO_MARK = byFinger
  ? "Mark a passage in the text: hold a finger on a word, then draw the ends of what it selects."
  : "Mark a passage in the text: with the mouse, or with Shift and the arrow keys.";

/** What a query finds among the features: every word must occur; findings first, then by score. */
function matching(features, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (one) => `${one.name} ${one.description} ${one.unit}`.toLowerCase().replaceAll("_", " ");
  return listOf(features)
    .filter((one) => words.every((word) => text(one).includes(word)))
    .sort((a, b) => Number(b.holds) - Number(a.holds) || strengthOf(b) - strengthOf(a));
}

const strengthOf = (one) => (one.kind === "yes-no" ? 2 * one.score - 1 : one.score) || 0;

/** The field "fires on ...". */
export function showSearch(data, { show }) {
  const [field, list] = [byId("fires-on"), byId("fires-on-results")];
  const row = (one) => el("li", {},
    el("span", {}, el("b", {}, described(one)), one.holds ? badge(true, "found") : null),
    el("span", { class: "soft" }, `${scoreName(one)} ${score(one.score)}`,
      one.holds ? "" : ` · not reported: ${reasons(one)}`),
    one.unit ? unitButton(one.unit, () => show(one.unit, true, one.name), "") : null);
  const update = () => {
    const found = matching(data.features, field.value);
    refill(list, ...found.slice(0, SHOWN).map(row));
    const more = found.length > SHOWN ? ` The first ${SHOWN} are shown.` : "";
    byId("fires-on-count").textContent = found.length
      ? `${whole(found.length)} of ${whole(listOf(data.features).length)} features.${more}`
      : "No feature is called that. Mark a passage instead, or write a feature: unrolled neurons --features.";
  };
  field.addEventListener("input", update);
  update();
}

/** The units that are on exactly in the marked passage of the reader. */
export class MarkedSearch {
  constructor(reader, { show, openSearch }) {
    Object.assign(this, { reader, show, openSearch });
    this.stop = () => {};
    reader.onMark = (marked) => this.look(marked);
    this.look(null);
  }

  look(marked) {
    this.stop();
    const { recording } = this.reader;
    const [start, end] = marked ?? [];
    this.tell([]);
    if (!marked) return this.say(HOW_TO_MARK);
    if (!recording || recording.done < recording.length) return this.say("The network still reads; wait a moment.");
    if (end > recording.length || end - start >= recording.length) return this.say("Mark less than the whole text.");
    const comparison = new Comparison(recording, start, end);
    this.say(`Asking ${whole(recording.units)} units about ${whole(end - start)} characters …`);
    this.stop = inSlices((deadline) => {
      const done = comparison.advance(deadline);
      if (done) this.finish(comparison.best(MARKED_UNITS), end - start, recording);
      return done;
    });
  }

  finish(best, length, recording) {
    this.say(`${whole(length)} characters marked. Of ${whole(recording.units)} units, these tell them best from `
      + "all other characters of this text. With so many units some always fit a few characters: "
      + "this is a look, not a proof.");
    this.tell(best);
  }

  say(text) {
    byId("marked-status").textContent = text;
  }

  tell(best) {
    const row = ({ unit, score: value, on }) => el("li", {},
      unitButton(unit, () => this.show(unit, false), ""),
      el("span", { class: "soft" }, `${on ? "high" : "low"} exactly there: AUC ${score(value)}`));
    refill(byId("marked-results"), ...best.map(row));
    const few = best.slice(0, 3).map(row);
    refill(byId("marked-few"), ...(few.length
      ? [el("h4", {}, "High or low exactly in what you marked"), el("ul", { class: "found" }, ...few),
          el("button", { type: "button", class: "link", onclick: this.openSearch }, "All ten, and what it means")]
      : []));
  }
}
