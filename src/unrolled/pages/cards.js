// The neurons that were found: one card each, with the numbers in words, a histogram, passages and its birth.
//
// Knows nothing about the model: everything here was measured before, and comes with the page.

import { characterSign } from "./display.js";
import { badge, brief, byId, el, fixed, listOf, refill, score, svg, unitButton, whole } from "./dom.js";
import { coloured } from "./heat.js";
import { kindOf } from "./head.js";
import { histogram, tenths } from "./plots.js";
import { chosenOf } from "./view.js";

const FIRST = 12; // cards that are shown until one asks for all

const isYesNo = (card) => card.kind === "yes-no";

/** What a score is called. */
export const scoreName = (card) => (isYesNo(card) ? "AUC" : "rank correlation");

/** Why a unit is not reported. */
export const reasons = (one) => listOf(one.against).join("; ") || "too weak";

/** The scores to compare with, each as a bar from chance to perfect. */
function comparison(card) {
  const chance = isYesNo(card) ? 0.5 : 0;
  const rows = [
    ["this unit", card.score, "own"],
    ["a trained probe over the whole layer", card.probe_score, ""],
    ["the current character alone", card.character_score, ""],
    ["the best unit of untrained copies", card.untrained_score, ""],
  ].filter(([, value]) => typeof value === "number");
  const bar = ([name, value, own]) =>
    el("div", { class: `bar ${own}` }, el("dt", {}, name), el("dd", {},
      el("progress", { max: 1, value: Math.max(0, (value - chance) / (1 - chance)), "aria-hidden": "true" }),
      el("b", {}, score(value))));
  return el("dl", { class: "bars" }, ...rows.map(bar));
}

function numbers(card) {
  const [low, high] = listOf(card.interval);
  const chance = card.p < 0.001 ? "p < 0.001" : `p = ${fixed(card.p, 3)}`;
  const family = typeof card.p === "number" ? ` · ${chance}, counting everything that was tried` : "";
  return el("p", { class: "numbers" }, `${scoreName(card)} ${score(card.score)}`,
    el("small", {}, ` 95 % interval ${score(low)} to ${score(high)}${family}`));
}

/** What holding it still said, in two words each; that it was not tried is said, too. */
function verdicts({ ablation: held, clamp: steered }) {
  if (!held && !steered) return [badge(false, "not put to the test")];
  const used = held?.used && !held.proved;
  return [
    held ? badge(held.proved || used, held.proved ? "it matters" : used ? "used, for more than this" : "not proved")
      : badge(false, "its absence was not tried"),
    steered ? badge(steered.changed, steered.changed ? "it steers" : "no clear effect on what is written")
      : badge(false, "steering was not tried"),
  ];
}

function ablation({ ablation: told }) {
  if (!told) return null;
  const [low, high] = listOf(told.matters_interval);
  const [least, most] = listOf(told.random_matters_interval);
  return el("p", {},
    `Held at its mean, it costs ${fixed(told.matters, 3)} nats per character (${fixed(low, 3)} to ${fixed(high, 3)}) `,
    `where the feature is decided (${told.where}; ${whole(told.places)} places), and ${fixed(told.elsewhere, 3)} `,
    told.random_units
      ? `elsewhere. The same done to ${whole(told.random_units)} random units of its group costs at most `
        + `${fixed(told.random_matters, 3)} (${fixed(least, 3)} to ${fixed(most, 3)}) there.`
      : "elsewhere.");
}

function clamping({ clamp: told }) {
  if (!told) return null;
  return el("p", {},
    `Held at ${fixed(told.on_value)} while the network writes, it puts ${fixed(told.on, 1)} of `,
    el("kbd", {}, characterSign(String(told.mark))), " into a thousand characters; ",
    `held at ${fixed(told.off_value)}, ${fixed(told.off, 1)}; left alone, ${fixed(told.untouched, 1)} `,
    `(${whole(told.samples)} passages of ${whole(told.length)} characters).`);
}

function drawn(card) {
  const told = card.histogram;
  if (!told) return null;
  const name = brief(card);
  if (Array.isArray(told.on)) {
    const names = { on: name, off: `not ${name}` };
    return el("figure", {}, histogram(told, names), el("figcaption", {}, el("i", { class: "on" }), names.on, " ",
      el("i", { class: "off" }), "elsewhere"));
  }
  if (!Array.isArray(told.bins)) return null;
  return el("figure", {}, tenths(told, name), el("figcaption", {}, `The unit's mean as the number grows: ${name}`));
}

function passages(list) {
  return listOf(list).map((one) => el("blockquote", {}, coloured(String(one.text), listOf(one.values))));
}

function birth(card, openTraining) {
  const points = listOf(card.birth).filter((one) => typeof one.score === "number");
  if (points.length < 2) return null;
  const [width, height, chance] = [150, 34, isYesNo(card) ? 0.5 : 0];
  const last = Math.log1p(points.at(-1).step || 1);
  const place = ({ step, score: value }) =>
    `${(width * Math.log1p(step)) / last},${3 + (height - 6) * (1 - Math.max(0, value - chance) / (1 - chance))}`;
  const name = "Its score as the network learned";
  const line = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot spark", role: "img", "aria-label": name },
    svg("polyline", { points: points.map(place).join(" "), class: "line k0" }));
  const [first, now] = [points[0], points.at(-1)].map((one) => score(one.score));
  return el("p", { class: "birth" }, line, el("span", {}, `Its score went from ${first} to ${now} in training. `,
    el("button", { type: "button", class: "link", onclick: openTraining }, "See when")));
}

/** What the unit does: the sentence up to its numbers, which stand below. */
const claim = (card) =>
  String(card.sentence || `${card.unit}: ${card.description}`).replace(/: (AUC|rank correlation) \d.*$/s, ".");

function oneCard(card, { show, hold, openTraining }) {
  const [clear, counter] = [passages(card.strongest), passages(card.counter)];
  return el("article", { class: "card", "data-unit": card.unit, onclick: (event) => {
    if (!event.target.closest("button, summary, details")) show(card.unit, false, card.feature);
  }, tabindex: -1 },
    el("h3", {}, claim(card)),
    numbers(card), el("p", { class: "verdicts" }, ...verdicts(card)),
    el("p", { class: "actions" },
      el("button", { type: "button", onclick: () => show(card.unit, true, card.feature) },
        "Colour the text by ", el("code", {}, card.unit)),
      el("button", { type: "button", onclick: () => hold(card) }, "Hold it while writing")),
    el("details", { class: "evidence" }, el("summary", {}, "The evidence"),
      el("div", { class: "columns" }, comparison(card), drawn(card)),
      ablation(card), clamping(card),
      clear.length ? el("h4", {}, "Where it is clearest") : null, el("div", { class: "passages" }, ...clear),
      counter.length
        ? el("details", {}, el("summary", {}, "Where it is wrong"), el("div", { class: "passages" }, ...counter))
        : null,
      birth(card, openTraining)));
}

/** What might have a unit that holds up. */
const mayHave = {
  trained: "A network that was trained longer, on more text, or with more units may have one; so may a text that "
    + "contains more of what the features ask for.",
  untrained: "A network that is trained may have one.",
  compiled: "The machine may have another way to know these things, or features of its own (--features) may find it.",
};

/** Show the cards, or say that nothing was found; the chosen unit's card is marked, and its evidence unfolded. */
export function showCards(data, view, actions) {
  const cards = listOf(data.cards);
  const box = byId("cards");
  byId("neurons-lead").hidden = cards.length === 0;
  if (cards.length === 0) {
    const best = listOf(data.features).filter((one) => typeof one.score === "number").slice(0, 3);
    refill(box, el("div", { class: "card none" },
      el("h3", {}, data.none || "No unit passed every test."),
      el("p", {}, "That is an answer, too. ", mayHave[kindOf(data)], best.length ? " What came nearest:" : null),
      el("ul", {}, ...best.map((one) => el("li", {},
        unitButton(one.unit, () => actions.show(one.unit, true)),
        ` ${brief(one)}: ${scoreName(one)} ${score(one.score)}. Not reported: ${reasons(one)}.`)))));
    return;
  }
  const nodes = cards.map((card) => oneCard(card, actions));
  refill(box, ...nodes);
  const more = byId("more-cards");
  let all = false;
  const fold = (whether) => {
    all = whether;
    nodes.forEach((node, at) => (node.hidden = !all && at >= FIRST));
    more.hidden = nodes.length <= FIRST;
    more.textContent = all ? `Show only the first ${FIRST}` : `Show all ${nodes.length}`;
    more.setAttribute("aria-expanded", String(all));
  };
  more.addEventListener("click", () => {
    fold(!all);
    const next = nodes[all ? FIRST : FIRST - 1]; // go on reading where the list was cut
    next.focus({ preventScroll: all });
  });
  fold(false);
  view.listen(["unit", "feature"], () => {
    const chosen = cards.indexOf(chosenOf(cards, view));
    nodes.forEach((node, at) => {
      node.classList.toggle("chosen", at === chosen);
      node.toggleAttribute("aria-current", at === chosen);
    });
    if (chosen < 0) return;
    if (chosen >= FIRST && !all) fold(true);
    nodes[chosen].querySelector(".evidence").open = true;
  });
}

