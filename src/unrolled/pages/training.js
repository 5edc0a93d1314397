// How the network learned: a slider over training that joins the loss, the neurons' scores and what it wrote then.
//
// Knows nothing about the model: everything here was measured while it was trained.

import { brief, byId, duration, el, fill, fixed, listOf, percent, refill, score, whole } from "./dom.js";
import { characterSpans } from "./heat.js";
import { curves, key } from "./plots.js";

const MOST_CURVES = 6; // as many as there are colours

/** What the measures of structure are called; others are shown by their own names. */
const MEASURES = {
  words: ["words that the training text has, too", percent],
  quotes: ["paragraphs with quotes in which all are closed", percent],
  brackets: ["brackets that have their partner", percent],
  line_lengths: ["characters by which line lengths differ from the text's", (value) => fixed(value, 1)],
  python: ["finished blocks that are Python", percent],
  copied: ["longest piece copied from the training text, characters", whole],
};

const measureName = (name) => (Object.hasOwn(MEASURES, name) ? MEASURES[name][0] : name.replaceAll("_", " "));
const measured = (name, value) => (Object.hasOwn(MEASURES, name) ? MEASURES[name][1](value) : fixed(value, 2));

/** The score of a card at a step: that of the last snapshot until then. */
function scoreAt(card, step) {
  const before = listOf(card.birth).filter((one) => one.step <= step);
  return before.at(-1)?.score;
}

/** The looks that were kept, none where there is but one: nothing happened between it and itself. */
export function reportsOf(data) {
  const reports = listOf(data.training).filter((one) => Number.isFinite(one.step));
  return reports.length > 1 ? reports : [];
}

/** Set up the slider and the drawings; hide the section when nothing was kept. */
export function showTraining(data, view) {
  const reports = reportsOf(data);
  byId("training").hidden = reports.length === 0;
  if (reports.length === 0) return false;
  const born = listOf(data.cards).filter((card) => listOf(card.birth).length > 1).slice(0, MOST_CURVES);
  const last = Math.max(...reports.map((one) => one.step));
  const bits = (name) => reports.map((one) => [one.step, one[name] ?? NaN]);
  const losses = [
    { name: "unseen text", points: bits("valid_bits_per_char") },
    { name: "training text", points: bits("train_bits_per_char") },
  ].filter(({ points }) => points.some(([, value]) => Number.isFinite(value)));
  const all = losses.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite);
  const plots = [];
  if (all.length) {
    const [low, high] = [Math.floor(Math.min(...all)), Math.ceil(Math.max(...all))];
    const plot = curves(losses, { low, high, last, name: "Bits per character" });
    const title = "How many bits a character costs it (lower is better)";
    plots.push({ ...plot, title, names: losses.map((one) => one.name) });
  }
  if (born.length) {
    const low = born.every((card) => card.kind === "yes-no") ? 0.5 : 0;
    const lines = born.map((card) => ({ points: card.birth.map((one) => [one.step, Math.max(low, one.score)]) }));
    const plot = curves(lines, { low, high: 1, last, name: "Scores of the neurons found" });
    const names = born.map((card) => `${card.unit}: ${brief(card)}`);
    plots.push({ ...plot, title: "When each neuron appeared (its score, 1 is perfect)", names });
  }
  const figure = ({ node, title, names }) => el("figure", {}, el("figcaption", {}, title), node, key(names));
  refill(byId("training-plots"), ...plots.map(figure));
  const slider = byId("training-slider");
  slider.max = String(reports.length - 1);
  slider.addEventListener("input", () => view.set({ report: Number(slider.value) }));
  view.listen(["report"], () => {
    const at = view.get("report") ?? reports.length - 1;
    if (Number(slider.value) !== at) slider.value = String(at);
    for (const { mark } of plots) mark(reports[at].step);
    slider.setAttribute("aria-valuetext", `step ${whole(reports[at].step)}`);
    showReport(reports[at], born);
  });
  return true;
}

function showReport(report, born) {
  byId("training-when").textContent = `step ${whole(report.step)}, after ${duration(report.seconds)}: `
    + `${fixed(report.valid_bits_per_char, 2)} bits per character on unseen text`;
  const structure = Object.entries(report.structure ?? {}).filter(([, value]) => typeof value === "number");
  const rows = [
    ...structure.map(([name, value]) => [measureName(name), measured(name, value)]),
    ...born.map((card) => [`${card.unit} (${brief(card)})`, score(scoreAt(card, report.step))]),
  ];
  refill(byId("training-facts"), ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const sample = typeof report.sample === "string" ? report.sample : "";
  const box = byId("training-sample");
  if (sample) fill(refill(box), ...characterSpans([...sample]));
  else refill(box, el("span", { class: "hint" }, "No passage was kept from this moment."));
}
