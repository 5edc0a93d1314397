// What stands at the top: whose network this is, how it came to its weights, and which text the page shows.
//
// Knows nothing about the model. A network can be trained, left untrained, or compiled from a machine: what a page says
// of it must be true in each case.

import { visibleLine } from "./display.js";
import { byId, duration, el, fixed, listOf, refill, whole } from "./dom.js";

/** How the network came to its weights: "trained", "untrained" or "compiled". */
export function kindOf({ facts }) {
  const { kind, steps } = facts ?? {};
  return ["trained", "untrained", "compiled"].includes(kind) ? kind : steps === 0 ? "untrained" : "trained";
}

/** Whether the text of the page is a part of the network's own that was kept from training. */
export const isOwnText = (data) => /^the .*\bparts?\b/s.test(String(data.passage?.where ?? ""));

/** A text's name as it stands in a sentence. */
function textName(text) {
  if (typeof text !== "string" || text === "") return "a text";
  const builtin = /^builtin:(.*)$/s.exec(text)?.[1];
  const known = { manual: "Python's manual", python: "Python's own source" };
  return builtin && Object.hasOwn(known, builtin) ? known[builtin] : builtin ?? text;
}

const headlines = {
  trained: (weights, text) => `A network of ${weights} weights learned to write from ${text}.`,
  untrained: (weights) => `A network of ${weights} weights that nothing was taught.`,
  compiled: (weights) => `A machine, compiled into a network of ${weights} weights.`,
};

/** Where the text comes from. */
function whereFrom(data) {
  const where = visibleLine(data.passage?.where);
  const kind = kindOf(data);
  if (!where) return "";
  if (kind === "compiled") {
    return isOwnText(data) ? "These are lines of the machine's own work, written by the machine itself. "
      : "This is another text than the lines of the machine's own work. ";
  }
  const own = kind === "trained" ? "the network was trained on" : "came with the network";
  if (!isOwnText(data)) return `This is from another text than the one that ${own}. `;
  return kind === "trained" ? `This is from ${where}. The network was not trained on it. `
    : `This is from ${where}. The network was not trained. `;
}

const leads = {
  trained: "Nobody told the network to.",
  untrained: "The network was not trained.",
  compiled: "It was compiled to; the search did not know that, and looked only at what the units do.",
};

/** What was done with the cards: judged all, put to the test all, some or none. */
function neuronsLead(data) {
  const cards = listOf(data.cards);
  const tried = cards.filter((card) => card.ablation || card.clamp).length;
  const told = `Each of these units does something that can be said in a sentence. ${leads[kindOf(data)]} `
    + "Each was chosen on one part of the text and judged on another.";
  if (tried === 0) return `${told} None of them was put to the test: what happens when it is held still was not tried.`;
  const which = tried === cards.length ? "Then each was put" : `Then ${tried} of the ${cards.length} were put`;
  return `${told} ${which} to the test: what happens when it is held still? Each card says what came of it.`;
}

const made = { trained: "trained", untrained: "made", compiled: "compiled" };

/** Fill the head, the foot and the sentences that depend on what the run is. */
export function showHead(data) {
  const facts = data.facts ?? {};
  const kind = kindOf(data);
  const scored = `on ${facts.scored === "validation part" ? "the validation part" : "unseen text"} (${facts.protocol})`;
  byId("name").textContent = visibleLine(data.title);
  byId("headline").textContent = visibleLine(headlines[kind](whole(facts.parameters), textName(facts.text)));
  refill(byId("facts"), ...[
    facts.description,
    typeof facts.bits_per_char === "number" ? `${fixed(facts.bits_per_char)} bits per character ${scored}` : null,
    kind === "untrained" ? "not trained" : null,
    kind === "compiled" ? "not trained: its weights are the machine's rules" : null,
    kind === "trained" && typeof facts.seconds === "number"
      ? `trained for ${duration(facts.seconds)}, ${whole(facts.steps)} steps` : null,
  ].filter(Boolean).map((fact) => el("li", {}, fact)));
  byId("where").textContent = whereFrom(data);
  byId("neurons-lead").textContent = neuronsLead(data);
  byId("version").textContent = visibleLine(facts.version);
  if (facts.command) refill(byId("command"), `It was ${made[kind]} with `, el("code", {}, facts.command));
}
