// Start the page: read its data, show the text and the findings at once, then wake the model and let it read.
//
// Knows nothing about how anything is drawn: each part of the page has a file of its own.

import { Model, Vocabulary, nameOf, parseUnit } from "./engine.js";
import { visibleLine } from "./display.js";
import { brief, byId, el, fixed, inSlices, listOf, refill, unitButton, whole } from "./dom.js";
import { Clamping, nearestUnit } from "./clamping.js";
import { showCards } from "./cards.js";
import { gatesOf, showGates } from "./gates.js";
import { showHead } from "./head.js";
import { showMethod } from "./method.js";
import { Reader } from "./reader.js";
import { Recording, range } from "./recording.js";
import { MarkedSearch, showSearch } from "./search.js";
import { reportsOf, showTraining } from "./training.js";
import { Follower, Typing } from "./typing.js";
import { View, chosenOf, readFragment, unitName } from "./view.js";
import { Writer } from "./write.js";

const SECTIONS = {
  text: "The text", neurons: "Neurons", search: "Search", write: "Write", gates: "Gates", training: "Learning",
  method: "Method",
};
const MOST_CHIPS = 10;
const MOST_GROUPS = 12; // told to somebody who looks for a unit
const REPAINT = 250; // milliseconds between two looks at the colours while the network reads

const bytesOf = (id) => {
  const text = atob(byId(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
};

const ready = (text) => (byId("status").textContent = visibleLine(text));

/** Links to the sections that there are; following one keeps the rest of the view. */
function showContents(view) {
  const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const go = (section) => {
    view.set({ section });
    byId(section).scrollIntoView({ behavior: quiet ? "auto" : "smooth", block: "start" });
    byId(section).focus({ preventScroll: true });
  };
  const link = ([id, name]) => el("li", {}, el("a", {
    href: `#section=${id}`,
    onclick(event) {
      event.preventDefault();
      go(id);
    },
  }, name));
  refill(byId("contents"), ...Object.entries(SECTIONS).filter(([id]) => !byId(id).hidden).map(link));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("passage").focus();
  });
  return go;
}

/** The field for a unit's name, its neighbours, and the chips of the neurons found. */
function showChoice(data, view) {
  const field = byId("unit");
  const groups = Object.keys(data.units);
  const sizes = Object.entries(data.units).map(([group, size]) => (size > 1 ? `${group} (${size})` : group));
  const told = sizes.slice(0, MOST_GROUPS);
  if (groups.length > told.length) told.push(`and ${whole(groups.length - told.length)} more`);
  const choose = () => {
    const name = unitName(field.value, data.units);
    if (name) {
      field.value = name; // the view does not change when the same unit is written in another way
      view.set({ unit: name, colour: "unit" });
      refill(byId("unit-help"));
      return;
    }
    const near = nearestUnit(field.value, data.units);
    const take = () => {
      refill(byId("unit-help"));
      view.set({ unit: near, colour: "unit" });
    };
    refill(byId("unit-help"), "There is no unit of that name. Did you mean ",
      unitButton(near, take), `? Groups: ${told.join(", ")}.`);
  };
  field.addEventListener("change", choose);
  const move = (by) => {
    let [group, index] = parseUnit(view.get("unit"), data.units);
    index += by;
    if (index < 0 || index >= data.units[group]) {
      group = groups[(groups.indexOf(group) + by + groups.length) % groups.length];
      index = by > 0 ? 0 : data.units[group] - 1;
    }
    view.set({ unit: nameOf(group, index, data.units), colour: "unit" });
    refill(byId("unit-help"));
  };
  byId("unit-before").addEventListener("click", () => move(-1));
  byId("unit-after").addEventListener("click", () => move(1));
  byId("by-surprise").addEventListener("change", (event) => {
    view.set({ colour: event.target.checked ? "surprise" : "unit" });
  });
  const usable = listOf(data.cards).filter((card) => unitName(card.unit, data.units));
  // One for each feature: the cards below have the others.
  const first = usable.filter((card, at) => usable.findIndex((other) => other.feature === card.feature) === at)
    .slice(0, MOST_CHIPS);
  const chips = first.map((card) =>
    el("button", {
      type: "button", "data-unit": card.unit, title: card.unit,
      onclick: () => view.set({ unit: card.unit, feature: card.feature, colour: "unit" }),
    }, brief(card)));
  refill(byId("chips"), ...chips);
  view.listen(["unit", "feature", "colour"], () => {
    field.value = view.get("unit");
    byId("by-surprise").checked = view.get("colour") === "surprise";
    const chosen = view.get("colour") === "unit" ? chosenOf(first, view) : null;
    chips.forEach((chip, at) => chip.setAttribute("aria-pressed", String(first[at] === chosen)));
  });
}

/** Everything that needs the model: the run over the text, typing, writing, holding units. */
class Live {
  constructor(data, view, reader) {
    Object.assign(this, { data, view, reader });
    this.vocabulary = new Vocabulary(data.vocabulary);
    this.model = new Model(data.model, bytesOf("weights"), { wasm: bytesOf("kernel") });
    this.recording = new Recording(this.model, this.vocabulary, String(data.passage?.text ?? ""));
    this.ranges = new Map();
    this.follower = new Follower(this.model, this.vocabulary);
    this.typing = new Typing({ follower: this.follower, vocabulary: this.vocabulary, chosen: () => this.chosen() });
    const { model, vocabulary, typing, follower } = this;
    this.writer = new Writer({ view, model, vocabulary, typing, follower, chosen: () => this.chosen() });
    view.listen(["unit"], () => this.typing.paint());
    byId("write-start").disabled = false;
  }

  /** What a unit did in the text: the ends of its colours, and its extremes. */
  range(name) {
    const done = this.recording.done === this.recording.length;
    if (done && this.ranges.has(name)) return this.ranges.get(name);
    const { group, index } = this.split(name);
    const found = range(this.recording.values(this.recording.unit(group, index)));
    if (done) this.ranges.set(name, found);
    return found;
  }

  split(name) {
    const [group, index] = parseUnit(name, this.data.units);
    return { group, index };
  }

  chosen() {
    const name = this.view.get("unit");
    return { name, ...this.split(name), scale: this.range(name) };
  }

  /** Read the text in slices; `finished` is called once. */
  read(finished) {
    const bar = byId("reading");
    bar.hidden = false;
    let painted = performance.now();
    let spent = 0;
    inSlices((deadline) => {
      const begin = performance.now();
      const done = this.recording.advance(deadline);
      spent += performance.now() - begin;
      const share = this.recording.done / this.recording.length;
      bar.value = share;
      if (done || performance.now() - painted > REPAINT) {
        const [read, length] = [this.recording.done, this.recording.length].map(whole);
        const seconds = fixed(Math.max(spent, 100) / 1000, 1);
        ready(done ? `The network read ${length} characters in ${seconds} s, here.`
          : `The network is reading: ${read} of ${length} characters.`);
        this.reader.show(this.recording);
        painted = performance.now();
      }
      if (done) {
        bar.hidden = true;
        this.typing.paint();
        finished();
      }
      return done;
    }, { failed: cannotRun });
  }
}

function start() {
  const data = JSON.parse(byId("data").textContent);
  const text = String(data.passage?.text ?? "");
  const page = {
    units: data.units, features: listOf(data.cards).map((card) => card.feature), length: [...text].length,
    reports: reportsOf(data).length, sections: Object.keys(SECTIONS),
  };
  const [group] = Object.keys(data.units);
  const first = listOf(data.cards).map((card) => card.unit).find((unit) => unitName(unit, data.units))
    ?? nameOf(group, 0, data.units);
  const view = new View(page, { unit: first, ...readFragment(location.hash, page) });
  showHead(data);
  const vocabulary = new Vocabulary(data.vocabulary);
  const reader = new Reader({ text, view, vocabulary, units: data.units });
  showChoice(data, view);
  byId("gates").hidden = gatesOf(data.saturation).length === 0;
  byId("training").hidden = page.reports === 0;
  const go = showContents(view);
  const show = (unit, there, feature = "") => {
    const name = unitName(unit, data.units);
    if (!name) return;
    view.set({ unit: name, feature, colour: "unit" });
    if (there) go("text");
  };
  byId("clamp-unit").value = view.get("unit");
  let [live, clamping] = [null, null];
  const hold = (card) => {
    const { on_value: on } = card.clamp ?? {};
    clamping?.add(card.unit, Number.isFinite(on) ? on : null);
    const [mark] = String(card.clamp?.mark ?? "");
    if (mark) live?.writer.countMark(mark);
    go("write");
  };
  showCards(data, view, { show, hold, openTraining: () => go("training") });
  showSearch(data, { show, units: data.units });
  new MarkedSearch(reader, { show, openSearch: () => go("search") });
  showGates(data.saturation, view, { show, units: data.units });
  showTraining(data, view);
  showMethod(data, { show, units: data.units });
  const toSection = () => {
    const section = view.get("section");
    if (section && !byId(section).hidden) byId(section).scrollIntoView();
  };
  addEventListener("hashchange", () => {
    view.follow(location.hash);
    toSection();
  });
  toSection();
  view.listen(["unit"], () => (byId("clamp-unit").value = view.get("unit")));
  setTimeout(() => wake(() => {
    live = new Live(data, view, reader);
    clamping = new Clamping({ view, units: data.units, rangeOf: (name) => live.range(name) });
    live.read(() => {
      clamping.known = "";
      clamping.show();
      document.documentElement.dataset.ready = live.model.kernel.name;
    });
  }), 0);
}

/** Run something; when the model in this page cannot run, say why, and leave the rest of the page as it is. */
function wake(work) {
  try {
    work();
  } catch (error) {
    cannotRun(error);
  }
}

function cannotRun(error) {
  ready(`The network in this page cannot run: ${error?.message ?? error}`);
  byId("status").classList.add("failed");
  byId("reading").hidden = true;
  document.documentElement.dataset.ready = "failed";
}

wake(start);
