// The network writes: after what was typed, with units held, beside an untouched twin on the same random numbers.
//
// Knows nothing about findings. Each stream draws from a generator of its own that starts at the same seed, so the
// twins write the same until what is held makes a difference; characters that differ are underlined.

import { Random, clamp, distribution, draw } from "./engine.js";
import { SIGNS, characterSign, visible } from "./display.js";
import { byId, el, fixed, inSlices, refill, whole } from "./dom.js";
import { heatClass } from "./heat.js";
import { promptOf } from "./typing.js";

const LENGTH = 4000;
const MARKS = ['"', "\n", "(", ")", "'", ".", ","];
const SLICE = 12; // milliseconds

/** One text being written: symbols, characters, the chosen unit's values, counts. */
class Stream {
  constructor({ model, vocabulary, place, seed }) {
    Object.assign(this, { model, place, random: new Random(seed), pieces: [], values: [], ids: [] });
    this.decoder = vocabulary.decoder();
    this.counts = new Map();
  }

  /** Write one symbol. `tap` holds units, `chosen` { group, index } is watched. */
  step(options, tap, chosen) {
    const id = draw(distribution(this.place.logits, options), this.random.uniform());
    let value = NaN;
    this.place = this.model.step(id, this.place.state, (group, values) => {
      tap?.(group, values);
      if (group === chosen.group) value = values[chosen.index];
    });
    this.ids.push(id);
    for (const piece of this.decoder.feed(id)) {
      this.pieces.push(piece);
      this.values.push(value);
      this.counts.set(piece, (this.counts.get(piece) ?? 0) + 1);
    }
  }

  /** How often a character comes in a thousand, NaN before there are any. */
  rate(character) {
    return (1000 * (this.counts.get(character) ?? 0)) / this.pieces.length;
  }
}

/** A stream on the page: spans are added as it grows. */
class Paper {
  constructor(node) {
    this.node = node;
    this.clear();
  }

  clear() {
    this.shown = 0;
    this.before = "";
    this.node.replaceChildren();
  }

  grow({ pieces, values }, { scale, mark, other = null }) {
    const fragment = document.createDocumentFragment();
    for (; this.shown < pieces.length && (!other || this.shown < other.pieces.length); this.shown++) {
      const piece = pieces[this.shown];
      const span = document.createElement("span");
      span.textContent = visible(piece, this.before);
      const differs = other && other.pieces[this.shown] !== piece;
      const counted = piece === mark && piece !== "\n";
      const signs = (differs ? " differs" : "") + (counted ? " counted" : "");
      span.className = `c ${heatClass(values[this.shown], scale)}${signs}`;
      this.before = (this.before + piece).slice(-8);
      fragment.append(span);
    }
    const follow = this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < 60;
    this.node.append(fragment);
    if (follow) this.node.scrollTop = this.node.scrollHeight;
  }
}

/** The part of the page that writes. */
export class Writer {
  constructor({ view, model, vocabulary, typing, follower, chosen }) {
    Object.assign(this, { view, model, vocabulary, typing, follower, chosen, stop: null, mark: '"' });
    this.papers = { held: new Paper(byId("held")), free: new Paper(byId("free")) };
    byId("write-start").addEventListener("click", () => {
      if (this.stop) return this.halt();
      try {
        this.start();
      } catch (error) {
        this.fail(error);
      }
    });
    byId("temperature").addEventListener("input", (event) => view.set({ temperature: Number(event.target.value) }));
    byId("seed").addEventListener("input", (event) => {
      const seed = Number(event.target.value);
      const fits = event.target.value !== "" && Number.isSafeInteger(seed) && seed >= 0;
      if (fits) view.set({ seed });
      refill(byId("seed-help"), fits ? "" : `A seed is a whole number, 0 or more; it stays ${view.get("seed")}.`);
    });
    byId("seed").addEventListener("change", () => this.showOptions()); // the field never keeps what is not used
    byId("mark").addEventListener("input", (event) => {
      const [typed = '"'] = event.target.value;
      this.mark = Object.keys(SIGNS).find((character) => SIGNS[character] === typed) ?? typed;
      this.count();
    });
    view.listen(["temperature", "seed"], () => this.showOptions());
    view.listen(["clamps"], () => this.takeClamps());
  }

  /** Count this character, as if it had been typed. */
  countMark(character) {
    this.mark = character;
    byId("mark").value = characterSign(character);
    this.count();
  }

  showOptions() {
    byId("temperature").value = this.view.get("temperature");
    byId("temperature-value").textContent = fixed(this.view.get("temperature"));
    const seed = byId("seed");
    const written = seed.value !== "" && Number(seed.value) === this.view.get("seed");
    if (!written) seed.value = this.view.get("seed");
  }

  takeClamps() {
    const clamps = this.view.get("clamps");
    this.tap = clamps.length
      ? clamp(this.model.units, Object.fromEntries(clamps.map(({ unit, value }) => [unit, value]))) : null;
    const twins = clamps.length > 0;
    byId("papers").classList.toggle("twins", twins);
    byId("held-column").hidden = !twins;
    if (twins && this.stop && !this.held) this.start(); // a first unit is held while one text is written: begin again
  }

  start() {
    this.halt();
    const place = this.follower.last();
    const shared = { model: this.model, vocabulary: this.vocabulary, seed: this.view.get("seed") };
    this.free = new Stream({ ...shared, place });
    this.held = this.tap ? new Stream({ ...shared, place: this.heldPlace() }) : null;
    for (const paper of Object.values(this.papers)) paper.clear();
    this.computing = 0;
    byId("write-start").textContent = "Stop";
    const pace = Number(byId("pace").value); // characters a second, 0 for as fast as it goes
    const begin = performance.now();
    this.stop = inSlices((deadline) => {
      const due = pace ? ((performance.now() - begin) * pace) / 1000 : Infinity;
      return this.work(deadline, Math.min(LENGTH, due));
    }, { milliseconds: SLICE, pause: pace ? 30 : 4, failed: (error) => this.fail(error) });
  }

  /** A unit held far out of its range may leave nothing to predict with. */
  fail(error) {
    this.halt();
    byId("speed").textContent = visible(`It cannot write: ${error?.message ?? error}`);
  }

  /** The prompt read with the units held, as `unrolled sample --clamp` reads it. */
  heldPlace() {
    return this.model.read(promptOf(this.typing.text, this.vocabulary), this.model.initialState(), this.tap);
  }

  work(deadline, until) {
    const begin = performance.now();
    const options = { temperature: this.view.get("temperature") };
    const chosen = this.chosen();
    while (this.free.ids.length < until && performance.now() < deadline) {
      this.free.step(options, null, chosen);
      this.held?.step(options, this.tap, chosen);
    }
    this.computing += performance.now() - begin;
    const { mark } = this;
    const isHeld = this.view.get("clamps").some((one) => one.unit === chosen.name); // one colour would say nothing
    this.papers.free.grow(this.free, { scale: chosen.scale, mark });
    if (this.held) this.papers.held.grow(this.held, { scale: isHeld ? null : chosen.scale, mark, other: this.free });
    this.count();
    const done = this.free.ids.length >= LENGTH;
    if (done) this.halt();
    return done;
  }

  halt() {
    this.stop?.();
    this.stop = null;
    byId("write-start").textContent = "Write";
    if (this.free) this.count();
  }

  /** Say how fast it goes, and how often marks come. */
  count() {
    if (!this.free) return;
    const written = this.free.ids.length + (this.held?.ids.length ?? 0);
    const speed = (1000 * written) / Math.max(1, this.computing);
    const same = this.held ? this.held.pieces.findIndex((piece, at) => piece !== this.free.pieces[at]) : -1;
    const twins = same < 0 ? "both wrote the same so far" : `the twins part at character ${whole(same + 1)}`;
    byId("speed").textContent = `${whole(this.free.pieces.length)} characters; the network computes `
      + `${whole(speed)} a second here${this.held ? `; ${twins}` : ""}.`;
    const others = MARKS.filter((mark) => mark !== this.mark && this.vocabulary.ids.has(mark));
    const marks = [this.mark, ...others].slice(0, 6);
    const head = ["character", ...(this.held ? ["units held"] : []), "untouched"];
    const row = (mark) => el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, characterSign(mark))),
      this.held ? el("td", {}, fixed(this.held.rate(mark), 1)) : null, el("td", {}, fixed(this.free.rate(mark), 1)));
    refill(byId("marks"), el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...marks.map(row)));
  }
}
