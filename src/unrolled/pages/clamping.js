// Units held while the network writes: one row each, with a slider over what the unit did in the text.
//
// Knows nothing about writing. The units held are part of the view; names that the model does not have get help.

import { byId, el, fixed, refill, unitButton } from "./dom.js";
import { nameOf } from "./engine.js";
import { unitName } from "./view.js";

const MOST = 8;

/** The name of the unit that somebody probably meant: as many letters as possible in common. */
export function nearestUnit(text, units) {
  const [, group, digits] = /^\s*([^[\]\s]*)\s*(?:\[?\s*(\d*)\s*\]?)\s*$/.exec(text) ?? [null, text, ""];
  const pairs = (word) => new Set([...word].slice(1).map((letter, at) => word[at] + letter));
  const wanted = pairs(group.toLowerCase());
  const likeness = (name) => {
    const own = pairs(name.toLowerCase());
    const both = [...own].filter((pair) => wanted.has(pair)).length;
    return (2 * both) / (own.size + wanted.size || 1);
  };
  const [best] = Object.keys(units).sort((a, b) => likeness(b) - likeness(a));
  return nameOf(best, Math.min(Number(digits || 0), units[best] - 1), units);
}

/** The rows of held units; `rangeOf(name)` gives { minimum, maximum }. */
export class Clamping {
  constructor({ view, units, rangeOf }) {
    Object.assign(this, { view, units, rangeOf, known: "" });
    this.field = byId("clamp-unit");
    byId("clamp-add").addEventListener("click", () => this.add(this.field.value));
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.add(this.field.value);
    });
    view.listen(["clamps"], () => this.show());
  }

  /** Hold a unit, at the top of what it did unless a value is given. */
  add(text, value = null) {
    const name = unitName(text, this.units);
    const clamps = this.view.get("clamps");
    if (!name) {
      const near = nearestUnit(text, this.units);
      return this.help(`There is no unit of that name. Did you mean `, near);
    }
    if (clamps.length >= MOST) return this.help(`${MOST} units can be held at once.`);
    this.help("");
    const held = { unit: name, value: value ?? this.rangeOf(name).maximum };
    this.view.set({ clamps: [...clamps.filter((one) => one.unit !== name), held] });
  }

  help(text, unit = null) {
    refill(byId("clamp-help"), text, ...(unit ? [unitButton(unit, () => this.add(unit)), "?"] : []));
  }

  /** Build the rows anew only when other units are held, so that a slider in use stays. */
  show() {
    const clamps = this.view.get("clamps");
    const known = JSON.stringify(clamps.map((one) => one.unit));
    if (known === this.known) return;
    this.known = known;
    refill(byId("clamps"), ...clamps.map((one) => this.row(one)));
  }

  row({ unit, value }) {
    const { minimum, maximum } = this.rangeOf(unit);
    const [low, high] = [Math.min(minimum, value), Math.max(maximum, value)];
    const told = el("output", {}, fixed(value));
    const slider = el("input", {
      type: "range", min: low, max: high, step: (high - low) / 200 || 0.01, value, "aria-label": `Hold ${unit} at`,
      oninput: () => {
        told.textContent = fixed(Number(slider.value));
        this.change(unit, Number(slider.value));
      },
    });
    return el("li", {}, el("code", {}, unit), el("span", { class: "ends" }, fixed(low)), slider,
      el("span", { class: "ends" }, fixed(high)), told,
      el("button", { type: "button", "aria-label": `Let go of ${unit}`, onclick: () => this.drop(unit) }, "let go"));
  }

  change(unit, value) {
    this.view.set({ clamps: this.view.get("clamps").map((one) => (one.unit === unit ? { unit, value } : one)) });
  }

  drop(unit) {
    this.view.set({ clamps: this.view.get("clamps").filter((one) => one.unit !== unit) });
  }
}
