// The recurrences of Elman, GRU and LSTM layers over time in bfloat16.
//
// Layout. Time is the outer axis: every array is [T][B][...]. Units come in blocks of 16; the G gates of a block stand
// side by side, so a row of gates is [N/16][G][16]. Lanes are split between threads once per call: nobody waits for
// anybody at a time step.
//
// Inputs are products W x. They are computed here, a few steps ahead of the recurrence, so that they never leave the
// cache; or, where `tokens` [T][B] are given, they are rows of a table of such products. What flows back into x is
// computed a few steps behind, for the same reason. Biases are added here.
//
// Where somebody watches, the gates stand apart instead, [G][T][B][N]: nothing has to be sorted afterwards.
//
// Shapes: T time, B lanes, D inputs and N units (multiples of 16), G gates, K the length of a product's inner axis.

#include "products.h"

namespace {

constexpr int STEPS = 4;  // ahead or behind: the more, the less often the weights are read, and the more are forgotten

// The products of this step, lane by lane.
struct Inputs {
    const bf16 *rows;
    const int64_t *tokens;
    size_t length;

    Inputs(const bf16 *rows, const int64_t *tokens, int t, int B, size_t length)
        : rows(tokens ? rows : rows + size_t(t) * B * length), tokens(tokens ? tokens + size_t(t) * B : tokens),
          length(length) {}

    const bf16 *operator[](int b) const { return rows + (tokens ? size_t(tokens[b]) : size_t(b)) * length; }
};

// Where the gates of one step lie: side by side in blocks, for the backward pass; or each in an array of its own.
template <int G>
struct Gates {
    bf16 *first;
    size_t lane, block, gate;

    Gates(bf16 *all, int t, int T, int B, int N, bool apart)
        : first(all + size_t(t) * B * N * (apart ? 1 : G)), lane(size_t(apart ? 1 : G) * N),
          block(apart ? 16 : G * 16), gate(apart ? size_t(T) * B * N : 16) {}

    bf16 *at(int row, int column) const { return first + row * lane + column * block; }

    void soon(int row, int column) const {
        if (gate == 16) soon_written(at(row, column), G * 32);
        else
            for (int g = 0; g < G; ++g) soon_written(at(row, column) + g * gate, 32);
    }
};

// What is between two products waits here, and is done row by row during the next product: the units that multiply are
// then never idle.
template <class Job>
struct Waiting {
    Job job;
    int first, rows = 0, done = 0;
    alignas(64) float sums[8][4][16];

    inline __attribute__((always_inline)) void one() {
        if (done < rows) {
            job.finish(first + done, sums[done][0]);
            ++done;
        }
    }

    void all() {
        while (done < rows) one();
    }

    template <int R, int C>
    inline __attribute__((always_inline)) void take(const __m512 (&acc)[R][C], const Job &of, int b) {
        job = of;
        first = b;
        rows = R;
        done = 0;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) _mm512_store_ps(sums[r][c], acc[r][c]);
    }
};

// A product in so many pieces.
template <int Count>
struct Pieces {
    const int pairs, piece;
    int at = 0;

    explicit Pieces(int pairs) : pairs(pairs), piece((pairs + Count - 1) / Count) {}

    template <int R, int C>
    inline __attribute__((always_inline)) void next(__m512 (&acc)[R][C], const bf16 *a, size_t a_stride, const bf16 *w) {
        const int some = pairs - at < piece ? pairs - at : piece;
        accumulate<R, C>(acc, a + 2 * at, a_stride, w + size_t(at) * 32, some, 2, size_t(pairs) * 32);
        at += some;
    }
};

// ---- LSTM ------------------------------------------------------------------------------------------------------

struct LSTMForward {
    int B, N;
    Inputs inputs;        // rows [N/16][4][16]
    const float *bias;    // [N/16][4][16]
    const bf16 *before;   // [B][N] hidden before this step
    const bf16 *weight;   // packed, K = N
    const float *cell_before;
    bf16 *hidden;
    Gates<4> gates;       // i, f, g, o
    float *cell;
    int block;

    template <int R>
    void run(int b) {
        __m512 acc[R][4];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int g = 0; g < 4; ++g) {
                const int at = block * 64 + g * 16;
                acc[r][g] = add(load(inputs[b + r] + at), _mm512_loadu_ps(bias + at));
            }
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16;
            soon(inputs[b + r] + (block + 1) * 64, 128);
            gates.soon(b + r, block);
            soon(cell_before + at, 64);
            soon_written(cell + at, 64);
            soon_written(hidden + at, 32);
        }
        accumulate<R, 4>(acc, before + size_t(b) * N, N, weight + size_t(block) * 4 * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16;
            const __m512 i = rounded(gate_sigmoid(acc[r][0])), f = rounded(gate_sigmoid(acc[r][1]));
            const __m512 g = rounded(gate_tanh(acc[r][2])), o = rounded(gate_sigmoid(acc[r][3]));
            const __m512 c = _mm512_fmadd_ps(f, _mm512_loadu_ps(cell_before + at), mul(i, g));
            _mm512_storeu_ps(cell + at, c);
            store(hidden + at, mul(o, gate_tanh(c)));
            bf16 *out = gates.at(b + r, block);
            store(out, i); store(out + gates.gate, f);
            store(out + 2 * gates.gate, g); store(out + 3 * gates.gate, o);
        }
    }
};

// Gradients of one step: what comes from above, plus what the later step's gates send back through the weights.
struct LSTMBackward {
    int B, N;
    bool last;            // no later step: `later` is not read
    const bf16 *above;    // [B][N] gradient of this step's hidden
    const bf16 *later;    // [B][N/16][4][16] gradients of the later step's gates
    const bf16 *weight;   // packed transposed, K = 4N
    const bf16 *gates;
    const float *cell, *cell_before;
    float *grad_cell;     // [B][N], in and out
    bf16 *grads;          // [B][N/16][4][16]
    int block, blocks;
    Waiting<LSTMBackward> *waiting;

    template <int R>
    void run(int b) { in_columns<R>(blocks, b, *this); }

    template <int R, int C>
    void columns(int b) {
        __m512 acc[R][C];
        const size_t row = size_t(4) * N;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) acc[r][c] = load(above + size_t(b + r) * N + (block + c) * 16);
        // Asked for little by little: so many lines at once hold up the product.
        Pieces<2 * R> pieces(last ? 0 : 2 * N);
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16, gate = (b + r) * row + block * 64;
            soon(gates + gate, C * 128);
            soon(cell + at, C * 64);
            pieces.next(acc, later + size_t(b) * row, row, weight + size_t(block) * 4 * N * 16);
            waiting->one();
            soon(cell_before + at, C * 64);
            soon_written(grads + gate, C * 128);
            pieces.next(acc, later + size_t(b) * row, row, weight + size_t(block) * 4 * N * 16);
        }
        waiting->all();
        waiting->take<R, C>(acc, *this, b);
    }

    inline __attribute__((always_inline)) void finish(int b, const float *sums) const {
        for (int c = 0; c < blocks; ++c) {
            const size_t at = size_t(b) * N + (block + c) * 16, gate = b * (size_t(4) * N) + (block + c) * 64;
            const __m512 i = load(gates + gate), f = load(gates + gate + 16);
            const __m512 g = load(gates + gate + 32), o = load(gates + gate + 48);
            const __m512 t = gate_tanh(_mm512_loadu_ps(cell + at)), dh = _mm512_load_ps(sums + c * 16);
            const __m512 dc = _mm512_fmadd_ps(mul(dh, o), one_minus(mul(t, t)), _mm512_loadu_ps(grad_cell + at));
            _mm512_storeu_ps(grad_cell + at, mul(dc, f));
            store(grads + gate, mul(mul(dc, g), mul(i, one_minus(i))));
            store(grads + gate + 16, mul(mul(dc, _mm512_loadu_ps(cell_before + at)), mul(f, one_minus(f))));
            store(grads + gate + 32, mul(mul(dc, i), one_minus(mul(g, g))));
            store(grads + gate + 48, mul(mul(dh, t), mul(o, one_minus(o))));
        }
    }
};

// ---- GRU -------------------------------------------------------------------------------------------------------

struct GRUForward {
    int B, N;
    Inputs inputs;        // rows [N/16][3][16]: r, z, n
    const bf16 *before;   // [B][N] hidden before, rounded
    const float *state;   // [B][N] hidden before, exact
    const bf16 *weight;   // packed, K = N
    const float *bias;    // [N/16][4][16]: r and z of both sides, n of the recurrent side, n of the input side
    bf16 *hidden;
    Gates<3> gates;       // r, z, n
    bf16 *product;        // [B][N] is W_hn h + b_hn
    float *state_after;
    int block;

    template <int R>
    void run(int b) {
        __m512 acc[R][3];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const bf16 *in = inputs[b + r] + block * 48;
            acc[r][0] = add(load(in), _mm512_loadu_ps(bias + block * 64));
            acc[r][1] = add(load(in + 16), _mm512_loadu_ps(bias + block * 64 + 16));
            acc[r][2] = _mm512_loadu_ps(bias + block * 64 + 32);
        }
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16;
            soon(inputs[b + r] + (block + 1) * 48, 96);
            gates.soon(b + r, block);
            soon(state + at, 64);
            soon_written(state_after + at, 64);
            soon_written(hidden + at, 32);
            soon_written(product + at, 32);
        }
        accumulate<R, 3>(acc, before + size_t(b) * N, N, weight + size_t(block) * 3 * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16;
            const __m512 reset = rounded(gate_sigmoid(acc[r][0])), z = rounded(gate_sigmoid(acc[r][1]));
            const __m512 p = rounded(acc[r][2]);
            const __m512 input = add(load(inputs[b + r] + block * 48 + 32), _mm512_loadu_ps(bias + block * 64 + 48));
            const __m512 n = rounded(gate_tanh(_mm512_fmadd_ps(reset, p, input)));
            const __m512 h = _mm512_fmadd_ps(z, _mm512_sub_ps(_mm512_loadu_ps(state + at), n), n);
            _mm512_storeu_ps(state_after + at, h);
            store(hidden + at, h);
            store(product + at, p);
            bf16 *out = gates.at(b + r, block);
            store(out, reset); store(out + gates.gate, z); store(out + 2 * gates.gate, n);
        }
    }
};

struct GRUBackward {
    int B, N;
    bool last;
    const bf16 *above;    // [B][N]
    const bf16 *later;    // [B][N/16][3][16] recurrent-side gradients of the later step
    const bf16 *weight;   // packed transposed, K = 3N
    const bf16 *gates, *product;
    const float *state;   // [B][N] hidden before this step, exact
    float *carried;       // [B][N] gradient through z, in and out
    bf16 *grads, *recurrent_grads;
    int block, blocks;

    template <int R>
    void run(int b) {
        if (blocks == 4) columns<R, 4>(b);
        else for (int c = 0; c < blocks; ++c) { GRUBackward one = *this; one.block = block + c; one.columns<R, 1>(b); }
    }

    template <int R, int C>
    void columns(int b) {
        __m512 acc[R][C];
        const size_t row = size_t(3) * N;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                const size_t at = size_t(b + r) * N + (block + c) * 16;
                acc[r][c] = add(load(above + at), _mm512_loadu_ps(carried + at));
            }
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16, gate = (b + r) * row + block * 48;
            soon(gates + gate, C * 96);
            soon(state + at, C * 64);
            soon(product + at, C * 32);
            soon_written(grads + gate, C * 96);
            soon_written(recurrent_grads + gate, C * 96);
        }
        if (!last) accumulate<R, C>(acc, later + size_t(b) * row, row, weight + size_t(block) * 3 * N * 16, 3 * N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                const size_t at = size_t(b + r) * N + (block + c) * 16, gate = (b + r) * row + (block + c) * 48;
                const __m512 reset = load(gates + gate), z = load(gates + gate + 16), n = load(gates + gate + 32);
                const __m512 dh = acc[r][c];
                const __m512 dn = mul(mul(dh, one_minus(z)), one_minus(mul(n, n)));
                const __m512 dz = mul(mul(dh, _mm512_sub_ps(_mm512_loadu_ps(state + at), n)), mul(z, one_minus(z)));
                const __m512 dr = mul(mul(dn, load(product + at)), mul(reset, one_minus(reset)));
                _mm512_storeu_ps(carried + at, mul(dh, z));
                store(grads + gate, dr); store(grads + gate + 16, dz); store(grads + gate + 32, dn);
                bf16 *re = recurrent_grads + gate;
                store(re, dr); store(re + 16, dz); store(re + 32, mul(dn, reset));
            }
    }
};

// ---- Elman -----------------------------------------------------------------------------------------------------

struct ElmanForward {
    int B, N;
    Inputs inputs;                  // rows [N]
    const float *bias;              // [N]
    const bf16 *before, *weight;    // [B][N], packed with K = N
    bf16 *hidden;
    int block, blocks;

    template <int R>
    void run(int b) {
        if (blocks == 4) columns<R, 4>(b);
        else for (int c = 0; c < blocks; ++c) { ElmanForward one = *this; one.block = block + c; one.columns<R, 1>(b); }
    }

    template <int R, int C>
    void columns(int b) {
        __m512 acc[R][C];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                const int at = (block + c) * 16;
                acc[r][c] = add(load(inputs[b + r] + at), _mm512_loadu_ps(bias + at));
            }
        for (int r = 0; r < R; ++r) {
            soon(inputs[b + r] + (block + C) * 16, C * 32);
            soon_written(hidden + size_t(b + r) * N + block * 16, C * 32);
        }
        accumulate<R, C>(acc, before + size_t(b) * N, N, weight + size_t(block) * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) store(hidden + size_t(b + r) * N + (block + c) * 16, gate_tanh(acc[r][c]));
    }
};

struct ElmanBackward {
    int B, N;
    bool last;
    const bf16 *above, *later, *weight, *hidden;
    bf16 *grads;
    int block, blocks;

    template <int R>
    void run(int b) {
        if (blocks == 4) columns<R, 4>(b);
        else for (int c = 0; c < blocks; ++c) { ElmanBackward one = *this; one.block = block + c; one.columns<R, 1>(b); }
    }

    template <int R, int C>
    void columns(int b) {
        __m512 acc[R][C];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) acc[r][c] = load(above + size_t(b + r) * N + (block + c) * 16);
        for (int r = 0; r < R; ++r) {
            soon(hidden + size_t(b + r) * N + block * 16, C * 32);
            soon(above + size_t(b + r) * N + (block + C) * 16, C * 32);
            soon_written(grads + size_t(b + r) * N + block * 16, C * 32);
        }
        if (!last) accumulate<R, C>(acc, later + size_t(b) * N, N, weight + size_t(block) * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                const size_t at = size_t(b + r) * N + (block + c) * 16;
                const __m512 h = load(hidden + at);
                store(grads + at, mul(acc[r][c], one_minus(mul(h, h))));
            }
    }
};

// What goes back into the state before the first step: out[b] = rows of `grads` times the transposed weight.
struct IntoState {
    int B, N, K;
    const bf16 *grads, *weight;
    float *out;
    int block;

    template <int R>
    void run(int b) {
        __m512 acc[R][1];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) acc[r][0] = _mm512_loadu_ps(out + size_t(b + r) * N + block * 16);
        accumulate<R, 1>(acc, grads + size_t(b) * K, K, weight + size_t(block) * K * 16, K / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) _mm512_storeu_ps(out + size_t(b + r) * N + block * 16, acc[r][0]);
    }
};

void into_state(int from, int to, int B, int N, int K, const bf16 *grads, const bf16 *weight, float *out) {
    for (int block = 0; block < N / 16; ++block) {
        IntoState job{B, N, K, grads, weight, out, block};
        in_groups<6>(from, to, job);
    }
}

}  // namespace

extern "C" {

// hidden has T + 1 rows, the first one is the state before; cells likewise. Where x [T][B][D] is given (no null pointer),
// `inputs` is where its products go; `gates` may be the same place unless the gates stand apart.
void lstm_forward(int T, int B, int N, int D, const bf16 *x, const bf16 *weight_x, bf16 *inputs, const int64_t *tokens,
                  const float *bias, bf16 *gates, const bf16 *weight, bf16 *hidden, float *cells, int apart, int
                  threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int first = 0; first < T; first += STEPS) {
            const int last = first + STEPS < T ? first + STEPS : T;
            if (x) step_products(first, last, B, from, to, D, 4 * N, x, weight_x, inputs);
            for (int t = first; t < last; ++t)
                for (int block = 0; block < N / 16; ++block) {
                    LSTMForward job{B, N, Inputs(inputs, tokens, t, B, size_t(4) * N), bias, hidden + t * step, weight,
                                    cells + t * step, hidden + (t + 1) * step, Gates<4>(gates, t, T, B, N, apart),
                                    cells + (t + 1) * step, block};
                    in_groups<6>(from, to, job);
                }
        }
    }
}

// The gradient of x [T][B][D] is computed where there is a place for it (no null pointer).
// grad_cell and grad_hidden hold the gradients of the last state on entry (grad_hidden must be zero), of the first on exit.
void lstm_backward(int T, int B, int N, int D, const bf16 *weight_x, bf16 *grad_x, const bf16 *above, const bf16
                   *weight, const bf16 *gates, const float *cells, bf16 *grads, float *grad_hidden, float *grad_cell,
                   int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        Waiting<LSTMBackward> waiting;
        for (int last = T; last > 0; last -= STEPS) {
            const int first = last > STEPS ? last - STEPS : 0;
            for (int t = last - 1; t >= first; --t) {
                for (int block = 0; block < N / 16; block += 4) {
                    const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                    LSTMBackward job{B, N, t == T - 1, above + t * step, grads + (t + 1) * step * 4, weight,
                                     gates + t * step * 4, cells + (t + 1) * step, cells + t * step, grad_cell,
                                     grads + t * step * 4, block, blocks, &waiting};
                    in_groups<6>(from, to, job);
                }
                waiting.all();
            }
            if (grad_x) step_products(first, last, B, from, to, 4 * N, D, grads, weight_x, grad_x);
        }
        into_state(from, to, B, N, 4 * N, grads, weight, grad_hidden);
    }
}

// Of x, inputs and gates the same holds.
void gru_forward(int T, int B, int N, int D, const bf16 *x, const bf16 *weight_x, bf16 *inputs, const int64_t *tokens,
                 bf16 *gates, const bf16 *weight, const float *bias, bf16 *hidden, float *states, bf16 *products, int
                 apart, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int first = 0; first < T; first += STEPS) {
            const int last = first + STEPS < T ? first + STEPS : T;
            if (x) step_products(first, last, B, from, to, D, 3 * N, x, weight_x, inputs);
            for (int t = first; t < last; ++t)
                for (int block = 0; block < N / 16; ++block) {
                    GRUForward job{B, N, Inputs(inputs, tokens, t, B, size_t(3) * N), hidden + t * step,
                                   states + t * step, weight, bias, hidden + (t + 1) * step,
                                   Gates<3>(gates, t, T, B, N, apart), products + t * step, states + (t + 1) * step, block};
                    in_groups<8>(from, to, job);
                }
        }
    }
}

// carried holds the gradient of the last state on entry, of the first on exit.
void gru_backward(int T, int B, int N, int D, const bf16 *weight_x, bf16 *grad_x, const bf16 *above, const bf16 *weight,
                  const bf16 *gates, const bf16 *products, const float *states, bf16 *grads, bf16 *recurrent_grads,
                  float *carried, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int last = T; last > 0; last -= STEPS) {
            const int first = last > STEPS ? last - STEPS : 0;
            for (int t = last - 1; t >= first; --t)
                for (int block = 0; block < N / 16; block += 4) {
                    const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                    GRUBackward job{B, N, t == T - 1, above + t * step, recurrent_grads + (t + 1) * step * 3, weight,
                                    gates + t * step * 3, products + t * step, states + t * step, carried,
                                    grads + t * step * 3, recurrent_grads + t * step * 3, block, blocks};
                    in_groups<6>(from, to, job);
                }
            if (grad_x) step_products(first, last, B, from, to, 3 * N, D, grads, weight_x, grad_x);
        }
        into_state(from, to, B, N, 3 * N, recurrent_grads, weight, carried);
    }
}

void elman_forward(int T, int B, int N, int D, const bf16 *x, const bf16 *weight_x, bf16 *inputs, const int64_t *tokens,
                   const float *bias, const bf16 *weight, bf16 *hidden, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int first = 0; first < T; first += STEPS) {
            const int last = first + STEPS < T ? first + STEPS : T;
            if (x) step_products(first, last, B, from, to, D, N, x, weight_x, inputs);
            for (int t = first; t < last; ++t)
                for (int block = 0; block < N / 16; block += 4) {
                    const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                    ElmanForward job{B, N, Inputs(inputs, tokens, t, B, N), bias, hidden + t * step, weight,
                                     hidden + (t + 1) * step, block, blocks};
                    in_groups<6>(from, to, job);
                }
        }
    }
}

void elman_backward(int T, int B, int N, int D, const bf16 *weight_x, bf16 *grad_x, const bf16 *above, const bf16
                    *weight, const bf16 *hidden, bf16 *grads, float *grad_hidden, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int last = T; last > 0; last -= STEPS) {
            const int first = last > STEPS ? last - STEPS : 0;
            for (int t = last - 1; t >= first; --t)
                for (int block = 0; block < N / 16; block += 4) {
                    const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                    ElmanBackward job{B, N, t == T - 1, above + t * step, grads + (t + 1) * step, weight,
                                      hidden + (t + 1) * step, grads + t * step, block, blocks};
                    in_groups<6>(from, to, job);
                }
            if (grad_x) step_products(first, last, B, from, to, N, D, grads, weight_x, grad_x);
        }
        into_state(from, to, B, N, N, grads, weight, grad_hidden);
    }
}

// out [rows][columns] = x [rows][K] times a packed weight.
void row_products(int rows, int K, int columns, const bf16 *x, const bf16 *weight, bf16 *out, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread)
        step_products(0, 1, rows, share(rows, thread, threads), share(rows, thread + 1, threads), K, columns, x, weight, out);
}

}  // extern "C"
