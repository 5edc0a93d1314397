// Run a trained model, character by character: weights and configuration in; logits, units and text out.
//
// Knows nothing about pages, files or training. No dependencies, no DOM, no promises: it runs in a page, in a worker
// and in Node. It computes in float32 what unrolled/models computes in Python; families and units have the same names.
//
//   const model = new Model(config, weights, { wasm })         // config.json's "model", model.safetensors, kernel.wasm
//   let place = model.read(vocabulary.encode("Once upon"))     // a place in a text: { logits, state }
//   place = model.step(id, place.state, tap)                   // one character further; the old place stays good
//
// A state is a value: no call changes it, so keeping it is all that "go back" needs. A tap is a function
// (group, values) that is shown every group of units at every step, `layer1.cell` for example, and may write into the
// Float32Array of values: the model goes on with what it leaves there. The array is used again; copy what you keep.
//
// Shapes: V vocabulary, D width, N units, G stacked gates, H heads, K head width, W window.

const EPSILON = 1e-6; // RMSNorm's
const ROTARY_BASE = 10000;
const MAX_HEADER = 1e8; // bytes, as in the safetensors format
const UNKNOWN_ID = 0; // read, but never written

export class EngineError extends Error {
  name = "EngineError";
}

function fail(expected, received, remedy) {
  throw new EngineError(`expected ${expected}, got ${received}; ${remedy}`);
}

/** Any value as printable ASCII in one short piece: names in files may hold anything. */
function quoted(value) {
  const text = JSON.stringify(value) ?? "nothing";
  return text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).slice(0, 80);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// ---------------------------------------------------------------------------------------------------- weights

/** The tensors of a safetensors file (float16 and float32), read as float32 when they are taken. */
export class Weights {
  constructor(bytes) {
    this.bytes = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes;
    const size = this.bytes.byteLength;
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, size);
    if (size < 8) damaged(`${size} bytes`);
    const header = Number(this.view.getBigUint64(0, true));
    if (header > Math.min(MAX_HEADER, size - 8)) damaged(`a header of ${header} bytes in a file of ${size}`);
    this.start = 8 + header;
    let tensors;
    try {
      tensors = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(this.bytes.subarray(8, this.start)));
    } catch {
      damaged("a header that is not JSON");
    }
    if (!isObject(tensors)) damaged("a header that is not an object");
    this.tensors = new Map(Object.entries(tensors).filter(([name]) => name !== "__metadata__"));
    let end = 0;
    for (const [name, tensor] of this.tensors) end = Math.max(end, this.checked(name, tensor));
    if (end !== size - this.start) damaged(`${size - this.start} bytes of numbers where the header says ${end}`);
  }

  /** Check one entry of the header; return where its numbers end. */
  checked(name, tensor) {
    const { dtype, shape, data_offsets: offsets } = isObject(tensor) ? tensor : {};
    const natural = (list) => Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
    if (!natural(shape) || !natural(offsets) || offsets.length !== 2) damaged(`${quoted(name)} without shape or place`);
    if (dtype !== "F16" && dtype !== "F32") {
      fail("weights in F16 or F32", `${quoted(name)} in ${quoted(dtype)}`, "convert them");
    }
    const bytes = shape.reduce((product, n) => product * n, dtype === "F16" ? 2 : 4);
    if (offsets[1] - offsets[0] !== bytes || offsets[1] > this.bytes.byteLength - this.start) {
      damaged(`${quoted(name)} with ${quoted(shape)} numbers at ${quoted(offsets)}`);
    }
    return offsets[1];
  }

  /** Return one tensor as a fresh Float32Array and forget it; null in `shape` fits any size. */
  take(name, shape) {
    const tensor = this.tensors.get(name);
    const wanted = `a tensor ${name} of shape (${shape.map((n) => n ?? "any").join(", ")})`;
    if (!tensor) fail(wanted, "none of that name", "use the weights that belong to this configuration");
    if (tensor.shape.length !== shape.length || tensor.shape.some((n, axis) => n !== (shape[axis] ?? n))) {
      fail(wanted, `shape (${tensor.shape.join(", ")})`, "use the weights that belong to this configuration");
    }
    const [begin, end] = tensor.data_offsets.map((offset) => offset + this.start);
    const half = tensor.dtype === "F16";
    const numbers = new Float32Array((end - begin) / (half ? 2 : 4));
    for (let i = 0; i < numbers.length; i++) {
      const at = begin + (half ? 2 : 4) * i;
      numbers[i] = half ? float16(this.view.getUint16(at, true)) : this.view.getFloat32(at, true);
    }
    if (!numbers.every(Number.isFinite)) fail("finite weights", `others in ${name}`, "use those that training wrote");
    this.tensors.delete(name);
    return numbers;
  }
}

function damaged(received) {
  fail("weights in safetensors format", received, "the file is damaged or cut short: use the one that training wrote");
}

function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1024 + fraction) * POWERS[exponent];
}

const POWERS = Array.from({ length: 31 }, (_, exponent) => 2 ** (exponent - 25));

// ---------------------------------------------------------------------------------------------------- kernels

/**
 * Return what multiplies matrices with vectors: `linear(weight, bias, rows, columns)` gives a function (x, y) that
 * writes bias + W x into y and returns y. `name` says which kernel it is: WebAssembly, or plain JavaScript where
 * that is missing or forbidden by a content-security policy (`reason` says why).
 */
export function createKernel(wasm) {
  if (!wasm) return plainKernel("no kernel given");
  if (typeof WebAssembly !== "object") return plainKernel("no WebAssembly here");
  try {
    return wasmKernel(new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports);
  } catch (error) {
    return plainKernel(String(error?.message ?? error));
  }
}

function plainKernel(reason) {
  function linear(weight, bias, rows, columns) {
    return (x, y) => {
      let row = 0;
      for (let w = 0; row + 3 < rows; row += 4, w += 4 * columns) {
        let sum0 = bias[row], sum1 = bias[row + 1], sum2 = bias[row + 2], sum3 = bias[row + 3];
        for (let j = 0; j < columns; j++) {
          const x_j = x[j];
          sum0 += weight[w + j] * x_j;
          sum1 += weight[w + columns + j] * x_j;
          sum2 += weight[w + 2 * columns + j] * x_j;
          sum3 += weight[w + 3 * columns + j] * x_j;
        }
        y[row] = sum0;
        y[row + 1] = sum1;
        y[row + 2] = sum2;
        y[row + 3] = sum3;
      }
      for (; row < rows; row++) {
        let sum = bias[row];
        for (let j = 0; j < columns; j++) sum += weight[row * columns + j] * x[j];
        y[row] = sum;
      }
      return y;
    };
  }
  return { name: "javascript", reason, linear };
}

const BLOCK = 16; // rows that kernel.wat computes together

function wasmKernel({ memory, matvec }) {
  let floats = new Float32Array(memory.buffer);
  let used = 0;
  function reserve(count) {
    const start = used;
    used += Math.ceil(count / BLOCK) * BLOCK;
    if (used > floats.length) {
      try {
        memory.grow(Math.ceil((used - floats.length) / 16384));
      } catch {
        fail(`${Math.ceil(used / 2 ** 18)} MB of memory for the weights`, "less", "close pages or use a smaller model");
      }
      floats = new Float32Array(memory.buffer);
    }
    return start;
  }
  function linear(weight, bias, rows, columns) {
    const padded = Math.ceil(rows / BLOCK) * BLOCK;
    const [w, b, x_at, y_at] = [padded * columns, padded, columns, padded].map(reserve);
    for (let row = 0; row < rows; row++) {
      const block = w + (row - (row % BLOCK)) * columns + (row % BLOCK);
      for (let j = 0; j < columns; j++) floats[block + j * BLOCK] = weight[row * columns + j];
    }
    floats.set(bias, b);
    return (x, y) => {
      floats.set(x, x_at);
      matvec(4 * w, 4 * b, 4 * x_at, 4 * (x_at + columns), 4 * y_at, 4 * (y_at + padded));
      y.set(floats.subarray(y_at, y_at + rows));
      return y;
    };
  }
  return { name: "wasm", reason: "", linear };
}

// ---------------------------------------------------------------------------------------------------- pieces of layers

const zeros = (length) => new Float32Array(length);
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** x Phi(x); the error function by Abramowitz and Stegun, 7.1.26, good to 1.5e-7. */
function gelu(x) {
  const z = Math.abs(x) * Math.SQRT1_2;
  const t = 1 / (1 + 0.3275911 * z);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp(-z * z); // Phi(-|x|)
  return x * (x < 0 ? tail : 1 - tail);
}

/** Python's round(): halves go to the even neighbour. */
function round(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * The last `limit` vectors that a layer saw: a value that shares its storage with its descendants. Vectors are
 * appended to a log that everybody may read up to their own end; who is not at its end starts a log of their own.
 */
class Past {
  constructor(width, limit, log = { data: zeros(0), end: 0 }, end = 0, filled = 0) {
    Object.assign(this, { width, limit, log, end, filled });
  }

  /** Return the past after one more vector. */
  after(vector) {
    const { width, limit, filled } = this;
    let { log, end } = this;
    if (log.end !== end || (end + 1) * width > log.data.length) {
      const data = zeros(Math.max(4, 2 * filled + 2) * width);
      data.set(log.data.subarray((end - filled) * width, end * width));
      log = { data, end: filled };
      end = filled;
    }
    log.data.set(vector, end * width);
    log.end = end + 1;
    return new Past(width, limit, log, end + 1, Math.min(filled + 1, limit));
  }

  /** Return where in `log.data` the vector of `ago` steps ago starts (0 is the newest; `ago` < `filled`). */
  start(ago) {
    return (this.end - 1 - ago) * this.width;
  }
}

// ---------------------------------------------------------------------------------------------------- families
//
// A branch is { inputs, step, initial }: `inputs(x)` is what it makes of its input vector alone (the stack remembers
// it per symbol for the first branch, so nobody may write into it), `step(inputs, state, tap)` returns [y, state],
// where y may be used again at the next step. `kit` gives a branch its size, its weights and the names of its units.

const identity = (x) => x;

/** h = tanh(W x + b + U h + c) */
function elman(kit) {
  const n = kit.width;
  const [hiddenName] = kit.units(["hidden"], n);
  const input = kit.linear("weight_ih", "bias_ih", n, n);
  const recurrent = kit.linear("weight_hh", "bias_hh", n, n);
  return {
    inputs: input,
    initial: () => ({ hidden: zeros(n) }),
    step(inputs, state, tap) {
      const hidden = recurrent(state.hidden, zeros(n));
      for (let k = 0; k < n; k++) hidden[k] = Math.tanh(inputs[k] + hidden[k]);
      tap?.(hiddenName, hidden);
      return [hidden, { hidden }];
    },
  };
}

/** r, z = sigmoid(W x + b + U h + c);  n = tanh(W x + b + r * (U h + c));  h = (1 - z) * n + z * h */
function gru(kit) {
  const n = kit.width;
  const names = kit.units(["reset_gate", "update_gate", "candidate", "hidden"], n);
  const input = kit.linear("weight_ih", "bias_ih", 3 * n, n);
  const recurrent = kit.linear("weight_hh", "bias_hh", 3 * n, n);
  const products = zeros(3 * n);
  const [r, z, candidate] = [zeros(n), zeros(n), zeros(n)];
  return {
    inputs: input,
    initial: () => ({ hidden: zeros(n) }),
    step(inputs, state, tap) {
      recurrent(state.hidden, products);
      for (let k = 0; k < n; k++) {
        r[k] = sigmoid(inputs[k] + products[k]);
        z[k] = sigmoid(inputs[n + k] + products[n + k]);
      }
      tap?.(names[0], r);
      tap?.(names[1], z);
      for (let k = 0; k < n; k++) candidate[k] = Math.tanh(inputs[2 * n + k] + r[k] * products[2 * n + k]);
      tap?.(names[2], candidate);
      const hidden = zeros(n);
      for (let k = 0; k < n; k++) hidden[k] = (1 - z[k]) * candidate[k] + z[k] * state.hidden[k];
      tap?.(names[3], hidden);
      return [hidden, { hidden }];
    },
  };
}

/** i, f, o = sigmoid(W x + b + U h + c);  g = tanh(the same);  cell = f * cell + i * g;  h = o * tanh(cell) */
function lstm(kit) {
  const n = kit.width;
  const names = kit.units(["input_gate", "forget_gate", "candidate", "output_gate", "cell", "hidden"], n);
  const input = kit.linear("weight_ih", "bias_ih", 4 * n, n);
  const recurrent = kit.linear("weight_hh", "bias_hh", 4 * n, n);
  const gates = zeros(4 * n);
  const [i, f, g, o] = [0, 1, 2, 3].map((gate) => gates.subarray(gate * n, (gate + 1) * n));
  return {
    inputs: input,
    initial: () => ({ hidden: zeros(n), cell: zeros(n) }),
    step(inputs, state, tap) {
      recurrent(state.hidden, gates);
      for (let k = 0; k < 2 * n; k++) gates[k] = sigmoid(inputs[k] + gates[k]);
      for (let k = 2 * n; k < 3 * n; k++) gates[k] = Math.tanh(inputs[k] + gates[k]);
      for (let k = 3 * n; k < 4 * n; k++) gates[k] = sigmoid(inputs[k] + gates[k]);
      tap?.(names[0], i);
      tap?.(names[1], f);
      tap?.(names[2], g);
      tap?.(names[3], o);
      const cell = zeros(n);
      for (let k = 0; k < n; k++) cell[k] = f[k] * state.cell[k] + i[k] * g[k];
      tap?.(names[4], cell);
      const hidden = zeros(n);
      for (let k = 0; k < n; k++) hidden[k] = o[k] * Math.tanh(cell[k]);
      tap?.(names[5], hidden);
      return [hidden, { hidden, cell }];
    },
  };
}

/** z = sigmoid(W x + b);  n = V x + c;  h = (1 - z or 1 - 2 z) * h + z * n;  y = W h + b */
function minGRU(kit, { expansion, negative }) {
  const n = Math.max(1, round(expansion * kit.width));
  const names = kit.units(["update_gate", "candidate", "hidden"], n);
  const gate = kit.linear("gate.weight", "gate.bias", n, kit.width);
  const candidate = kit.linear("candidate.weight", "candidate.bias", n, kit.width);
  const output = kit.linear("output.weight", "output.bias", kit.width, n);
  const both = zeros(2 * n);
  const [z, c, y] = [both.subarray(0, n), both.subarray(n), zeros(kit.width)];
  return {
    inputs(x) {
      gate(x, z);
      candidate(x, c);
      for (let k = 0; k < n; k++) z[k] = sigmoid(z[k]);
      return both;
    },
    initial: () => ({ hidden: zeros(n) }),
    step(inputs, state, tap) {
      both.set(inputs); // a tap may write into them
      tap?.(names[0], z);
      tap?.(names[1], c);
      const hidden = zeros(n);
      for (let k = 0; k < n; k++) hidden[k] = (1 - (negative ? 2 * z[k] : z[k])) * state.hidden[k] + z[k] * c[k];
      tap?.(names[2], hidden);
      return [output(hidden, y), { hidden }];
    },
  };
}

/** A causal convolution with dilation: `y(past, out)` writes b + sum_j W_j x_(t - (K-1-j) d). */
function convolution(kit, weight, bias, outputs, { kernel, cycle }) {
  const dilation = 2 ** (kit.index % cycle);
  const d = kit.width;
  const product = kit.linear(weight, bias, outputs, kernel * d, [outputs, kernel, d]);
  const taken = zeros(kernel * d);
  function convolve(past, out) {
    for (let j = 0; j < kernel; j++) {
      const ago = (kernel - 1 - j) * dilation;
      const start = past.start(ago);
      if (ago < past.filled) taken.set(past.log.data.subarray(start, start + d), j * d);
      else taken.fill(0, j * d, (j + 1) * d);
    }
    return product(taken, out);
  }
  return { empty: () => new Past(d, (kernel - 1) * dilation + 1), convolve };
}

/** a = relu(W * x + b);  y = relu(V * a + c), both causal convolutions */
function tcn(kit, options) {
  const d = kit.width;
  const names = kit.units(["inner", "channel"], d);
  const first = convolution(kit, "inner_weight", "inner_bias", d, options);
  const second = convolution(kit, "channel_weight", "channel_bias", d, options);
  const [inner, channel] = [zeros(d), zeros(d)];
  return {
    inputs: identity,
    initial: () => ({ past: first.empty(), innerPast: second.empty() }),
    step(x, state, tap) {
      const past = state.past.after(x);
      first.convolve(past, inner);
      for (let k = 0; k < d; k++) inner[k] = Math.max(0, inner[k]);
      tap?.(names[0], inner);
      const innerPast = state.innerPast.after(inner);
      second.convolve(innerPast, channel);
      for (let k = 0; k < d; k++) channel[k] = Math.max(0, channel[k]);
      tap?.(names[1], channel);
      return [channel, { past, innerPast }];
    },
  };
}

/** f = tanh(W * x + b);  g = sigmoid(V * x + c), both causal convolutions;  y = U (f * g) + e */
function waveNet(kit, options) {
  const d = kit.width;
  const names = kit.units(["filter", "gate", "channel"], d);
  const both = convolution(kit, "weight", "bias", 2 * d, options);
  const output = kit.linear("output.weight", "output.bias", d, d);
  const gates = zeros(2 * d);
  const [filter, gate] = [gates.subarray(0, d), gates.subarray(d)];
  const [channel, y] = [zeros(d), zeros(d)];
  return {
    inputs: identity,
    initial: () => ({ past: both.empty() }),
    step(x, state, tap) {
      const past = state.past.after(x);
      both.convolve(past, gates);
      for (let k = 0; k < d; k++) filter[k] = Math.tanh(filter[k]);
      for (let k = 0; k < d; k++) gate[k] = sigmoid(gate[k]);
      tap?.(names[0], filter);
      tap?.(names[1], gate);
      for (let k = 0; k < d; k++) channel[k] = filter[k] * gate[k];
      tap?.(names[2], channel);
      return [output(channel, y), { past }];
    },
  };
}

/**
 * Attention over the last W characters with rotary positions. Turning query and key each by their position and taking
 * the product is turning the pair by their distance, so keys are kept unturned and angles go by `ago` alone.
 */
function attention(kit, { heads, window }) {
  const headWidth = Math.max(2, 2 * round(kit.width / heads / 2));
  const [n, half] = [heads * headWidth, headWidth / 2];
  const [name] = kit.units(["attention"], n);
  const product = kit.linear("query_key_value.weight", "query_key_value.bias", 3 * n, kit.width);
  const output = kit.linear("output.weight", "output.bias", kit.width, n);
  const [cosine, sine, scores] = [zeros(window * half), zeros(window * half), zeros(window)];
  for (let at = 0; at < window * half; at++) {
    const angle = Math.floor(at / half) * ROTARY_BASE ** (-(at % half) / half);
    cosine[at] = Math.cos(angle);
    sine[at] = Math.sin(angle);
  }
  const [mixed, y] = [zeros(n), zeros(kit.width)];

  /** Fill `scores` with softmax(q k / sqrt(K)) of the head whose numbers start at `head`. */
  function attend(query, past, head) {
    const keys = past.log.data;
    let largest = -Infinity;
    for (let ago = 0; ago < past.filled; ago++) {
      const key = past.start(ago) + head;
      let sum = 0;
      for (let k = 0; k < half; k++) {
        const q1 = query[head + k], q2 = query[head + half + k];
        const k1 = keys[key + k], k2 = keys[key + half + k];
        sum += cosine[ago * half + k] * (q1 * k1 + q2 * k2) + sine[ago * half + k] * (q1 * k2 - q2 * k1);
      }
      scores[ago] = sum / Math.sqrt(headWidth);
      largest = Math.max(largest, scores[ago]);
    }
    let total = 0;
    for (let ago = 0; ago < past.filled; ago++) total += scores[ago] = Math.exp(scores[ago] - largest);
    for (let ago = 0; ago < past.filled; ago++) scores[ago] /= total;
  }

  return {
    inputs: product,
    initial: () => ({ past: new Past(2 * n, window) }),
    step(inputs, state, tap) {
      const past = state.past.after(inputs.subarray(n));
      const values = past.log.data;
      mixed.fill(0);
      for (let head = 0; head < n; head += headWidth) {
        attend(inputs, past, head);
        for (let ago = 0; ago < past.filled; ago++) {
          const value = past.start(ago) + n + head;
          for (let k = 0; k < headWidth; k++) mixed[head + k] += scores[ago] * values[value + k];
        }
      }
      tap?.(name, mixed);
      return [output(mixed, y), { past }];
    },
  };
}

/** y = V gelu(W x + b) + c */
function mlp(kit, { expansion }) {
  const n = Math.max(1, round(expansion * kit.width));
  const [name] = kit.units(["mlp"], n);
  const up = kit.linear("up.weight", "up.bias", n, kit.width);
  const down = kit.linear("down.weight", "down.bias", kit.width, n);
  const [hidden, y] = [zeros(n), zeros(kit.width)];
  return {
    inputs: identity,
    initial: () => ({}),
    step(x, state, tap) {
      up(x, hidden);
      for (let k = 0; k < n; k++) hidden[k] = gelu(hidden[k]);
      tap?.(name, hidden);
      return [down(hidden, y), state];
    },
  };
}

/**
 * A recurrent controller with a memory: it reads r from it, then h = tanh(W x + b + U h + V r), or an LSTM's; what it
 * emits, E h + e, acts on the memory. `memory` is { reading, reads, units, emits, initial, read, act }: read(state, r)
 * writes what is read into r; act(emitted, state, show) returns the memory's new part of the state, and calls
 * show?.(at, values, size) for each of its `units`, with `size` where every so many of the values are shares.
 */
function controller(kit, { gated }, memory) {
  const n = kit.width;
  const stacked = gated ? 4 * n : n;
  const { reads, emits } = memory;
  const [readName] = kit.units([memory.reading], reads);
  const gateNames = gated ? kit.units(["input_gate", "forget_gate", "candidate", "output_gate", "cell"], n) : [];
  const [hiddenName] = kit.units(["hidden"], n);
  const names = memory.units.map(([name, size]) => kit.units([name], size)[0]);
  const input = kit.linear("weight_ih", "bias", stacked, n);
  const recurrent = kit.linear("weight_hh", null, stacked, n);
  const reading = kit.linear("weight_rh", null, stacked, reads);
  const emit = kit.linear("emit.weight", "emit.bias", emits, n);
  const [pre, added, read] = [zeros(stacked), zeros(stacked), zeros(reads)];
  const [i, f, g, o] = [0, 1, 2, 3].map((gate) => pre.subarray(gate * n, (gate + 1) * n));

  function think(state, tap) {
    const hidden = zeros(n);
    if (!gated) {
      for (let k = 0; k < n; k++) hidden[k] = Math.tanh(pre[k]);
      tap?.(hiddenName, hidden);
      return { hidden };
    }
    for (let k = 0; k < 4 * n; k++) pre[k] = k >= 2 * n && k < 3 * n ? Math.tanh(pre[k]) : sigmoid(pre[k]);
    [i, f, g, o].forEach((gate, at) => tap?.(gateNames[at], gate));
    const cell = zeros(n);
    for (let k = 0; k < n; k++) cell[k] = f[k] * state.cell[k] + i[k] * g[k];
    tap?.(gateNames[4], cell);
    for (let k = 0; k < n; k++) hidden[k] = o[k] * Math.tanh(cell[k]);
    tap?.(hiddenName, hidden);
    return { hidden, cell };
  }

  return {
    inputs: input,
    initial: () => ({ hidden: zeros(n), ...(gated && { cell: zeros(n) }), ...memory.initial() }),
    step(inputs, state, tap) {
      memory.read(state, read);
      tap?.(readName, read);
      recurrent(state.hidden, pre);
      reading(read, added);
      for (let k = 0; k < stacked; k++) pre[k] += inputs[k] + added[k];
      const after = think(state, tap);
      const show = tap && ((at, values, size) => {
        const before = values.slice();
        tap(names[at], values);
        if (size && values.some((value, k) => value !== before[k])) bounded(values, size);
      });
      return [after.hidden, { ...after, ...memory.act(emit(after.hidden), state, show) }];
    },
  };
}

/** Turn each `size` of the numbers into shares that add up to 1. */
function shares(numbers, size) {
  for (let start = 0; start < numbers.length; start += size) softmax(numbers.subarray(start, start + size), 1);
  return numbers;
}

/** Hold shares that a tap changed to [0, 1], and each `size` of them to at most 1 in all, or a memory would grow. */
function bounded(numbers, size) {
  for (let start = 0; start < numbers.length; start += size) {
    let total = 0;
    for (let k = start; k < start + size; k++) total += numbers[k] = Math.min(1, Math.max(0, numbers[k]));
    if (total > 1) for (let k = start; k < start + size; k++) numbers[k] /= total;
  }
}

/** Stacks of `depth` cells: each is pushed to, popped from and kept in proportion; the lowest cell falls out. */
function stackRNN(kit, { depth, cell, stacks, gated }) {
  const reads = stacks * cell;
  const size = depth * cell;
  return controller(kit, { gated }, {
    reading: "top",
    reads,
    emits: 3 * stacks + reads,
    units: [["action", 3 * stacks], ["pushed", reads]],
    initial: () => ({ stack: zeros(stacks * size) }),
    read({ stack }, top) {
      for (let s = 0; s < stacks; s++) top.set(stack.subarray(s * size, s * size + cell), s * cell);
    },
    act(emitted, { stack: before }, show) {
      const action = shares(emitted.subarray(0, 3 * stacks), 3);
      const pushed = emitted.subarray(3 * stacks);
      for (let k = 0; k < reads; k++) pushed[k] = Math.tanh(pushed[k]);
      show?.(0, action, 3);
      show?.(1, pushed);
      const stack = zeros(stacks * size);
      for (let s = 0; s < stacks; s++) {
        const [push, pop, keep] = action.subarray(3 * s, 3 * s + 3);
        for (let k = 0, at = s * size; k < size; k++, at++) {
          const above = k < cell ? pushed[s * cell + k] : before[at - cell];
          const below = k + cell < size ? before[at + cell] : 0;
          stack[at] = push * above + pop * below + keep * before[at];
        }
      }
      return { stack };
    },
  });
}

/** Tapes, rings of `cells` cells: the head, a share for each cell, reads, writes and moves; home leaves a mark. */
function tapeRNN(kit, { cells, cell, tapes, gated }) {
  const reads = tapes * cell;
  const size = cells * cell;
  const start = zeros(tapes * cells).map((_, at) => (at % cells === 0 ? 1 : 0));
  return controller(kit, { gated }, {
    reading: "read",
    reads,
    emits: 5 * tapes + 2 * reads,
    units: [["action", 5 * tapes], ["write", reads], ["written", reads], ["head", tapes * cells]],
    initial: () => ({ tape: zeros(tapes * size), head: start, mark: start }),
    read({ tape, head }, read) {
      read.fill(0);
      for (let p = 0; p < tapes * cells; p++) {
        const into = Math.floor(p / cells) * cell;
        for (let k = 0; k < cell; k++) read[into + k] += head[p] * tape[p * cell + k];
      }
    },
    act(emitted, before, show) {
      const action = shares(emitted.subarray(0, 5 * tapes), 5);
      const write = emitted.subarray(5 * tapes, 5 * tapes + reads);
      const written = emitted.subarray(5 * tapes + reads);
      for (let k = 0; k < reads; k++) write[k] = sigmoid(write[k]);
      for (let k = 0; k < reads; k++) written[k] = Math.tanh(written[k]);
      show?.(0, action, 5);
      show?.(1, write, 1);
      show?.(2, written);
      const [tape, head, mark] = [before.tape.slice(), zeros(tapes * cells), zeros(tapes * cells)];
      for (let p = 0; p < tapes * cells; p++) {
        const s = Math.floor(p / cells);
        for (let k = 0, at = p * cell, from = s * cell; k < cell; k++, at++, from++) {
          tape[at] += write[from] * before.head[p] * (written[from] - tape[at]);
        }
        const [stay, right, left, home, back] = action.subarray(5 * s, 5 * s + 5);
        const at = p - s * cells;
        const [from, to] = [s * cells + ((at + cells - 1) % cells), s * cells + ((at + 1) % cells)];
        head[p] = stay * before.head[p] + right * before.head[from] + left * before.head[to];
        head[p] += home * start[p] + back * before.mark[p];
        mark[p] = before.mark[p] + home * (before.head[p] - before.mark[p]);
      }
      show?.(3, head, cells);
      return { tape, head, mark };
    },
  });
}

/** h = tanh(b + sum_j W_j x_(t - (W-1-j)));  y = V h + c: a perceptron over the last W inputs */
function fixedWindow(kit, { window, expansion }) {
  const n = Math.max(1, round(expansion * kit.width));
  const [name] = kit.units(["hidden"], n);
  const seen = convolution(kit, "weight", "bias", n, { kernel: window, cycle: 1 });
  const output = kit.linear("output.weight", "output.bias", kit.width, n);
  const [hidden, y] = [zeros(n), zeros(kit.width)];
  return {
    inputs: identity,
    initial: () => ({ past: seen.empty() }),
    step(x, state, tap) {
      const past = state.past.after(x);
      seen.convolve(past, hidden);
      for (let k = 0; k < n; k++) hidden[k] = Math.tanh(hidden[k]);
      tap?.(name, hidden);
      return [output(hidden, y), { past }];
    },
  };
}

/**
 * u = f(W x + U r + V u + b) in float64: units in levels, V from lower to higher ones, r those that are remembered.
 * With names each unit is a group of its own, and stacks and counters are exact or an error (models/circuit.py).
 */
function circuit(kit, { units, registers, outputs, stacks, counters, cells }) {
  const named = units.length > 0;
  const n = named ? units.length : kit.width;
  const at = new Map(units.map(([name], k) => [name, k]));
  // What is remembered comes first among the groups, and before all what is 0 or 1, as in models/circuit.py; the work
  // is done in the order of levels.
  const yesNo = registers.filter((name) => ["clip", "step"].includes(units[at.get(name)][2]));
  const groups = [...new Set([...yesNo, ...registers, ...at.keys()])];
  const full = kit.units(named ? groups : ["hidden"], named ? 1 : n);
  const names = named ? units.map(([name]) => full[groups.indexOf(name)]) : full;
  const kept = named ? registers.map((name) => at.get(name)) : Array.from({ length: n }, (_, k) => k);
  const written = named ? outputs.map((name) => at.get(name)) : kept;
  const place = new Map(registers.map((name, r) => [name, r]));
  const input = sparse(kit.tensor("input", [n, kit.width]), n, kit.width);
  const recurrent = sparse(kit.tensor("recurrent", [n, kept.length]), n, kept.length);
  const blocks = units.filter(([, level, kind], k) => k === 0 || level !== units[k - 1][1] || kind !== units[k - 1][2]);
  const within = blocks.length > 1 ? sparse(kit.tensor("within", [n, n]), n, n) : Array(n).fill([]);
  units.forEach(([, level], k) => (within[k] = within[k].filter(([from]) => units[from][1] < level)));
  const bias = kit.tensor("bias", [n]);
  const shown = zeros(named ? 1 : n);

  /** Show units to a tap as it is used to them; return whether it changed one. What it left alone stays float64. */
  function show(tap, name, values, first) {
    for (let k = 0; k < shown.length; k++) shown[k] = values[first + k];
    tap(name, shown);
    let changed = false;
    for (let k = 0; k < shown.length; k++) {
      if (shown[k] === Math.fround(values[first + k])) continue;
      values[first + k] = shown[k];
      changed = true;
    }
    return changed;
  }

  return {
    inputs(x) {
      return Float64Array.from(input, (row, k) => dot(row, x, bias[k]));
    },
    initial: () => ({
      registers: new Float64Array(kept.length), steps: 0, edited: false, cells: stacks.map(() => []),
    }),
    step(inputs, state, tap) {
      const values = new Float64Array(n);
      let { edited } = state;
      for (let k = 0; k < n; k++) {
        const sum = dot(within[k], values, dot(recurrent[k], state.registers, inputs[k]));
        values[k] = saturated[named ? units[k][2] : "clip"](sum);
        if (tap && named) edited = show(tap, names[k], values, k) || edited;
      }
      if (tap && !named) show(tap, names[0], values, 0);
      const after = { ...state, registers: Float64Array.from(kept, (k) => values[k]), steps: state.steps + 1 };
      after.edited = edited && after.registers.some((value) => value !== 0);
      for (const [name, largest] of counters) {
        if (!after.edited && after.registers[place.get(name)] > largest) outgrown(name, `count to ${largest}`, after);
      }
      stacks.forEach((stack, s) => settle(stack, s, place.get(stack[0]), cells, after));
      const y = zeros(kit.width);
      written.forEach((k, column) => (y[column] = values[k]));
      return [y, after];
    },
  };
}

const saturated = {
  clip: (sum) => Math.min(1, Math.max(0, sum)),
  step: (sum) => (sum > 0 ? 1 : 0),
  relu: (sum) => Math.max(0, sum),
  linear: (sum) => sum,
};

/** The numbers of each row that are not 0, as [column, number]. */
function sparse(matrix, rows, columns) {
  return Array.from({ length: rows }, (_, row) => {
    const found = [];
    for (let j = 0; j < columns; j++) if (matrix[row * columns + j] !== 0) found.push([j, matrix[row * columns + j]]);
    return found;
  });
}

function dot(row, x, start) {
  let sum = start;
  for (const [j, weight] of row) sum += weight * x[j];
  return sum;
}

function outgrown(unit, allowed, { steps }) {
  const name = unit.replace(/\.value$/, "");
  fail(`${name} to ${allowed}`, `more at step ${steps}`, "give a shorter input, or more memory cells to the machine");
}

/** Keep one stack within its bounds after a step: move its lowest symbols into a cell, or take the last cell back. */
function settle([name, bits, deepest, moved], s, r, most, after) {
  const value = after.registers[r];
  const deeper = (symbols) => !Number.isInteger(value * 2 ** (bits * symbols));
  if (most === 0) {
    if (!after.edited && deeper(deepest)) outgrown(name, `hold at most ${deepest} symbols`, after);
    return;
  }
  let held = value === 0 ? [] : after.cells[s]; // a newline has emptied the stack
  if (deeper(2 * moved)) {
    const scale = 2 ** (bits * (moved + (deeper(2 * moved + 1) ? 2 : 1)));
    const high = Math.floor(value * scale) / scale;
    if (held.length < most) held = [...held, (value - high) * scale];
    else if (!after.edited) outgrown(name, `fit into its ${most} memory cells`, after);
    after.registers[r] = high;
  } else if (held.length > 0 && !deeper(1)) {
    after.registers[r] = value + held.at(-1) / 2 ** bits;
    held = held.slice(0, -1);
  }
  after.cells = after.cells.map((old, k) => (k === s ? held : old));
}

const flag = { what: "true or false", fits: (value) => typeof value === "boolean" };
const number = { what: "a number", fits: Number.isFinite };
const positive = { what: "a number above 0", fits: (value) => Number.isFinite(value) && value > 0 };
const count = (low, high) => ({
  what: `a whole number from ${low} to ${high}`,
  fits: (value) => Number.isInteger(value) && value >= low && value <= high,
});
const controlled = { cell: count(1, 1024), gated: flag };
const reach = { kernel: count(2, 64), cycle: count(1, 14) };

/** A list of rows whose values have these types; without types, of names. */
const rowsOf = (...types) => ({
  what: `a list of ${types.length ? `(${types.join(", ")})` : "names"}`,
  fits: (value) => Array.isArray(value) && value.every((row) => types.length
    ? Array.isArray(row) && row.length === types.length && row.every((cell, k) => typeof cell === types[k])
    : typeof row === "string"),
});

/** Each family: the options that its configuration must have, and the residual branches of one layer. */
export const FAMILIES = {
  rnn: { options: {}, branches: [elman] },
  lstm: { options: { forget_bias: number }, branches: [lstm] },
  gru: { options: {}, branches: [gru] },
  mingru: { options: { negative: flag, expansion: positive }, branches: [minGRU] },
  tcn: { options: reach, branches: [tcn] },
  wavenet: { options: reach, branches: [waveNet] },
  transformer: {
    options: { heads: count(1, 256), window: count(1, 65536), expansion: positive },
    branches: [attention, mlp],
  },
  stackrnn: { options: { depth: count(1, 65536), stacks: count(1, 64), ...controlled }, branches: [stackRNN] },
  tapernn: { options: { cells: count(2, 65536), tapes: count(1, 64), ...controlled }, branches: [tapeRNN] },
  window: { options: { window: count(1, 1024), expansion: positive }, branches: [fixedWindow] },
  circuit: {
    options: {
      units: rowsOf("string", "number", "string"),
      registers: rowsOf(),
      outputs: rowsOf(),
      stacks: rowsOf("string", "number", "number", "number"),
      counters: rowsOf("string", "number"),
      cells: count(0, 2 ** 20),
      precision: count(32, 64),
    },
    branches: [circuit],
  },
};

const STACK = { width: count(1, 65536), plain: flag, dropout: number };

/** Refuse an object that has not exactly the options given, each with a fitting value. */
function checkOptions(what, found, options) {
  if (!isObject(found)) fail(`${what} as an object`, quoted(found), "restore the configuration");
  for (const name of Object.keys(found)) {
    if (!Object.hasOwn(options, name)) fail(`an option of ${what}`, quoted(name), "this page cannot run such a model");
  }
  for (const [name, { what: kind, fits }] of Object.entries(options)) {
    if (!fits(found[name])) fail(`${name} of ${what} to be ${kind}`, quoted(found[name]), "restore the configuration");
  }
}

// ---------------------------------------------------------------------------------------------------- the model

/**
 * A model, ready to step. `config` is ModelConfig.to_json() of Python, `weights` the bytes of model.safetensors, `wasm`
 * those of kernel.wasm (or null). `families` may hold others than FAMILIES. Throws EngineError.
 *
 * `units` is { group: size } in the order of computation, `vocabularySize` is V, `kernel` says what multiplies.
 */
export class Model {
  constructor(config, weights, { wasm = null, families = FAMILIES } = {}) {
    if (!isObject(config) || !Array.isArray(config.layers)) {
      fail("a model with the keys stack and layers", quoted(config), "restore the configuration");
    }
    checkOptions("the stack", config.stack, STACK);
    const tensors = new Weights(weights);
    const { width, plain } = config.stack;
    this.width = width;
    this.plain = plain;
    this.units = {};
    this.kernel = createKernel(wasm);
    this.embedding = tensors.take("embedding.weight", [null, width]);
    this.vocabularySize = this.embedding.length / width;
    this.branches = [];
    this.gains = [];
    const seen = {};
    config.layers.forEach((layer, at) => {
      const { family, ...options } = isObject(layer) ? layer : {};
      if (!Object.hasOwn(families, family)) {
        fail("a family among " + Object.keys(families).join(", "), quoted(family), "this page cannot run such a model");
      }
      checkOptions(family, options, families[family].options);
      const index = (seen[family] = (seen[family] ?? -1) + 1);
      for (const build of families[family].branches) {
        const number = this.branches.length;
        if (!plain) this.gains.push(tensors.take(`norms.${number}.gain`, [width]));
        this.branches.push(build(this.kit(tensors, `branches.${number}.`, `layer${at}.`, index), options));
      }
    });
    if (!plain) this.gains.push(tensors.take("final_norm.gain", [width]));
    this.readout = this.kit(tensors, "", "", 0).linear("readout.weight", "readout.bias", this.vocabularySize, width);
    const [left] = tensors.tensors.keys();
    if (left !== undefined) {
      fail("weights that belong to this configuration", `a tensor ${quoted(left)} too many`, "use both of one run");
    }
    this.firstInputs = new Array(this.vocabularySize);
    this.normed = zeros(width);
  }

  /** What one branch is built with; `index` counts the earlier layers of its family. */
  kit(tensors, prefix, unitPrefix, index) {
    return {
      width: this.width,
      index,
      units: (names, size) =>
        names.map((name) => {
          this.units[unitPrefix + name] = size;
          return unitPrefix + name;
        }),
      tensor: (name, shape) => tensors.take(prefix + name, shape),
      linear: (weight, bias, rows, columns, shape = [rows, columns]) => {
        const [w, y] = [tensors.take(prefix + weight, shape), zeros(rows)];
        const b = bias === null ? zeros(rows) : tensors.take(prefix + bias, [rows]);
        const product = this.kernel.linear(w, b, rows, columns);
        return (x, out = y) => product(x, out);
      },
    };
  }

  /** The state of a text of which nothing was read yet. */
  initialState() {
    return this.branches.map((branch) => branch.initial());
  }

  /** Read one symbol from `state` on; return { logits, state }, both new: V float32 logits of the next symbol. */
  step(id, state, tap = null) {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabularySize) {
      fail(`a symbol below ${this.vocabularySize}`, quoted(id), "encode text with this model's vocabulary");
    }
    let x = this.embedding.slice(id * this.width, (id + 1) * this.width);
    const after = [];
    this.branches.forEach((branch, b) => {
      const read = () => branch.inputs(this.norm(x, b));
      const inputs = b === 0 ? (this.firstInputs[id] ??= read().slice()) : read();
      const [y, own] = branch.step(inputs, state[b], tap);
      after.push(own);
      if (this.plain) x = y;
      else for (let k = 0; k < x.length; k++) x[k] += y[k];
    });
    return { logits: this.readout(this.norm(x, this.branches.length), zeros(this.vocabularySize)), state: after };
  }

  /** Read symbols, at least one; return the place after them. */
  read(ids, state = this.initialState(), tap = null) {
    if (ids.length === 0) fail("at least one character to read", "none", "give a prompt");
    let place = { state };
    for (const id of ids) place = this.step(id, place.state, tap);
    return place;
  }

  /** Yield { id, place } for ever: the symbol drawn and the place after it. One uniform number per symbol. */
  *write(place, options, random, tap = null) {
    for (;;) {
      const id = draw(distribution(place.logits, options), random.uniform());
      place = this.step(id, place.state, tap);
      yield { id, place };
    }
  }

  /** x over its root mean square, times the gain of the norm number `at`; x itself in a plain stack. */
  norm(x, at) {
    if (this.plain) return x;
    const gain = this.gains[at];
    let squares = 0;
    for (let k = 0; k < x.length; k++) squares += x[k] * x[k];
    const scale = 1 / Math.sqrt(squares / x.length + EPSILON);
    for (let k = 0; k < x.length; k++) this.normed[k] = x[k] * scale * gain[k];
    return this.normed;
  }
}

// ---------------------------------------------------------------------------------------------------- taps

/** Read a unit's name, `layer1.cell[137]`; return [group, index]. A group of one unit needs no index. */
export function parseUnit(text, units) {
  if (Object.hasOwn(units, text.trim()) && units[text.trim()] === 1) return [text.trim(), 0];
  const [, group, digits] = /^([^[\]]+)\[(\d+)\]$/.exec(text.trim()) ?? [];
  if (group === undefined) fail("a unit such as layer0.hidden[12]", quoted(text), "name one unit");
  if (!Object.hasOwn(units, group)) {
    fail("a group of units of this model", quoted(group), "choose one of " + Object.keys(units).join(", "));
  }
  const index = Number(digits);
  if (index >= units[group]) fail(`an index below ${units[group]}`, `${group}[${digits}]`, "choose a smaller index");
  return [group, index];
}

/** The name that `parseUnit` reads: a group of one unit needs no index. */
export function nameOf(group, index, units) {
  return units[group] === 1 ? group : `${group}[${index}]`;
}

/** A tap that holds units at values: clamp(model.units, { "layer1.cell[137]": 1 }). A unit's mean ablates it. */
export function clamp(units, values) {
  const held = new Map();
  for (const [name, value] of Object.entries(values)) {
    const [group, index] = parseUnit(name, units);
    if (!Number.isFinite(value)) fail(`a number for ${name}`, quoted(value), "give one");
    held.set(group, [...(held.get(group) ?? []), [index, value]]);
  }
  return (group, numbers) => {
    for (const [index, value] of held.get(group) ?? []) numbers[index] = value;
  };
}

/** Keep the latest values of all units: `tap`, `values` (one Float32Array) and `offsets` { group: first index }. */
export function record(units) {
  const offsets = {};
  let total = 0;
  for (const [group, size] of Object.entries(units)) {
    offsets[group] = total;
    total += size;
  }
  const values = zeros(total);
  return { values, offsets, tap: (group, numbers) => values.set(numbers, offsets[group]) };
}

/** One tap after the other: chain(clamp(...), record(...).tap) records what the model uses. */
export function chain(...taps) {
  return (group, numbers) => {
    for (const tap of taps) tap(group, numbers);
  };
}

// ---------------------------------------------------------------------------------------------------- predicting

/** The probabilities (Float64Array) that logits stand for, the unknown symbol's included. */
export function probabilities(logits) {
  return softmax(Float64Array.from(logits), 1);
}

/** The likeliest next symbols, best first: [{ id, probability }]. */
export function likeliest(logits, howMany = 5) {
  const p = probabilities(logits);
  return falling(logits).slice(0, howMany).map((id) => ({ id, probability: p[id] }));
}

/** How surprising the symbol `id` was, in bits. */
export function surprise(logits, id) {
  const largest = logits[best(logits)];
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - largest);
  return (Math.log(total) + largest - logits[id]) / Math.LN2;
}

/**
 * The probabilities from which the next symbol is drawn; the unknown symbol has none. `temperature` divides the logits
 * (0 takes the likeliest), then `topK` keeps the k likeliest, then `topP` keeps the smallest set that reaches p.
 */
export function distribution(logits, { temperature = 1, topK = null, topP = null } = {}) {
  const within = (value, low, high) => typeof value === "number" && value >= low && value <= high;
  if (!within(temperature, 0, 100)) fail("a temperature from 0 to 100", quoted(temperature), "0.5 to 1.2 is usual");
  if (topK !== null && !(Number.isInteger(topK) && topK >= 1)) fail("a top-k of at least 1", quoted(topK), "raise it");
  if (topP !== null && !(within(topP, 0, 1) && topP > 0)) fail("a top-p in (0, 1]", quoted(topP), "0.9 is usual");
  const weights = Float64Array.from(logits);
  weights[UNKNOWN_ID] = -Infinity;
  if (temperature === 0) {
    const id = best(weights);
    weights.fill(0)[id] = 1;
    return weights;
  }
  softmax(weights, temperature);
  if (topK !== null) keep(weights, falling(weights).slice(0, topK));
  if (topP !== null) {
    let before = 0;
    keep(weights, falling(weights).filter((id) => {
      const wanted = before < topP;
      before += weights[id];
      return wanted;
    }));
  }
  return weights;
}

/** The symbol at which the cumulative distribution passes `uniform`, a number in [0, 1). */
export function draw(p, uniform) {
  let total = 0;
  for (let id = 0; id < p.length; id++) total += p[id];
  let sum = 0;
  let last = 0;
  for (let id = 0; id < p.length; id++) {
    sum += p[id];
    if (p[id] > 0) last = id;
    if (sum > uniform * total) return id;
  }
  return last;
}

/** The id of the largest logit, the first of equals. */
function best(logits) {
  let id = 0;
  for (let other = 0; other < logits.length; other++) {
    if (logits[other] > logits[id]) id = other;
    if (Number.isNaN(logits[other])) fail("logits that are numbers", "NaN", "use the weights that training wrote");
  }
  if (!Number.isFinite(logits[id])) fail("finite logits", `${logits[id]}`, "use the weights that training wrote");
  return id;
}

function softmax(logits, temperature) {
  const largest = logits[best(logits)];
  for (let id = 0; id < logits.length; id++) logits[id] = Math.exp((logits[id] - largest) / temperature);
  return scaled(logits);
}

function scaled(weights) {
  let total = 0;
  for (const weight of weights) total += weight;
  for (let id = 0; id < weights.length; id++) weights[id] /= total;
  return weights;
}

function keep(weights, ids) {
  const kept = new Set(ids);
  for (let id = 0; id < weights.length; id++) if (!kept.has(id)) weights[id] = 0;
  scaled(weights);
}

/** Symbols from the likeliest to the least; the first of equals first. */
function falling(weights) {
  return Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a]);
}

/** Uniform random numbers, the same everywhere for a seed: sfc32 (Doty-Humphrey), seeded through splitmix32. */
export class Random {
  constructor(seed) {
    if (!Number.isSafeInteger(seed) || seed < 0) fail("a whole number as seed", quoted(seed), "0 or more");
    let z = (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1);
    const split = () => {
      z = (z + 0x9e3779b9) | 0;
      let mixed = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
      return (mixed ^ (mixed >>> 16)) | 0;
    };
    this.words = [split(), split(), split(), 1];
    for (let round = 0; round < 12; round++) this.next();
  }

  /** The next 32 bits. */
  next() {
    const [a, b, c, counter] = this.words;
    const out = (a + b + counter) | 0;
    this.words = [b ^ (b >>> 9), (c + (c << 3)) | 0, (((c << 21) | (c >>> 11)) + out) | 0, (counter + 1) | 0];
    return out >>> 0;
  }

  /** A number in [0, 1) with 53 random bits. */
  uniform() {
    return ((this.next() >>> 5) * 2 ** 26 + (this.next() >>> 6)) / 2 ** 53;
  }

  /** An independent generator that goes on from here with the same numbers. */
  copy() {
    return Object.assign(Object.create(Random.prototype), { words: this.words });
  }
}

// ---------------------------------------------------------------------------------------------------- text

/** Characters, or bytes of UTF-8, to ids and back: what vocabulary.json holds. Id 0 is the unknown symbol. */
export class Vocabulary {
  constructor(json) {
    const { version, kind, symbols } = isObject(json) ? json : {};
    const single = (symbol) => typeof symbol === "string" && [...symbol].length === 1;
    if (version !== 1 || (kind !== "characters" && kind !== "bytes")) {
      fail("a vocabulary of version 1", quoted({ version, kind }), "use the file that training wrote");
    }
    if (!Array.isArray(symbols) || symbols[UNKNOWN_ID] !== "\ufffd" || !symbols.every(single)) {
      fail("a vocabulary of single characters, U+FFFD first", quoted(symbols), "use the file that training wrote");
    }
    if (new Set(symbols).size < symbols.length || (kind === "bytes" && symbols.slice(1).some((s) => s > "\xff"))) {
      fail(`different ${kind} as symbols`, quoted(symbols), "use the file that training wrote");
    }
    this.kind = kind;
    this.symbols = symbols;
    this.ids = new Map(symbols.map((symbol, id) => [symbol, id]));
  }

  /** The ids of a text, one per code point (or byte); 0 for what was never seen. */
  encode(text) {
    const pieces = this.kind === "bytes" ? Array.from(utf8(text), (byte) => String.fromCharCode(byte)) : text;
    return Array.from(pieces, (piece) => this.ids.get(piece) ?? UNKNOWN_ID);
  }

  /** The text of ids. Bytes that are not UTF-8 come as lone surrogates U+DC80 to U+DCFF, which encode back to them. */
  decode(ids) {
    const decoder = this.decoder();
    return Array.from(ids, (id) => decoder.feed(id)).join("") + decoder.flush();
  }

  /** A fresh decoder for streaming: feed(id) returns the text that is complete with it, flush() what is left. */
  decoder() {
    if (this.kind === "characters") return { feed: (id) => this.symbols[id], flush: () => "" };
    const bytes = new Utf8Decoder();
    const unknown = [0xef, 0xbf, 0xbd];
    return {
      feed: (id) => (id === UNKNOWN_ID ? unknown : [this.symbols[id].charCodeAt(0)]).map((b) => bytes.feed(b)).join(""),
      flush: () => bytes.flush(),
    };
  }
}

/** UTF-8, with lone surrogates U+DC80 to U+DCFF as the bytes that they stand for. */
function utf8(text) {
  const encoder = new TextEncoder();
  const parts = text.split(/([\udc80-\udcff])/u); // every second part is a lone surrogate
  return parts.flatMap((part, at) => (at % 2 ? [part.charCodeAt(0) - 0xdc00] : [...encoder.encode(part)]));
}

/** UTF-8 byte by byte; each byte that cannot belong to a character comes as a lone surrogate. */
class Utf8Decoder {
  pending = [];

  feed(byte) {
    const [lead] = this.pending;
    if (lead === undefined) {
      if (byte < 0x80) return String.fromCharCode(byte);
      if (byte < 0xc2 || byte > 0xf4) return escaped(byte);
      this.pending = [byte];
      return "";
    }
    const second = this.pending.length === 1;
    const low = second && lead === 0xe0 ? 0xa0 : second && lead === 0xf0 ? 0x90 : 0x80;
    const high = second && lead === 0xed ? 0x9f : second && lead === 0xf4 ? 0x8f : 0xbf;
    if (byte < low || byte > high) return this.flush() + this.feed(byte);
    this.pending.push(byte);
    const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (this.pending.length < length) return "";
    const rest = this.pending.slice(1);
    this.pending = [];
    const start = lead & (0xff >> (length + 1));
    return String.fromCodePoint(rest.reduce((bits, next) => (bits << 6) | (next & 0x3f), start));
  }

  flush() {
    const text = this.pending.map(escaped).join("");
    this.pending = [];
    return text;
  }
}

const escaped = (byte) => String.fromCharCode(0xdc00 + byte);
