// Colours: from a unit's value, or from bits of surprise, to one of a few classes of page.css.
//
// Knows nothing about models. Classes h0 (low, blue) to h32 (high, orange) with h16 in the middle, s0 to s16 for
// surprise: a colour is a class, because the policy of the page forbids style attributes and classes are quick.

import { el, fill } from "./dom.js";
import { visible } from "./display.js";

const LEVELS = 32;
const SURPRISES = 16;
const MOST_BITS = 8;

/** The class of a value on a scale { low, high }: their middle is neutral. No class without a scale. */
export function heatClass(value, scale) {
  if (!scale || !Number.isFinite(value)) return "";
  const { low, high } = scale;
  const share = high > low ? (value - low) / (high - low) : 0.5;
  return `h${Math.round(LEVELS * Math.min(1, Math.max(0, share)))}`;
}

/** The class of a surprise in bits; 8 bits and more are darkest. */
export function surpriseClass(bits) {
  if (!Number.isFinite(bits)) return "";
  return `s${Math.round(SURPRISES * Math.min(1, Math.max(0, bits / MOST_BITS)))}`;
}

/** The characters of a text as spans of class "c"; line ends are marked by page.css. */
export function characterSpans(pieces) {
  let before = "";
  return pieces.map((piece) => {
    const span = document.createElement("span");
    span.textContent = visible(piece, before.slice(-8));
    before = before.slice(-8) + piece;
    span.className = spanClass(piece);
    return span;
  });
}

/** The class that a character has whatever its colour. */
export const spanClass = (piece) => (piece === "\n" ? "c nl" : "c");

/** A short text coloured by values between -1 and 1. */
export function coloured(text, values) {
  const pieces = [...text];
  const spans = characterSpans(pieces);
  spans.forEach((span, at) => (span.className += ` ${heatClass(values[at], { low: -1, high: 1 })}`));
  return fill(el("span", { class: "coloured" }), ...spans);
}

/** A bar from low to high with its numbers. */
export function legend(low, high, { kind = "h" } = {}) {
  const levels = kind === "h" ? LEVELS : SURPRISES;
  const steps = Array.from({ length: levels + 1 }, (_, level) => el("i", { class: `${kind}${level}` }));
  const ramp = el("span", { class: "ramp", "aria-hidden": "true" }, ...steps);
  return el("span", { class: "legend" }, el("b", {}, low), ramp, el("b", {}, high));
}
