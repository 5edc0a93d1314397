// Build pieces of the page, and say numbers: elements, SVG, formats.
//
// Knows nothing about models or findings. Whatever is shown passes through `visible` and goes in as text, so that
// nothing in a text or a name can run or restyle the page. No style attributes: the policy of the page forbids them.

import { visible, visibleLine } from "./display.js";

const SVG = "http://www.w3.org/2000/svg";

function built(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, visibleLine(value));
  }
  return fill(node, ...children);
}

/** Add children, text made visible; nothing is skipped but null and undefined. */
export function fill(node, ...children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : visible(String(child)));
  }
  return node;
}

/** el("p", { class: "note", onclick: f }, "text", node): an element with attributes, listeners and children. */
export const el = (name, attributes = {}, ...children) => built(document.createElement(name), attributes, children);

/** The same for a piece of an SVG drawing. */
export const svg = (name, attributes = {}, ...children) =>
  built(document.createElementNS(SVG, name), attributes, children);

/** A button that is a unit's name; as a link inside a sentence, or as a button of its own. */
export const unitButton = (unit, onclick, kind = "link") =>
  el("button", { type: "button", class: kind, onclick }, el("code", {}, unit));

/** A word in a small frame; `yes` gives it colour. */
export const badge = (yes, text) => el("b", { class: yes ? "badge yes" : "badge" }, text);

/** Replace what is inside a node. */
export function refill(node, ...children) {
  node.replaceChildren();
  return fill(node, ...children);
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 1,086,785; a dash for what is no number. */
export const whole = (value) => (known(value) ? Math.round(value).toLocaleString("en") : "–");

/** A number with so many digits behind the point, and a real minus sign. */
export const fixed = (value, digits = 2) => (known(value) ? value.toFixed(digits).replace("-", "−") : "–");

/** A share as percent: 93 %, 0.4 %, "under 0.1 %". */
export function percent(share) {
  if (!known(share)) return "–";
  if (share > 0 && share < 0.001) return "<0.1 %";
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

/** A score with three digits, more where 1 is so near that three would not tell. */
export function score(value) {
  const told = [3, 4, 5].find((digits) => fixed(value, digits) !== fixed(1, digits));
  return fixed(value, told ?? 3);
}

/** Seconds as a person says them. */
export function duration(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${fixed(seconds / 3600, 1)} h`;
}

/** The part of a description that names the thing; what comes after a colon or semicolon explains it. */
export function brief(one) {
  const text = visibleLine(one.description || one.feature || one.name || "");
  return text.split(/[:;] |, straight or /)[0];
}

/** A description in full, in words for everybody: programmers say NaN for what is not there. */
export const described = (one) => visibleLine(one.description || one.feature || one.name || "")
  .replace(/[;,]? undefined \(NaN\) (.*)$/s, " (not counted $1)");

/** `list` when it is one, else an empty list: data of a page may lack a part. */
export const listOf = (list) => (Array.isArray(list) ? list : []);

/**
 * Run `work(deadline)` in slices of some milliseconds until it returns true; return a function that stops it. `failed`
 * hears of an error, which stops it, too.
 */
export function inSlices(work, { milliseconds = 12, pause = 0, failed = null } = {}) {
  const channel = new MessageChannel(); // a timeout of 0 waits 4 ms when it is nested
  let stopped = false;
  const next = () => (pause ? setTimeout(slice, pause) : channel.port2.postMessage(0));
  function slice() {
    if (stopped) return;
    try {
      if (work(performance.now() + milliseconds)) stopped = true;
      else next();
    } catch (error) {
      stopped = true;
      channel.port1.close();
      if (!failed) throw error;
      failed(error);
    }
    if (stopped) channel.port1.close();
  }
  channel.port1.onmessage = slice;
  next();
  return () => {
    stopped = true;
    channel.port1.close();
  };
}
