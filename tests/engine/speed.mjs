// Characters a second on one core, on both kernels: node tests/engine/speed.mjs MODEL [CHARACTERS]
// MODEL names MODEL.json (the configuration) and MODEL.safetensors; the median of five turns is printed.

import { readFileSync } from "node:fs";
import { Model, Random, record } from "../../src/unrolled/pages/engine.js";

const [path, characters = "2000"] = process.argv.slice(2);
const wasm = readFileSync(new URL("../../src/unrolled/pages/kernel.wasm", import.meta.url));
const config = JSON.parse(readFileSync(`${path}.json`, "utf8"));

for (const bytes of [wasm, null]) {
  const model = new Model(config, readFileSync(`${path}.safetensors`), { wasm: bytes });
  for (const [what, tap] of [["writing", null], ["writing, every unit watched", record(model.units).tap]]) {
    const rates = [0, 1, 2, 3, 4, 5].map((seed) => {
      const stream = model.write(model.read([1], model.initialState(), tap), {}, new Random(seed), tap);
      const start = performance.now();
      for (let n = 0; n < Number(characters); n++) stream.next();
      return (1000 * Number(characters)) / (performance.now() - start);
    });
    const [, , median] = rates.slice(1).sort((a, b) => a - b); // the first turn warms up
    console.log(`${model.kernel.name}, ${what}: ${Math.round(median)} characters a second`);
  }
}
