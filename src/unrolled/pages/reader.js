// The text, coloured by the chosen unit or by surprise; what the model expects at the character under the hand.
//
// Knows nothing about how a unit was found. The text is readable before the model has run over it; colours come then.

import { parseUnit } from "./engine.js";
import { characterSign } from "./display.js";
import { byId, el, fill, fixed, percent, refill } from "./dom.js";
import { characterSpans, heatClass, legend, spanClass, surpriseClass } from "./heat.js";
import { range } from "./recording.js";

const MANY_BITS = 8;

/** The next characters that a model expects, as bars; `actual` is the id that really came. */
export function expectations(expected, vocabulary, actual = null) {
  const rows = expected.map(({ id, probability }) => {
    const came = id === actual;
    const bar = el("progress", { max: 1, value: probability, "aria-hidden": "true" });
    return el("li", { class: came ? "came" : null }, el("kbd", {}, symbolSign(id, vocabulary)), bar,
      el("span", {}, percent(probability)), came ? el("em", {}, "came") : null);
  });
  return el("ol", { class: "expected" }, ...rows);
}

/** A symbol as a sign: a character, or the number of a byte that is none alone. */
function symbolSign(id, vocabulary) {
  if (id === 0) return "unknown";
  const symbol = vocabulary.symbols[id];
  const code = symbol.codePointAt(0);
  return vocabulary.kind === "bytes" && code > 0x7e ? `byte ${code.toString(16).toUpperCase()}` : characterSign(symbol);
}

function surpriseWords(bits) {
  if (!Number.isFinite(bits)) return "Nothing came before, so nothing was expected.";
  const level = bits < 0.5 ? "Expected" : bits < 2 ? "Hardly surprised" : bits < 5 ? "Surprised" : "Very surprised";
  return `${level}: ${fixed(bits, 1)} bits. It gave this character a chance of ${percent(2 ** -bits)}.`;
}

/** The text view: spans, the cursor, the marked passage. */
export class Reader {
  constructor({ text, view, vocabulary, units }) {
    Object.assign(this, { view, vocabulary, units, recording: null, hovered: null, anchor: null, cursor: null });
    this.pieces = [...text];
    this.box = byId("passage");
    this.spans = characterSpans(this.pieces);
    this.spans.forEach((span, at) => (span.dataset.at = at));
    refill(this.box, ...this.spans);
    this.classes = [];
    this.marked = null;
    this.listenToHands();
    view.listen(["unit", "colour"], () => this.paint());
    view.listen(["at"], () => this.moveTo(view.get("at")));
  }

  listenToHands() {
    const { box, view } = this;
    const placeOf = (event) => event.target.dataset?.at === undefined ? null : Number(event.target.dataset.at);
    box.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.hover(placeOf(event));
    });
    box.addEventListener("pointerleave", () => this.hover(null));
    box.addEventListener("click", (event) => {
      const at = placeOf(event);
      if (at === null || !document.getSelection().isCollapsed) return;
      this.anchor = null;
      this.mark(null);
      view.set({ at });
    });
    box.addEventListener("keydown", (event) => this.press(event));
    document.addEventListener("selectionchange", () => {
      clearTimeout(this.selecting);
      this.selecting = setTimeout(() => this.takeSelection(), 150);
    });
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.view.get("at") ?? 0;
    const last = this.spans.length - 1;
    const targets = {
      ArrowRight: () => at + 1, ArrowLeft: () => at - 1,
      ArrowDown: () => this.inRow(at, 1), ArrowUp: () => this.inRow(at, -1),
      Home: () => 0, End: () => last, PageDown: () => at + 400, PageUp: () => at - 400,
    };
    if (event.key === "Escape") {
      this.anchor = null;
      this.mark(null);
    }
    if (!targets[event.key]) return;
    event.preventDefault();
    const to = Math.min(last, Math.max(0, this.view.get("at") === null ? 0 : targets[event.key]()));
    if (event.shiftKey) {
      this.anchor ??= at;
      this.mark(Math.min(this.anchor, to), Math.max(this.anchor, to) + 1);
    } else this.anchor = null;
    this.view.set({ at: to });
    this.spans[to].scrollIntoView({ block: "nearest" });
  }

  /** The character below or above one, as lines are on the screen now. */
  inRow(at, direction) {
    const place = (index) => this.spans[index]?.getBoundingClientRect();
    const here = place(at);
    let next = at + direction;
    while (place(next) && Math.abs(place(next).top - here.top) < 4) next += direction;
    if (!place(next)) return direction > 0 ? this.spans.length - 1 : 0;
    const row = place(next).top;
    let best = next;
    for (let index = next; place(index) && Math.abs(place(index).top - row) < 4; index += direction) {
      if (Math.abs(place(index).left - here.left) < Math.abs(place(best).left - here.left)) best = index;
    }
    return best;
  }

  takeSelection() {
    const selection = document.getSelection();
    if (selection.isCollapsed || selection.rangeCount === 0) return;
    const { startContainer, endContainer, startOffset, endOffset } = selection.getRangeAt(0);
    if (!this.box.contains(startContainer) || !this.box.contains(endContainer)) return;
    const start = this.spanAt(startContainer, startOffset, false);
    const end = this.spanAt(endContainer, endOffset, true);
    if (end > start) this.mark(start, end);
  }

  /** The number of characters before a place of the browser's selection. */
  spanAt(node, offset, isEnd) {
    if (node === this.box) return offset;
    const span = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    const at = Number(span.dataset.at);
    const length = node.nodeType === Node.TEXT_NODE ? node.data.length : node.childNodes.length;
    return isEnd ? at + (offset > 0 ? 1 : 0) : at + (offset >= length ? 1 : 0);
  }

  /** Mark a passage, or nothing; whoever set `onMark` hears of it. */
  mark(start, end = null) {
    const before = this.marked;
    if (before === null && start === null) return;
    this.marked = start === null ? null : [start, end];
    for (const [from, to] of [before, this.marked].filter(Boolean)) this.repaint(from, to);
    this.onMark?.(this.marked);
  }

  hover(at) {
    if (at === this.hovered) return;
    this.hovered = at;
    this.tell(at ?? this.view.get("at"));
  }

  moveTo(at) {
    const before = this.cursor;
    this.cursor = at;
    for (const place of [before, at]) if (place !== null) this.repaint(place, place + 1);
    this.tell(at);
  }

  /** Take the colours from a recording (again): while it grows and when it is done. */
  show(recording) {
    this.recording = recording;
    this.paint();
  }

  values() {
    const unit = this.view.get("unit");
    if (!this.recording || !unit) return null;
    return this.recording.values(this.recording.unit(...parseUnit(unit, this.units)));
  }

  /** The class of the colour of one character, "" where the network has not read yet. */
  colourAt(at) {
    if (at >= (this.recording?.done ?? 0)) return "";
    if (this.bySurprise) return surpriseClass(this.recording.surprises[at]);
    return this.shown ? heatClass(this.shown[at], this.scale) : "";
  }

  /** Give the characters from one to another (not included) the classes that they should have. */
  repaint(from, to) {
    const [start, end] = this.marked ?? [0, 0];
    for (let at = from; at < to; at++) {
      const extra = (at === this.cursor ? " cursor" : "") + (at >= start && at < end ? " marked" : "");
      const wanted = `${spanClass(this.pieces[at])} ${this.colourAt(at)}${extra}`;
      // reading a class from the page is slow
      if (this.classes[at] !== wanted) this.spans[at].className = this.classes[at] = wanted;
    }
  }

  paint() {
    const bySurprise = (this.bySurprise = this.view.get("colour") === "surprise");
    const values = this.values();
    this.shown = values;
    this.scale = values ? range(values) : null;
    this.repaint(0, this.spans.length);
    const bar = byId("passage-legend");
    if (bySurprise) refill(bar, legend("0 bits", `${MANY_BITS} bits and more`, { kind: "s" }));
    else if (this.scale) refill(bar, legend(fixed(this.scale.low), fixed(this.scale.high)));
    else refill(bar);
    this.tell(this.hovered ?? this.view.get("at"));
  }

  /** Say in the panel beside the text what is known about one character. */
  tell(at) {
    const panel = byId("character");
    if (at === null || at === undefined) {
      refill(panel, el("p", { class: "hint" }, "Point at a character, or tap it, to see what it expects next."));
      return;
    }
    const next = this.recording?.text[at + 1];
    const expected = this.recording?.expectedAfter(at);
    const value = this.shown?.[at];
    const number = () => el("b", { class: heatClass(value, this.scale) }, fixed(value));
    const told = value === undefined ? null : el("span", {}, el("code", {}, this.view.get("unit")), number());
    refill(panel, el("p", { class: "where" }, el("kbd", { class: "big" }, characterSign(this.pieces[at])),
      el("span", {}, `character ${(at + 1).toLocaleString("en")}`, told)));
    if (!expected) return void fill(panel, el("p", { class: "hint" }, "The network has not read this far yet."));
    fill(panel, el("p", {}, surpriseWords(this.recording.surprises[at])),
      el("h4", {}, "What it expects next"), expectations(expected, this.vocabulary, next?.ids[0]));
  }
}
