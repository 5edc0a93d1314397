// Run the model over a text and keep what every unit did, how surprised the model was, and what it expected.
//
// Knows nothing about the page. Shapes: T characters of the text, N units of all groups together, 5 likeliest symbols.

import { EngineError, likeliest, nameOf, surprise } from "./engine.js";

const LIKELIEST = 5;
const MOST_NUMBERS = 1.2e8; // of 2 bytes; longer texts are read as far as this reaches
const FIRST_STEP = 2 ** -14; // sixteen bits then reach to 2; a unit's step is doubled when it goes further
const BINS = 256;

/** The characters (code points) of a text and the ids that stand for each. */
export function characters(text, vocabulary) {
  return [...text].map((piece) => ({ piece, ids: vocabulary.encode(piece) }));
}

/** A model's run over a text, done in slices: `advance(deadline)` until it returns true. */
export class Recording {
  constructor(model, vocabulary, text) {
    this.model = model;
    this.offsets = new Map();
    this.groups = [];
    let total = 0;
    for (const [group, size] of Object.entries(model.units)) {
      this.offsets.set(group, total);
      this.groups.push({ group, size, offset: total });
      total += size;
    }
    this.units = total;
    this.text = characters(text, vocabulary).slice(0, Math.floor(MOST_NUMBERS / total));
    this.length = this.text.length;
    this.done = 0;
    this.numbers = new Int16Array(this.length * total);
    this.steps = new Float64Array(total).fill(FIRST_STEP);
    this.surprises = new Float32Array(this.length).fill(NaN);
    this.expected = new Array(this.length).fill(null);
    this.place = { state: model.initialState(), logits: null };
    this.tap = (group, values) => this.keep(this.offsets.get(group), values);
  }

  /** Read on until the deadline (performance.now()); return whether all is read. */
  advance(deadline) {
    while (this.done < this.length && performance.now() < deadline) this.read();
    return this.done === this.length;
  }

  read() {
    const { ids } = this.text[this.done];
    let bits = 0;
    ids.forEach((id, at) => {
      if (this.place.logits) bits += surprise(this.place.logits, id);
      else bits = NaN;
      this.place = this.model.step(id, this.place.state, at === ids.length - 1 ? this.tap : null);
    });
    this.surprises[this.done] = bits;
    this.expected[this.done] = likeliest(this.place.logits, LIKELIEST);
    this.done++;
  }

  keep(offset, values) {
    const base = this.done * this.units + offset;
    for (let k = 0; k < values.length; k++) {
      let scaled = values[k] / this.steps[offset + k];
      if (scaled > 32767 || scaled < -32767) scaled = this.widen(offset + k, values[k]);
      this.numbers[base + k] = Math.round(scaled);
    }
  }

  /** Double a unit's step until the value fits, and bring what is kept to the new step. */
  widen(unit, value) {
    if (!Number.isFinite(value)) throw new EngineError("expected finite units, got others; the weights are damaged");
    let factor = 2;
    while (Math.abs(value) / (this.steps[unit] * factor) > 32767) factor *= 2;
    this.steps[unit] *= factor;
    for (let t = 0; t < this.done; t++) {
      const at = t * this.units + unit;
      this.numbers[at] = Math.round(this.numbers[at] / factor);
    }
    return value / this.steps[unit];
  }

  /** The number of a unit named by its group and index. */
  unit(group, index) {
    return this.offsets.get(group) + index;
  }

  /** The name of the unit with a number. */
  name(unit) {
    const { group, offset, size } = this.groups.find((one) => unit >= one.offset && unit < one.offset + one.size);
    return nameOf(group, unit - offset, { [group]: size });
  }

  /** What a unit did so far, Float32Array (done,). */
  values(unit) {
    const values = new Float32Array(this.done);
    for (let t = 0; t < this.done; t++) values[t] = this.numbers[t * this.units + unit] * this.steps[unit];
    return values;
  }

  /** What the model expects after a character: [{ id, probability }], null where it has not been yet. */
  expectedAfter(at) {
    return this.expected[at] ?? null;
  }
}

/** The ends of a colour scale: all but the outermost half percent at each end; minimum and maximum beside them. */
export function range(values) {
  if (values.length === 0) return { low: -1, high: 1, minimum: -1, maximum: 1 };
  const sorted = Float32Array.from(values).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const [minimum, maximum] = [sorted[0], sorted[sorted.length - 1]];
  const [low, high] = [at(0.005), at(0.995)];
  return high > low ? { low, high, minimum, maximum } : { low: minimum, high: maximum, minimum, maximum };
}

/**
 * How well each unit tells the characters from `start` to `end` (not included) from all others: the AUC, from
 * histograms of 256 bins. `advance(deadline)` until it returns true; then `best(n)`: [{ unit, score, on }].
 */
export class Comparison {
  constructor(recording, start, end) {
    Object.assign(this, { recording, start, end, done: 0 });
    this.scores = new Float64Array(recording.units);
    this.inside = new Float64Array(BINS);
    this.outside = new Float64Array(BINS);
  }

  advance(deadline) {
    while (this.done < this.recording.units && performance.now() < deadline) {
      this.scores[this.done] = this.auc(this.done);
      this.done++;
    }
    return this.done === this.recording.units;
  }

  auc(unit) {
    const { recording, start, end, inside, outside } = this;
    const { numbers, units, done: length } = recording;
    let [low, high] = [Infinity, -Infinity];
    for (let at = unit, t = 0; t < length; t++, at += units) {
      low = Math.min(low, numbers[at]);
      high = Math.max(high, numbers[at]);
    }
    if (low === high) return 0.5;
    inside.fill(0);
    outside.fill(0);
    const scale = (BINS - 1) / (high - low);
    for (let at = unit, t = 0; t < length; t++, at += units) {
      const bin = Math.round((numbers[at] - low) * scale);
      if (t >= start && t < end) inside[bin]++;
      else outside[bin]++;
    }
    let [below, wins] = [0, 0];
    for (let bin = 0; bin < BINS; bin++) {
      wins += inside[bin] * (below + outside[bin] / 2);
      below += outside[bin];
    }
    return wins / ((end - start) * (length - end + start));
  }

  /** The units that tell best, best first; `on` says whether they are higher inside. */
  best(howMany) {
    const strength = (unit) => Math.abs(this.scores[unit] - 0.5);
    return Array.from(this.scores.keys())
      .sort((a, b) => strength(b) - strength(a))
      .slice(0, howMany)
      .map((unit) => ({ unit: this.recording.name(unit), score: 0.5 + strength(unit), on: this.scores[unit] > 0.5 }));
  }
}
