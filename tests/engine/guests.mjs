// The two families of tests/families.py that stand for those that somebody else writes, for the engine: a family is
// an entry with its options and its branches, nothing more.

import { FAMILIES } from "../../src/unrolled/pages/engine.js";

const [attention] = FAMILIES.transformer.branches;
const number = { what: "a number", fits: Number.isFinite };

/** average = (1 - s) average + s tanh(W x) */
function leaky(kit, { speed }) {
  const [driveName, averageName] = kit.units(["drive", "average"], kit.width);
  const input = kit.linear("input.weight", "input.bias", kit.width, kit.width);
  const s = speed / (kit.index + 1);
  return {
    inputs: input,
    initial: () => ({ average: new Float32Array(kit.width) }),
    step(inputs, state, tap) {
      const drive = inputs.map(Math.tanh);
      tap?.(driveName, drive);
      const average = state.average.map((value, k) => (1 - s) * value + s * drive[k]);
      tap?.(averageName, average);
      return [average, { average }];
    },
  };
}

/** tanh(W x) */
function memoryless(kit) {
  const [name] = kit.units(["bump"], kit.width);
  const input = kit.linear("input.weight", "input.bias", kit.width, kit.width);
  return {
    inputs: input,
    initial: () => ({}),
    step(inputs, state, tap) {
      const bump = inputs.map(Math.tanh);
      tap?.(name, bump);
      return [bump, state];
    },
  };
}

export const guests = {
  toy: { options: { speed: number }, branches: [leaky] },
  guest: {
    options: { window: number },
    branches: [(kit, { window }) => attention(kit, { heads: 1 + kit.index, window }), memoryless],
  },
};
