// Do what the Python tests ask of the engine: a list of jobs as JSON on standard input, their answers as JSON out.
// A job is { do: name, ...arguments }; one that throws answers { error, name }.

import { readFileSync } from "node:fs";
import * as engine from "../../src/unrolled/pages/engine.js";
import { guests } from "./guests.mjs";

const wasm = readFileSync(new URL("../../src/unrolled/pages/kernel.wasm", import.meta.url));
const numbers = (list) => list.map((number) => number ?? -Infinity); // JSON has no infinity
const list = (array) => Array.from(array);

/** The model that a job names by the path of its files, and whether it runs on WebAssembly. */
function open(job) {
  const config = JSON.parse(readFileSync(`${job.model}.json`, "utf8"));
  const weights = readFileSync(`${job.model}.safetensors`);
  const families = { ...engine.FAMILIES, ...guests };
  return new engine.Model(config, weights, { wasm: job.wasm ? wasm : null, families });
}

const jobs = {
  families: () => Object.keys(engine.FAMILIES),

  /** Read tokens, all units recorded, with `clamps` in force for the steps [from, to). */
  read({ tokens, clamps = {}, from = 0, to = Infinity, ...job }) {
    const model = open(job);
    const { values, tap } = engine.record(model.units);
    const clamped = engine.chain(engine.clamp(model.units, clamps), tap);
    const answer = { units: Object.entries(model.units), kernel: model.kernel.name, logits: [], values: [] };
    let state = model.initialState();
    tokens.forEach((token, t) => {
      const place = model.step(token, state, t >= from && t < to ? clamped : tap);
      state = place.state;
      answer.logits.push(list(place.logits));
      answer.values.push(list(values));
    });
    return answer;
  },

  /** Write with uniform numbers that were drawn elsewhere. */
  write({ prompt, options, uniforms, ...job }) {
    const model = open(job);
    const random = { uniform: () => uniforms.shift() };
    const text = [];
    const stream = model.write(model.read(prompt), options, random);
    while (uniforms.length > 0) text.push(stream.next().value.id);
    return text;
  },

  /** bias + W x by both kernels. */
  linear({ weight, bias, x }) {
    const flat = Float32Array.from(weight.flat());
    const [rows, columns] = [bias.length, x.length];
    return [wasm, null].map((bytes) => {
      const product = engine.createKernel(bytes).linear(flat, Float32Array.from(bias), rows, columns);
      return list(product(Float32Array.from(x), new Float32Array(rows)));
    });
  },

  distribution: ({ logits, options }) => list(engine.distribution(numbers(logits), options)),
  draw: ({ probabilities, uniforms }) => uniforms.map((uniform) => engine.draw(probabilities, uniform)),
  likeliest: ({ logits }) => [engine.likeliest(logits), logits.map((_, id) => engine.surprise(logits, id))],
  parseUnit: ({ text, units }) => engine.parseUnit(text, units),
  uniforms({ seed, count }) {
    const random = new engine.Random(seed);
    return Array.from({ length: count }, () => random.uniform());
  },

  encode: ({ vocabulary, text }) => new engine.Vocabulary(vocabulary).encode(text),
  decode({ vocabulary, ids }) {
    const decoder = new engine.Vocabulary(vocabulary).decoder();
    const pieces = [...ids.map((id) => decoder.feed(id)), decoder.flush()];
    return { pieces, text: new engine.Vocabulary(vocabulary).decode(ids) };
  },
};

const answers = JSON.parse(readFileSync(0, "utf8")).map((job) => {
  try {
    return jobs[job.do](job);
  } catch (error) {
    return { error: error.message, name: error.name };
  }
});
process.stdout.write(JSON.stringify(answers));
