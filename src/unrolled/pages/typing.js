// A text that the reader types, coloured as it is typed, and what the network expects to come next.
//
// Knows nothing about generation. The colours lie behind a text field of the same measure, so that typing, selecting
// and spelling help stay the browser's own. Places are values: only what changed is read again.

import { likeliest } from "./engine.js";
import { byId, el, fixed, refill } from "./dom.js";
import { heatClass } from "./heat.js";
import { expectations } from "./reader.js";

/** The ids to go on from: those of a text, or of a line end (as `unrolled sample` begins) where there is none. */
export function promptOf(text, vocabulary) {
  const ids = vocabulary.encode(text || "\n");
  return text || ids[0] ? ids : [Math.min(1, vocabulary.symbols.length - 1)];
}

/** Reads a text as it changes: keeps the place after every symbol, and the chosen unit's value there. */
export class Follower {
  constructor(model, vocabulary) {
    Object.assign(this, { model, vocabulary, ids: [], places: [] });
  }

  /** Read `text`; return whether the whole of it was read before the deadline. */
  read(text, deadline) {
    const wanted = this.vocabulary.encode(text);
    let same = 0;
    while (same < wanted.length && same < this.ids.length && this.ids[same] === wanted[same]) same++;
    this.ids.length = same;
    this.places.length = same;
    while (this.ids.length < wanted.length && performance.now() < deadline) {
      const id = wanted[this.ids.length];
      const units = {};
      const watch = (group, values) => (units[group] = values.slice());
      const { state, logits } = this.model.step(id, this.places.at(-1)?.state ?? this.model.initialState(), watch);
      this.ids.push(id);
      this.places.push({ state, logits, units });
    }
    return this.ids.length === wanted.length;
  }

  /** The place after the text, or after a line end where the text is empty. */
  last() {
    if (this.places.length) return this.places.at(-1);
    return this.model.read(promptOf("", this.vocabulary));
  }

  /** What a unit did at each character of `text`. */
  values(text, group, index) {
    let at = -1;
    return [...text].map((piece) => {
      at += this.vocabulary.encode(piece).length;
      return this.places[at]?.units[group]?.[index] ?? NaN;
    });
  }
}

/** The field, the colours behind it, and the list of what is expected next. */
export class Typing {
  constructor({ follower, vocabulary, chosen }) {
    Object.assign(this, { follower, vocabulary, chosen, timer: null });
    this.field = byId("typed");
    this.behind = byId("typed-colours");
    const follow = () => (this.behind.scrollTop = this.field.scrollTop);
    this.field.addEventListener("input", () => {
      this.update();
      follow(); // not in paint: asking for it lays the whole page out
    });
    this.field.addEventListener("scroll", follow);
    this.update();
  }

  get text() {
    return this.field.value;
  }

  /** Read what is typed, in slices, and show it. */
  update() {
    clearTimeout(this.timer);
    const done = this.follower.read(this.text, performance.now() + 15);
    this.paint();
    if (!done) this.timer = setTimeout(() => this.update(), 0);
  }

  /** Colour what is read by the chosen unit. */
  paint() {
    const { group, index, scale, name } = this.chosen();
    const pieces = [...this.text];
    const values = group ? this.follower.values(this.text, group, index) : [];
    // the spans hold what the field holds, so that lines break alike; they are never seen, only their colours
    const spans = pieces.map((piece, at) => {
      const span = el("span", { class: heatClass(values[at] ?? NaN, scale) });
      span.textContent = piece;
      return span;
    });
    refill(this.behind, ...spans, "\u00a0");
    const place = this.follower.last();
    const last = values.at(-1);
    refill(byId("typed-next"), el("h4", {}, "Expected next"), expectations(likeliest(place.logits), this.vocabulary),
      Number.isFinite(last) ? el("p", { class: "soft" }, el("code", {}, name), ` is at ${fixed(last)}`) : null);
  }
}
