// What only JavaScript can see of the engine: states as values, damaged files, a page without WebAssembly.
// Run by tests/test_pages_engine.py, which writes one small model of each kind into the folder MODELS.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import * as engine from "../../src/unrolled/pages/engine.js";
import { guests } from "./guests.mjs";

const folder = process.env.MODELS;
const names = readdirSync(folder).filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -5));
const wasm = readFileSync(new URL("../../src/unrolled/pages/kernel.wasm", import.meta.url));
const families = { ...engine.FAMILIES, ...guests };
const config = (name) => JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
const weights = (name) => readFileSync(`${folder}/${name}.safetensors`);
const open = (name, options = { wasm }) => new engine.Model(config(name), weights(name), { families, ...options });
const tokens = (seed, length) => {
  const random = new engine.Random(seed);
  return Array.from({ length }, () => Math.floor(11 * random.uniform()));
};

/** Assert that a call is refused in one printable line that holds `word`. */
function refused(call, word = "") {
  assert.throws(call, (error) => {
    assert.equal(error.name, "EngineError", error.stack);
    assert.match(error.message, /^expected [ -~]+, got [ -~]+; [ -~]+$/);
    assert.ok(error.message.includes(word), error.message);
    return true;
  });
}

test("there are models", () => assert.ok(names.length >= 12));

for (const name of names) {
  test(`an old state of ${name} is good for ever`, () => {
    const model = open(name);
    // A random walk over a tree of places: whichever is gone on from, its text alone decides.
    const places = [{ text: [], place: { state: model.initialState() } }];
    const random = new engine.Random(3);
    const pick = (length) => Math.floor(length * random.uniform());
    for (let step = 0; step < 250; step++) {
      const latest = places.length - 1;
      const { text, place } = places[random.uniform() < 0.95 ? latest : pick(places.length)];
      const id = pick(11);
      places.push({ text: [...text, id], place: model.step(id, place.state) });
    }
    assert.ok(Math.max(...places.map(({ text }) => text.length)) > 30);
    const fresh = open(name);
    for (const { text, place } of places.slice(1)) {
      assert.deepEqual(fresh.read(text).logits, place.logits);
      assert.deepEqual(fresh.read([...text, 5]).logits, model.step(5, place.state).logits);
    }
  });

  test(`a tap that only looks changes nothing in ${name}, and one that writes changes no old state`, () => {
    const model = open(name);
    const text = tokens(1, 20);
    const calm = model.read(text);
    const seen = {};
    const watched = model.read(text, model.initialState(), (group, values) => {
      assert.ok(values instanceof Float32Array);
      assert.equal(values.length, model.units[group]);
      seen[group] = (seen[group] ?? 0) + 1;
    });
    assert.deepEqual(watched.logits, calm.logits);
    assert.deepEqual(seen, Object.fromEntries(Object.keys(model.units).map((group) => [group, text.length])));
    const before = model.step(4, calm.state).logits;
    const shouted = model.step(4, calm.state, (_, values) => values.fill(0.9));
    assert.notDeepEqual(shouted.logits, before);
    assert.deepEqual(model.step(4, calm.state).logits, before);
    assert.deepEqual(model.read(text).logits, calm.logits);
  });
}

test("a past longer than its log, and one of nothing", () => {
  const model = open("transformer-heads"); // windows of 1 and 33
  const text = tokens(5, 300);
  // Only the windows can be remembered: a text with another beginning ends in the same place.
  assert.deepEqual(model.read(text).logits, model.read([...tokens(6, 77), ...text.slice(50)]).logits);
});

test("clamped and untouched twins from the same random numbers", () => {
  const model = open("lstm");
  const random = new engine.Random(11);
  const twin = random.copy();
  const write = (numbers, tap) => {
    const stream = model.write(model.read([1, 2]), { temperature: 0.9 }, numbers, tap);
    return Array.from({ length: 50 }, () => stream.next().value.id);
  };
  const text = write(random, null);
  assert.deepEqual(write(twin.copy(), engine.clamp(model.units, {})), text);
  assert.notDeepEqual(write(twin, engine.clamp(model.units, { "layer1.cell[3]": 5, "layer1.cell[4]": -5 })), text);
  assert.deepEqual(random.words, twin.words); // one number per character, whatever was written
  assert.ok(!text.includes(0));
});

test("a recorder after a clamp shows what the model uses", () => {
  const model = open("gru");
  const { values, offsets, tap } = engine.record(model.units);
  model.step(3, model.initialState(), engine.chain(engine.clamp(model.units, { "layer1.hidden[2]": 0.25 }), tap));
  assert.equal(values[offsets["layer1.hidden"] + 2], 0.25);
  assert.equal(values.length, Object.values(model.units).reduce((sum, size) => sum + size));
});

test("weights cut short at any byte", () => {
  const bytes = new Uint8Array(weights("narrow"));
  new engine.Model(config("narrow"), bytes);
  new engine.Model(config("narrow"), bytes.buffer);
  for (let size = 0; size < bytes.length; size++) {
    refused(() => new engine.Model(config("narrow"), bytes.slice(0, size)), "safetensors");
  }
  refused(() => new engine.Model(config("narrow"), Uint8Array.from([...bytes, 0])), "safetensors");
});

test("weights at any place of a buffer", () => {
  const bytes = weights("narrow");
  const shifted = new Uint8Array(bytes.length + 3);
  shifted.set(bytes, 3);
  const model = new engine.Model(config("narrow"), shifted.subarray(3), { wasm });
  assert.deepEqual(model.read([1, 2, 3]).logits, open("narrow").read([1, 2, 3]).logits);
});

/** A safetensors file with this header (an object, or text) and so many bytes of numbers. */
function file(header, size = 0) {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + size);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

test("weights with a header of nonsense", () => {
  const tensor = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  assert.deepEqual([...new engine.Weights(file({ __metadata__: { a: "b" }, w: tensor }, 8)).tensors.keys()], ["w"]);
  const texts = ["", "null", "[]", "3", "{", `{"w": null}`, `{"w": []}`, `{"w": 3}`, "\xff"];
  const nonsense = texts.map((text) => file(text));
  for (const part of [
    { shape: [3] },
    { shape: [-2] },
    { shape: ["2"] },
    { shape: null },
    { shape: [2 ** 40, 2 ** 40] },
    { data_offsets: [8, 0] },
    { data_offsets: [0, 16] },
    { data_offsets: [-8, 0] },
    { data_offsets: [0, 8, 8] },
    { data_offsets: "08" },
  ]) {
    nonsense.push(file({ w: { ...tensor, ...part } }, 8));
  }
  nonsense.push(Uint8Array.from([255, 255, 255, 255, 255, 255, 255, 255, 123, 125]));
  for (const bytes of nonsense) refused(() => new engine.Weights(bytes), "safetensors");
  for (const dtype of ["BF16", "I8", undefined, "\u202e\n"]) {
    refused(() => new engine.Weights(file({ w: { ...tensor, dtype } }, 8)), "F16 or F32");
  }
});

test("weights that are not finite, and every float16", () => {
  const header = { w: { dtype: "F16", shape: [65536], data_offsets: [0, 131072] } };
  const bytes = file(header, 131072);
  const view = new DataView(bytes.buffer, bytes.length - 131072);
  const finite = (bits) => ((bits >> 10) & 31) !== 31;
  for (let bits = 0; bits < 65536; bits++) view.setUint16(2 * bits, finite(bits) ? bits : 0, true);
  const numbers = new engine.Weights(bytes).take("w", [null]);
  assert.equal(numbers[0x0001], 2 ** -24);
  assert.equal(numbers[0x03ff], 1023 * 2 ** -24);
  assert.equal(numbers[0x0400], 2 ** -14);
  assert.equal(numbers[0x3c00], 1);
  assert.equal(numbers[0xc0a0], -2.3125);
  assert.equal(numbers[0x7bff], 65504);
  assert.ok(Object.is(numbers[0x8000], -0));
  for (let bits = 1; bits < 0x7c00; bits++) {
    assert.ok(numbers[bits] > numbers[bits - 1]);
    assert.equal(numbers[bits | 0x8000], -numbers[bits]);
  }
  for (const bits of [0x7c00, 0xfc00, 0x7e01]) {
    view.setUint16(300, bits, true);
    refused(() => new engine.Weights(bytes).take("w", [65536]), "finite weights");
  }
});

test("logits that are no numbers are refused, never drawn from", () => {
  for (const bad of [[0, NaN, 1], [0, 1, NaN], [0, Infinity, 1]]) {
    const logits = Float32Array.from(bad);
    for (const temperature of [0, 1]) refused(() => engine.distribution(logits, { temperature }), "logits");
    refused(() => engine.likeliest(logits), "logits");
    refused(() => engine.surprise(logits, 2), "logits");
  }
  const impossible = Float32Array.from([0, -Infinity, 2, -Infinity, -Infinity]);
  assert.deepEqual([...engine.distribution(impossible)], [0, 0, 1, 0, 0]);
  assert.deepEqual(engine.likeliest(impossible).map(({ id }) => id), [2, 0, 1, 3, 4]);
  assert.equal(engine.surprise(impossible, 1), Infinity);
});

test("the kernel asks for nothing and is two names", () => {
  const module = new WebAssembly.Module(wasm);
  assert.deepEqual(WebAssembly.Module.imports(module), []);
  const exported = WebAssembly.Module.exports(module).map(({ name, kind }) => `${kind} ${name}`);
  assert.deepEqual(exported, ["memory memory", "function matvec"]);
});

test("where WebAssembly is missing, forbidden or broken, plain JavaScript multiplies and says why", () => {
  const there = WebAssembly;
  const forbidden = class {
    constructor() {
      throw new there.CompileError("Refused to compile: 'wasm-unsafe-eval' is not allowed");
    }
  };
  const cases = [
    [wasm.subarray(0, 100), there, /./],
    [wasm, undefined, /no WebAssembly/],
    [wasm, { ...there, Module: forbidden }, /wasm-unsafe-eval/],
    [null, there, /no kernel/],
  ];
  const expected = open("lstm", { wasm: null }).read([1, 2, 3]).logits;
  for (const [bytes, found, why] of cases) {
    globalThis.WebAssembly = found;
    try {
      const model = open("lstm", { wasm: bytes });
      assert.equal(model.kernel.name, "javascript");
      assert.match(model.kernel.reason, why);
      assert.deepEqual(model.read([1, 2, 3]).logits, expected);
    } finally {
      globalThis.WebAssembly = there;
    }
  }
  assert.equal(open("lstm").kernel.name, "wasm");
});

test("memory grows with the weights, and more than there can be is refused", () => {
  const kernel = engine.createKernel(wasm);
  const ones = (length) => new Float32Array(length).fill(1);
  const small = kernel.linear(ones(6), ones(2), 2, 3);
  const large = kernel.linear(ones(300 * 1000), ones(300), 300, 1000);
  assert.deepEqual([...small(ones(3), ones(2))], [4, 4]);
  assert.deepEqual([...large(ones(1000), ones(300))], Array(300).fill(1001));
  refused(() => kernel.linear(ones(0), ones(0), 70000, 20000), "memory");
});
