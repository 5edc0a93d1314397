// What the reader looks at: the chosen unit, the place in the text and so on, kept in the URL's fragment.
//
// Knows nothing about how it is shown. Whoever shows something listens; whoever lets choose sets. A fragment may come
// from anybody: what does not fit this page is left out.

import { nameOf, parseUnit } from "./engine.js";

const MOST_CLAMPS = 8;

/** The parts of a view and what they are at first. */
const START = {
  unit: "", feature: "", at: null, section: "", colour: "unit", temperature: 0.8, seed: 1, clamps: [], report: null,
};

/** The full name of a unit, or "" when the page has no such unit. */
export function unitName(text, units) {
  try {
    const [group, index] = parseUnit(String(text), units);
    return nameOf(group, index, units);
  } catch {
    return "";
  }
}

/** Of findings the one that is looked at: the chosen unit's, for the chosen feature where it has several. */
export function chosenOf(list, view) {
  const own = list.filter((one) => one.unit === view.get("unit"));
  return own.find((one) => one.feature === view.get("feature")) ?? own[0];
}

const within = (text, low, high) => {
  const value = text === null || text.trim() === "" ? NaN : Number(text);
  return value >= low && value <= high ? value : undefined;
};
const wholeWithin = (text, low, high) => {
  const value = within(text, low, high);
  return Number.isInteger(value) ? value : undefined;
};

/** Read a fragment; return the parts that fit `page`: { units, features, length, reports, sections }. */
export function readFragment(fragment, page) {
  const found = {};
  const keep = (name, value) => {
    if (value !== undefined && value !== "") found[name] = value;
  };
  const given = new URLSearchParams(String(fragment).replace(/^#/, "").slice(0, 4000));
  keep("unit", unitName(given.get("unit") ?? "", page.units));
  keep("feature", page.features.find((feature) => feature === given.get("feature")));
  keep("at", wholeWithin(given.get("at"), 0, page.length - 1));
  keep("section", page.sections.find((section) => section === given.get("section")));
  keep("colour", ["unit", "surprise"].find((colour) => colour === given.get("colour")));
  keep("temperature", within(given.get("temperature"), 0, 2));
  keep("seed", wholeWithin(given.get("seed"), 0, Number.MAX_SAFE_INTEGER));
  keep("report", wholeWithin(given.get("report"), 0, page.reports - 1));
  const clamps = new Map();
  for (const text of given.getAll("clamp").slice(0, MOST_CLAMPS)) {
    const [, name, number] = /^(.*):([^:]*)$/s.exec(text) ?? [];
    const [unit, value] = [unitName(name ?? "", page.units), within(number ?? null, -1e6, 1e6)];
    if (unit && value !== undefined) clamps.set(unit, value);
  }
  if (clamps.size) found.clamps = [...clamps].map(([unit, value]) => ({ unit, value }));
  return found;
}

/** Write the parts that are not as at first. */
function writeFragment(view) {
  const parts = new URLSearchParams();
  for (const [name, first] of Object.entries(START)) {
    if (name === "clamps") for (const { unit, value } of view.clamps) parts.append("clamp", `${unit}:${value}`);
    else if (view[name] !== first && view[name] !== null) parts.set(name, String(view[name]));
  }
  return parts.toString().replaceAll("%5B", "[").replaceAll("%5D", "]").replaceAll("%3A", ":");
}

/** The view of this page: `get`, `set`, `listen`; `set` tells who listens to that part, and the URL a little later. */
export class View {
  constructor(page, first = {}) {
    this.page = page;
    this.parts = { ...START, ...first };
    this.listeners = [];
    this.timer = null;
  }

  get(name) {
    return this.parts[name];
  }

  set(given) {
    // another unit is not looked at for the feature of the one before
    const changes = "unit" in given ? { feature: "", ...given } : given;
    const changed = Object.keys(changes).filter((name) => changes[name] !== this.parts[name]);
    Object.assign(this.parts, changes);
    if (changed.length === 0) return;
    for (const [names, listener] of this.listeners) if (names.some((name) => changed.includes(name))) listener();
    this.timer ??= setTimeout(() => this.publish(), 200); // browsers refuse more than a few changes a second
  }

  listen(names, listener) {
    this.listeners.push([names, listener]);
    listener();
  }

  publish() {
    this.timer = null;
    try {
      history.replaceState(null, "", `#${writeFragment(this.parts)}`);
    } catch {
      // some browsers forbid it for files on disk; the page works without
    }
  }

  /** Take over a fragment that somebody typed or followed. */
  follow(fragment) {
    this.set(readFragment(fragment, this.page));
  }
}
