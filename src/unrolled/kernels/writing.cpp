// A whole model that writes: many symbols in one call, each step a list of operations (steps.py makes it).
//
// Threads stand in teams. A team has streams of its own and waits for no other; inside a team the rows of a product are
// split, and everybody waits at a barrier. With as many streams as threads a team is one thread and never waits. Every
// number is computed in the same order however streams and threads are grouped: a stream's text does not depend on it.
//
// Layout. Slots hold what one operation hands to the next, memory what a layer remembers: both [streams][...] in
// float32. Vectors are padded with zeros to multiples of 16. Products read their inputs in the precision of the weights
// (bfloat16 or float32) and sum in float32; weights are packed as [units/16][gates][K/2][16][2] in bfloat16 and
// [units/16][gates][K][16] in float32, K the length of the product's inner axis.

#include <omp.h>
#include <sched.h>

#include <atomic>
#include <memory>

#include "drawing.h"

namespace {

enum Kind : int64_t { EMBED, NORM, LINEAR, RELU, GELU, GATED, SCAN, ELMAN, GRU, LSTM, PAST, ATTEND };

// One operation; the order of the fields is that of `Row` in steps.py.
struct Operation {
    Kind kind;
    int64_t gates, units, inputs, remembered;   // a product's G, N, and the lengths of its two inner axes
    const void *weight, *recurrent;
    const float *bias, *recurrent_bias;
    const float *table;                         // products for every symbol, or null
    int64_t from, to, memory;                   // where in slots and memory
    int64_t a, b, c;
};

// So often a thread looks before it offers its core to others: some ten microseconds, longer than any fair wait.
constexpr int SPINS = 300;

struct Barrier {
    alignas(64) std::atomic<int> arrived{0};
    alignas(64) std::atomic<int> round{0};

    void wait(int size) {
        const int now = round.load(std::memory_order_acquire);
        if (arrived.fetch_add(1, std::memory_order_acq_rel) == size - 1) {
            arrived.store(0, std::memory_order_relaxed);
            round.store(now + 1, std::memory_order_release);
            return;
        }
        // The thread that is waited for may need this core.
        for (int spins = 0; round.load(std::memory_order_acquire) == now; ++spins)
            if (spins < SPINS) _mm_pause();
            else sched_yield();
    }
};

inline void to_number(const float *from, bf16 *to) { store(to, _mm512_loadu_ps(from)); }
inline void to_number(const float *from, float *to) { _mm512_storeu_ps(to, _mm512_loadu_ps(from)); }

template <int R, int C>
inline void products(__m512 (&acc)[R][C], const bf16 *a, size_t stride, const bf16 *w, int64_t length) {
    accumulate<R, C>(acc, a, stride, w, length / 2);
}

template <int R, int C>
inline void products(__m512 (&acc)[R][C], const float *a, size_t stride, const float *w, int64_t length) {
    const size_t block = static_cast<size_t>(length) * 16;
    for (int64_t k = 0; k < length; ++k) {
        __m512 weights[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) weights[c] = _mm512_loadu_ps(w + c * block + k * 16);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const __m512 row = set1(a[r * stride + k]);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) acc[r][c] = _mm512_fmadd_ps(row, weights[c], acc[r][c]);
        }
    }
}

// What a product's 16 sums per gate become; `memory` is where this operation's part begins.
__attribute__((noinline)) void finish(const Operation &op, const __m512 *sums, int64_t block, float *to,
                                      float *memory) {
    to += block * 16;
    memory += block * 16;
    const __m512 x = sums[0];
    switch (op.kind) {
        case RELU: _mm512_storeu_ps(to, _mm512_max_ps(_mm512_setzero_ps(), x)); break;
        case GELU: _mm512_storeu_ps(to, exact::gelu(x)); break;
        case GATED: _mm512_storeu_ps(to, mul(exact::tanh(x), exact::sigmoid(sums[1]))); break;
        case SCAN: {
            const __m512 z = exact::sigmoid(x), keep = one_minus(op.a ? add(z, z) : z);
            const __m512 h = _mm512_fmadd_ps(keep, _mm512_loadu_ps(memory), mul(z, sums[1]));
            _mm512_storeu_ps(memory, h);
            _mm512_storeu_ps(to, h);
            break;
        }
        case ELMAN: {
            const __m512 h = exact::tanh(x);
            _mm512_storeu_ps(memory, h);
            _mm512_storeu_ps(to, h);
            break;
        }
        case GRU: {   // sums: r, z, W_hn h + b_hn, W_in x + b_in
            const __m512 r = exact::sigmoid(x), z = exact::sigmoid(sums[1]);
            const __m512 n = exact::tanh(_mm512_fmadd_ps(r, sums[2], sums[3]));
            const __m512 h = _mm512_fmadd_ps(z, _mm512_sub_ps(_mm512_loadu_ps(memory), n), n);
            _mm512_storeu_ps(memory, h);
            _mm512_storeu_ps(to, h);
            break;
        }
        case LSTM: {
            const __m512 i = exact::sigmoid(x), f = exact::sigmoid(sums[1]);
            const __m512 g = exact::tanh(sums[2]), o = exact::sigmoid(sums[3]);
            const __m512 c = _mm512_fmadd_ps(f, _mm512_loadu_ps(memory + op.units), mul(i, g));
            const __m512 h = mul(o, exact::tanh(c));
            _mm512_storeu_ps(memory + op.units, c);
            _mm512_storeu_ps(memory, h);
            _mm512_storeu_ps(to, h);
            break;
        }
        default: _mm512_storeu_ps(to, x);
    }
}

template <class Number>
struct Team {
    int streams;
    float *slots, *memory;
    size_t slot_stride, memory_stride;
    int64_t *symbols;     // what each stream wrote last
    Number *rows;         // inputs of the current product, [streams][row_stride]
    size_t row_stride;

    float *slot(int b, int64_t at) const { return slots + b * slot_stride + at; }
    float *kept(int b, int64_t at) const { return memory + b * memory_stride + at; }
};

// Some 16-unit blocks of a product, for in_groups over streams.
template <class Number>
struct Tiles {
    const Team<Number> &team;
    const Operation &op;
    int64_t block;
    int tiles;   // blocks times gates

    template <int R>
    void run(int b) {
        if (tiles == 4) columns<R, 4>(b);
        else if (tiles == 3) columns<R, 3>(b);
        else if (tiles == 2) columns<R, 2>(b);
        else columns<R, 1>(b);
    }

    template <int R, int C>
    void columns(int b) {
        __m512 acc[R][C], inputs_part[R];
        const int64_t at = block * op.gates * 16, row = op.units * op.gates;
        for (int r = 0; r < R; ++r) {
            const float *start = op.table ? op.table + team.symbols[b + r] * row : op.bias;
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) acc[r][c] = _mm512_loadu_ps(start + at + c * 16);
        }
        const Number *rows = team.rows + b * team.row_stride;
        if (op.inputs)
            products<R, C>(acc, rows, team.row_stride, static_cast<const Number *>(op.weight) + at * op.inputs,
                           op.inputs);
        if constexpr (C == 3)   // a GRU: the candidate's two halves meet only after the reset gate
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                inputs_part[r] = acc[r][2];
                acc[r][2] = _mm512_loadu_ps(op.recurrent_bias + block * 16);
            }
        if (op.remembered)
            products<R, C>(acc, rows + op.inputs, team.row_stride,
                           static_cast<const Number *>(op.recurrent) + at * op.remembered, op.remembered);
        for (int r = 0; r < R; ++r) {
            __m512 sums[C + 1];
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) sums[c] = acc[r][c];
            if constexpr (C == 3) sums[3] = inputs_part[r];
            for (int c = 0; c < C; c += op.gates)
                finish(op, sums + c, block + c / op.gates, team.slot(b + r, op.to), team.kept(b + r, op.memory));
        }
    }
};

template <class Number>
void gather_inputs(const Team<Number> &team, const Operation &op) {
    for (int b = 0; b < team.streams; ++b) {
        Number *row = team.rows + b * team.row_stride;
        for (int64_t k = 0; k < op.inputs; k += 16) to_number(team.slot(b, op.from) + k, row + k);
        for (int64_t k = 0; k < op.remembered; k += 16) to_number(team.kept(b, op.memory) + k, row + op.inputs + k);
    }
}

template <class Number>
void multiply(const Team<Number> &team, const Operation &op, int member, int size) {
    const int blocks = int(op.units / 16), gates = int(op.gates);
    const int end = share(blocks, member + 1, size);
    // One stream alone has too few sums under way to hide how long each takes, so it takes twice as many columns.
    const int wide = team.streams == 1 ? 8 / gates : 0, most = 4 / gates;
    for (int block = share(blocks, member, size); block < end;) {
        const int together = end - block;
        if (wide > 1 && together >= wide && wide * gates == 8) {
            Tiles<Number>{team, op, block, 8}.template columns<1, 8>(0);
            block += wide;
            continue;
        }
        const int some = together < most || most * gates == 3 ? 1 : most;
        Tiles<Number> job{team, op, block, some * gates};
        in_groups<6>(0, team.streams, job);
        block += some;
    }
}

// x += what the last branch gave (or x = that, where op.b is 0); to = x / sqrt(mean(x^2) + eps) * gain, where there is a
// gain; the mean is over op.a numbers.
inline void norm(const Operation &op, const float *from, float *x, float *to) {
    __m512 squares = _mm512_setzero_ps();
    for (int64_t d = 0; d < op.units; d += 16) {
        __m512 v = _mm512_loadu_ps(x + d);
        if (op.from >= 0) v = op.b ? add(v, _mm512_loadu_ps(from + d)) : _mm512_loadu_ps(from + d);
        _mm512_storeu_ps(x + d, v);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    const float scale = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / float(op.a) + 1e-6f);
    for (int64_t d = 0; d < op.units; d += 16) {
        const __m512 v = _mm512_loadu_ps(x + d);
        _mm512_storeu_ps(to + d, op.table ? mul(mul(v, set1(scale)), _mm512_loadu_ps(op.table + d)) : v);
    }
}

// Remember this input in a ring of (op.a - 1) * op.b + 1 and lay out the op.a that a dilated convolution sees, oldest
// first.
inline void past(const Operation &op, int64_t step, const float *from, float *to, float *ring) {
    const int64_t length = (op.a - 1) * op.b + 1;
    std::copy(from, from + op.units, ring + step % length * op.units);
    for (int64_t j = 0; j < op.a; ++j) {
        const int64_t ago = (op.a - 1 - j) * op.b;
        const float *source = ring + (step + length - ago) % length * op.units;
        std::copy(source, source + op.units, to + j * op.units);
    }
}

// Heads [begin, end): op.a heads of width op.b, window op.c; op.table holds cosines and sines of every distance.
// Memory: [16] of which the first is how much of the window was filled, then keys [H][W][2][half], values [H][W][full].
void attend(const Operation &op, int64_t step, const float *from, float *to, float *memory, float *scratch, int begin,
            int end) {
    const int64_t heads = op.a, width = op.b, window = op.c, half = width / 2;
    const int64_t half_room = (half + 15) / 16 * 16, room = (width + 15) / 16 * 16;
    const int64_t seen = std::min(int64_t(memory[0]) + step, window - 1) + 1, here = step % window;
    float *query = scratch, *scores = scratch + 2 * half_room;
    const float scale = 1.0f / std::sqrt(float(width));
    for (int64_t h = begin; h < end; ++h) {
        float *keys = memory + 16 + h * window * 2 * half_room;
        float *values = memory + 16 + heads * window * 2 * half_room + h * window * room;
        const float *q = from + h * width, *k = q + heads * width, *v = k + heads * width;
        std::fill(query, query + 2 * half_room, 0.0f);
        for (int64_t i = 0; i < half; ++i) {
            query[i] = q[i] * scale;
            query[half_room + i] = q[half + i] * scale;
            keys[here * 2 * half_room + i] = k[i];
            keys[here * 2 * half_room + half_room + i] = k[half + i];
        }
        std::copy(v, v + width, values + here * room);
        float largest = -INFINITY;
        for (int64_t ago = 0; ago < seen; ++ago) {
            const float *key = keys + (ago <= here ? here - ago : here - ago + window) * 2 * half_room;
            const float *turn = op.table + ago * 2 * half_room;
            __m512 sum = _mm512_setzero_ps();
            for (int64_t i = 0; i < half_room; i += 16) {
                const __m512 first = _mm512_loadu_ps(query + i), second = _mm512_loadu_ps(query + half_room + i);
                const __m512 cosine = _mm512_loadu_ps(turn + i), sine = _mm512_loadu_ps(turn + half_room + i);
                const __m512 left = _mm512_fmsub_ps(first, cosine, mul(second, sine));
                const __m512 right = _mm512_fmadd_ps(second, cosine, mul(first, sine));
                sum = _mm512_fmadd_ps(left, _mm512_loadu_ps(key + i), sum);
                sum = _mm512_fmadd_ps(right, _mm512_loadu_ps(key + half_room + i), sum);
            }
            scores[ago] = _mm512_reduce_add_ps(sum);
            largest = std::max(largest, scores[ago]);
        }
        std::fill(scores + seen, scores + (seen + 15) / 16 * 16, -INFINITY);
        __m512 total = _mm512_setzero_ps();
        for (int64_t ago = 0; ago < seen; ago += 16) {
            const __m512 s = _mm512_sub_ps(_mm512_loadu_ps(scores + ago), set1(largest));
            const __m512 e = _mm512_mask_mov_ps(_mm512_setzero_ps(), _mm512_cmp_ps_mask(s, set1(-87.0f), _CMP_NLT_UQ),
                                                exact::exponential(s));
            _mm512_storeu_ps(scores + ago, e);
            total = add(total, e);
        }
        const __m512 share_of_one = set1(1.0f / _mm512_reduce_add_ps(total));
        for (int64_t i = 0; i < width; i += 16) {
            __m512 sum = _mm512_setzero_ps();
            for (int64_t ago = 0; ago < seen; ++ago) {
                const int64_t at = ago <= here ? here - ago : here - ago + window;
                sum = _mm512_fmadd_ps(set1(scores[ago]), _mm512_loadu_ps(values + at * room + i), sum);
            }
            const __mmask16 some = width - i < 16 ? __mmask16((1 << (width - i)) - 1) : __mmask16(0xFFFF);
            _mm512_mask_storeu_ps(to + h * width + i, some, mul(sum, share_of_one));
        }
    }
}

// What one thread does for one step: serial operations are the first member's, the rest is split.
template <class Number>
void advance(const Team<Number> &team, const Operation *ops, int count, int64_t step, float *scratch, int member,
             int size, Barrier &barrier) {
    for (const Operation *op = ops; op < ops + count; ++op) {
        const bool product = op->kind >= LINEAR && op->kind <= LSTM;
        if (member == 0) {
            for (int b = 0; b < team.streams && !product; ++b) {
                float *to = team.slot(b, op->to);
                const float *from = team.slot(b, op->from < 0 ? 0 : op->from);
                if (op->kind == EMBED) {
                    const float *row = op->table + team.symbols[b] * op->units;
                    std::copy(row, row + op->units, to);
                }
                if (op->kind == NORM) norm(*op, from, team.slot(b, op->memory), to);
                if (op->kind == PAST) past(*op, step, from, to, team.kept(b, op->memory));
            }
            if (product) gather_inputs(team, *op);
        }
        if (!product && op->kind != ATTEND) continue;
        if (size > 1) barrier.wait(size);
        if (product) multiply(team, *op, member, size);
        else
            for (int b = 0; b < team.streams; ++b)
                attend(*op, step, team.slot(b, op->from), team.slot(b, op->to), team.kept(b, op->memory), scratch,
                       share(int(op->a), member, size), share(int(op->a), member + 1, size));
        if (size > 1) barrier.wait(size);
    }
}

struct Sizes {   // the order is that of writing.py
    int64_t operations, streams, steps, done, symbols, logits, top_k, slots, memory, inputs, scratch;
};

template <class Number>
void write(const Sizes &sizes, const Operation *ops, float *slots, float *memory, const double *options,
           const double *uniforms, int64_t *written, int64_t *failed, int threads) {
    const int streams = int(sizes.streams);
    const size_t row_stride = sizes.inputs + 32;   // rows that do not fall on the same cache lines
    std::vector<Number> rows(streams * row_stride);
    std::vector<int64_t> symbols(streams);
    std::unique_ptr<Barrier[]> barriers(new Barrier[threads]);
    std::atomic<int64_t> strange{0};
#pragma omp parallel num_threads(threads)
    {
        const int all = omp_get_num_threads(), thread = omp_get_thread_num();
        const int teams = std::min(all, streams), mine = thread * teams / all;
        const int first_member = (mine * all + teams - 1) / teams, next_member = ((mine + 1) * all + teams - 1) / teams;
        const int member = thread - first_member, size = next_member - first_member;
        const int from = share(streams, mine, teams), to = share(streams, mine + 1, teams);
        const Team<Number> team{to - from, slots + from * sizes.slots, memory + from * sizes.memory,
                                size_t(sizes.slots), size_t(sizes.memory), symbols.data() + from,
                                rows.data() + from * row_stride, row_stride};
        Drawer drawer(int(sizes.symbols), int(sizes.top_k), options[0], options[1]);
        std::vector<float> scratch(sizes.scratch);
        for (int64_t t = 0; t < sizes.steps; ++t) {
            for (int b = from; b < to && member == 0; ++b) {
                const int symbol = drawer.draw(slots + b * sizes.slots + sizes.logits, uniforms[b * sizes.steps + t]);
                if (symbol < 0) strange = 1;
                symbols[b] = written[b * sizes.steps + t] = std::max(symbol, 0);
            }
            advance(team, ops, int(sizes.operations), sizes.done + t, scratch.data(), member, size, barriers[mine]);
        }
    }
    *failed = strange;
}

}  // namespace

extern "C" {

void write_bfloat16(const int64_t *sizes, const int64_t *ops, float *slots, float *memory, const double *options,
                    const double *uniforms, int64_t *written, int64_t *failed, int threads) {
    write<bf16>(*reinterpret_cast<const Sizes *>(sizes), reinterpret_cast<const Operation *>(ops), slots, memory,
                options, uniforms, written, failed, threads);
}

void write_float32(const int64_t *sizes, const int64_t *ops, float *slots, float *memory, const double *options,
                   const double *uniforms, int64_t *written, int64_t *failed, int threads) {
    write<float>(*reinterpret_cast<const Sizes *>(sizes), reinterpret_cast<const Operation *>(ops), slots, memory,
                 options, uniforms, written, failed, threads);
}

}  // extern "C"
