// The recurrences of Elman, GRU and LSTM layers over time in bfloat16, and the linear scan in float32.
//
// Plain C functions for ctypes; no dependency but OpenMP and the AVX-512 BF16 instructions. Built by native.py.
//
// Layout. Time is the outer axis: every array is [T][B][...]. Units come in blocks of 16; the G gates of a block stand
// side by side, so a row of gates is [N/16][G][16]. A weight matrix is packed as [columns/16][K/2][16][2]: what one
// dot-product instruction eats. Lanes are split between threads once per call: nobody waits for anybody at a time step.
//
// Shapes: T time, B lanes, N units (a multiple of 16), G gates, K the length of a product's inner axis.

#include <immintrin.h>
#include <cstdint>
#include <cstddef>

namespace {

typedef uint16_t bf16;

inline __m512 load(const bf16 *p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

inline void store(bf16 *p, __m512 v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), (__m256i)_mm512_cvtneps_pbh(v));
}

// What a stored value will read as: forward and backward then use the same numbers.
inline __m512 rounded(__m512 v) {
    __m512i wide = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(v));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

inline __m512 set1(float v) { return _mm512_set1_ps(v); }

// exp by 2^n * 2^f with a polynomial of degree 6 on [-1/2, 1/2]: relative error below 2e-7.
inline __m512 exponential(__m512 x) {
    x = _mm512_min_ps(_mm512_max_ps(x, set1(-87.0f)), set1(87.0f));
    __m512 t = _mm512_mul_ps(x, set1(1.4426950408889634f));
    __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_fnmadd_ps(n, set1(0.693145751953125f), x);
    f = _mm512_fnmadd_ps(n, set1(1.428606820309417e-6f), f);
    __m512 p = set1(1.3888889e-3f);
    p = _mm512_fmadd_ps(p, f, set1(8.3333333e-3f));
    p = _mm512_fmadd_ps(p, f, set1(4.1666667e-2f));
    p = _mm512_fmadd_ps(p, f, set1(1.6666667e-1f));
    p = _mm512_fmadd_ps(p, f, set1(0.5f));
    p = _mm512_fmadd_ps(p, f, set1(1.0f));
    p = _mm512_fmadd_ps(p, f, set1(1.0f));
    return _mm512_scalef_ps(p, n);
}

inline __m512 reciprocal(__m512 x) {
    __m512 r = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, set1(2.0f)));
}

inline __m512 sigmoid(__m512 x) {
    return reciprocal(_mm512_add_ps(set1(1.0f), exponential(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

inline __m512 tanh_(__m512 x) {
    __m512 s = reciprocal(_mm512_add_ps(set1(1.0f), exponential(_mm512_mul_ps(x, set1(-2.0f)))));
    return _mm512_fmsub_ps(set1(2.0f), s, set1(1.0f));
}

inline __m512 one_minus(__m512 x) { return _mm512_sub_ps(set1(1.0f), x); }
inline __m512 mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
inline __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }

// acc[r][c] += row r of `a` (K numbers) times block c of the packed weight.
template <int R, int C>
inline void accumulate(__m512 (&acc)[R][C], const bf16 *a, size_t a_stride, const bf16 *w, ptrdiff_t pairs) {
    const size_t block = static_cast<size_t>(pairs) * 32;
    for (ptrdiff_t k = 0; k < pairs; ++k) {
        __m512bh weights[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) weights[c] = (__m512bh)_mm512_loadu_si512(w + c * block + k * 32);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const __m512bh row =
                (__m512bh)_mm512_set1_epi32(*reinterpret_cast<const int32_t *>(a + r * a_stride + 2 * k));
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) acc[r][c] = _mm512_dpbf16_ps(acc[r][c], row, weights[c]);
        }
    }
}

// Run body<R>(first row) over rows [from, to) in groups of at most `Most`, as even as possible.
template <int R, class Body>
inline void one_group(int rows, int first, Body &body) {
    if constexpr (R >= 1) {
        if (rows == R) body.template run<R>(first);
        else one_group<R - 1>(rows, first, body);
    }
}

template <int Most, class Body>
inline void in_groups(int from, int to, Body &body) {
    const int groups = (to - from + Most - 1) / Most;
    for (int g = 0; g < groups; ++g) {
        const int a = from + (to - from) * g / groups, b = from + (to - from) * (g + 1) / groups;
        one_group<Most>(b - a, a, body);
    }
}

inline int share(int lanes, int thread, int threads) { return static_cast<int>(int64_t(lanes) * thread / threads); }

// ---- LSTM ------------------------------------------------------------------------------------------------------

struct LSTMForward {
    int B, N;
    const bf16 *inputs;   // [B][N/16][4][16] of this step
    const bf16 *before;   // [B][N] hidden before this step
    const bf16 *weight;   // packed, K = N
    const float *cell_before;
    bf16 *hidden, *gates;
    float *cell;
    int block;

    template <int R>
    void run(int b) {
        __m512 acc[R][4];
        const size_t row = size_t(4) * N;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int g = 0; g < 4; ++g) acc[r][g] = load(inputs + (b + r) * row + block * 64 + g * 16);
        accumulate<R, 4>(acc, before + size_t(b) * N, N, weight + size_t(block) * 4 * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16;
            const __m512 i = rounded(sigmoid(acc[r][0])), f = rounded(sigmoid(acc[r][1]));
            const __m512 g = rounded(tanh_(acc[r][2])), o = rounded(sigmoid(acc[r][3]));
            const __m512 c = _mm512_fmadd_ps(f, _mm512_loadu_ps(cell_before + at), mul(i, g));
            _mm512_storeu_ps(cell + at, c);
            store(hidden + at, mul(o, tanh_(c)));
            bf16 *out = gates + (b + r) * row + block * 64;
            store(out, i); store(out + 16, f); store(out + 32, g); store(out + 48, o);
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

    template <int R>
    void run(int b) {
        if (blocks == 4) columns<R, 4>(b);
        else for (int c = 0; c < blocks; ++c) { LSTMBackward one = *this; one.block = block + c; one.columns<R, 1>(b); }
    }

    template <int R, int C>
    void columns(int b) {
        __m512 acc[R][C];
        const size_t row = size_t(4) * N;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) acc[r][c] = load(above + size_t(b + r) * N + (block + c) * 16);
        if (!last) accumulate<R, C>(acc, later + size_t(b) * row, row, weight + size_t(block) * 4 * N * 16, 2 * N);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                const size_t at = size_t(b + r) * N + (block + c) * 16, gate = (b + r) * row + (block + c) * 64;
                const __m512 i = load(gates + gate), f = load(gates + gate + 16);
                const __m512 g = load(gates + gate + 32), o = load(gates + gate + 48);
                const __m512 t = tanh_(_mm512_loadu_ps(cell + at)), dh = acc[r][c];
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
    const bf16 *inputs;   // [B][N/16][3][16]: r, z, n of this step
    const bf16 *before;   // [B][N] hidden before, rounded
    const float *state;   // [B][N] hidden before, exact
    const bf16 *weight;   // packed, K = N
    const float *bias;    // [N/16][3][16] of the recurrent side
    bf16 *hidden, *gates, *product;   // gates [B][N/16][3][16]; product [B][N] is W_hn h + b_hn
    float *state_after;
    int block;

    template <int R>
    void run(int b) {
        __m512 acc[R][3];
        const size_t row = size_t(3) * N;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const bf16 *in = inputs + (b + r) * row + block * 48;
            acc[r][0] = add(load(in), _mm512_loadu_ps(bias + block * 48));
            acc[r][1] = add(load(in + 16), _mm512_loadu_ps(bias + block * 48 + 16));
            acc[r][2] = _mm512_loadu_ps(bias + block * 48 + 32);
        }
        accumulate<R, 3>(acc, before + size_t(b) * N, N, weight + size_t(block) * 3 * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(b + r) * N + block * 16, gate = (b + r) * row + block * 48;
            const __m512 reset = rounded(sigmoid(acc[r][0])), z = rounded(sigmoid(acc[r][1])), p = rounded(acc[r][2]);
            const __m512 n = rounded(tanh_(_mm512_fmadd_ps(reset, p, load(inputs + gate + 32))));
            const __m512 h = _mm512_fmadd_ps(z, _mm512_sub_ps(_mm512_loadu_ps(state + at), n), n);
            _mm512_storeu_ps(state_after + at, h);
            store(hidden + at, h);
            store(product + at, p);
            store(gates + gate, reset); store(gates + gate + 16, z); store(gates + gate + 32, n);
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
    const bf16 *inputs, *before, *weight;   // [B][N], [B][N], packed with K = N
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
            for (int c = 0; c < C; ++c) acc[r][c] = load(inputs + size_t(b + r) * N + (block + c) * 16);
        accumulate<R, C>(acc, before + size_t(b) * N, N, weight + size_t(block) * N * 16, N / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) store(hidden + size_t(b + r) * N + (block + c) * 16, tanh_(acc[r][c]));
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

// Pack a row-major matrix [columns][K] of bfloat16 as [columns/16][K/2][16][2].
void pack(int columns, int K, const bf16 *matrix, bf16 *packed, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int block = 0; block < columns / 16; ++block)
        for (int k = 0; k < K / 2; ++k)
            for (int u = 0; u < 16; ++u) {
                const bf16 *from = matrix + size_t(block * 16 + u) * K + 2 * k;
                bf16 *to = packed + ((size_t(block) * (K / 2) + k) * 16 + u) * 2;
                to[0] = from[0];
                to[1] = from[1];
            }
}

// The sum of every column of a row-major matrix [rows][columns], in float32; columns is a multiple of 16.
void column_sums(int rows, int columns, const bf16 *matrix, float *sums, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(columns / 16, thread, threads), to = share(columns / 16, thread + 1, threads);
        for (int block = from; block < to; block += 8) {
            const int some = to - block < 8 ? to - block : 8;
            __m512 acc[8];
            for (int c = 0; c < 8; ++c) acc[c] = _mm512_setzero_ps();
            for (int row = 0; row < rows; ++row) {
                const bf16 *from_here = matrix + size_t(row) * columns + block * 16;
                for (int c = 0; c < some; ++c) acc[c] = add(acc[c], load(from_here + c * 16));
            }
            for (int c = 0; c < some; ++c) _mm512_storeu_ps(sums + (block + c) * 16, acc[c]);
        }
    }
}

// y = x / (1 - p) where a hash of seed and position is at least `threshold` = p * 2^32, else 0; the same forwards and back.
void dropout(int blocks, int seed, int threshold, const bf16 *x, bf16 *y, int threads) {
    const __m512i limit = _mm512_set1_epi32(threshold), start = _mm512_set1_epi32(seed);
    const __m512 scale = set1(static_cast<float>(1.0 / (1.0 - static_cast<uint32_t>(threshold) / 4294967296.0)));
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int block = 0; block < blocks; ++block) {
        __m512i h = _mm512_add_epi32(_mm512_set1_epi32(block * 16), lane);
        // The mixing of murmur3: every bit of position and seed reaches every bit of the hash.
        h = _mm512_xor_si512(_mm512_mullo_epi32(h, _mm512_set1_epi32(int(0x9E3779B1u))), start);
        h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 16)), _mm512_set1_epi32(int(0x85EBCA6Bu)));
        h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 13)), _mm512_set1_epi32(int(0xC2B2AE35u)));
        h = _mm512_xor_si512(h, _mm512_srli_epi32(h, 16));
        const __mmask16 keep = _mm512_cmpge_epu32_mask(h, limit);
        store(y + size_t(block) * 16, _mm512_maskz_mul_ps(keep, load(x + size_t(block) * 16), scale));
    }
}

// out[row] = table[index[row]], rows of `columns` numbers (a multiple of 16).
void gather_rows(int rows, int columns, const int64_t *index, const bf16 *table, bf16 *out, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int row = 0; row < rows; ++row)
        __builtin_memcpy(out + size_t(row) * columns, table + size_t(index[row]) * columns, size_t(columns) * 2);
}

// table[index[row]] += matrix[row] in float32; the table is zero on entry. Threads share the columns, not the rows.
void scatter_rows(int rows, int columns, const int64_t *index, const bf16 *matrix, float *table, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(columns / 16, thread, threads) * 16, to = share(columns / 16, thread + 1, threads) * 16;
        for (int row = 0; row < rows; ++row) {
            float *into = table + size_t(index[row]) * columns;
            const bf16 *source = matrix + size_t(row) * columns;
            for (int c = from; c < to; c += 16)
                _mm512_storeu_ps(into + c, add(_mm512_loadu_ps(into + c), load(source + c)));
        }
    }
}

// y = x / sqrt(mean(x^2) + eps) * gain for every row of D numbers; also 1 / sqrt(...) of each row. float32 to bfloat16.
void rms_norm_forward(int rows, int D, const float *x, const float *gain, bf16 *y, float *scales, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int row = 0; row < rows; ++row) {
        const float *from = x + size_t(row) * D;
        __m512 sum = _mm512_setzero_ps();
        for (int d = 0; d < D; d += 16) {
            const __m512 v = _mm512_loadu_ps(from + d);
            sum = _mm512_fmadd_ps(v, v, sum);
        }
        const float scale = 1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(sum) / D + 1e-6f);
        scales[row] = scale;
        for (int d = 0; d < D; d += 16)
            store(y + size_t(row) * D + d,
                  mul(mul(_mm512_loadu_ps(from + d), set1(scale)), _mm512_loadu_ps(gain + d)));
    }
}

// dx = scale * (g - n * mean(g * n)) with n = x * scale and g = above * gain; the gain's gradient is the sum of above * n,
// one partial sum [D] for each thread.
void rms_norm_backward(int rows, int D, const float *x, const float *gain, const float *scales, const bf16 *above,
                       float *grad, float *grad_gain, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        float *partial = grad_gain + size_t(thread) * D;
        for (int d = 0; d < D; ++d) partial[d] = 0.0f;
        for (int row = share(rows, thread, threads); row < share(rows, thread + 1, threads); ++row) {
            const float *from = x + size_t(row) * D;
            const bf16 *up = above + size_t(row) * D;
            const __m512 scale = set1(scales[row]);
            __m512 dot = _mm512_setzero_ps();
            for (int d = 0; d < D; d += 16) {
                const __m512 n = mul(_mm512_loadu_ps(from + d), scale), a = load(up + d);
                _mm512_storeu_ps(partial + d, _mm512_fmadd_ps(a, n, _mm512_loadu_ps(partial + d)));
                dot = _mm512_fmadd_ps(mul(a, _mm512_loadu_ps(gain + d)), n, dot);
            }
            const __m512 mean = set1(_mm512_reduce_add_ps(dot) / D);
            for (int d = 0; d < D; d += 16) {
                const __m512 n = mul(_mm512_loadu_ps(from + d), scale);
                const __m512 g = mul(load(up + d), _mm512_loadu_ps(gain + d));
                _mm512_storeu_ps(grad + size_t(row) * D + d, mul(scale, _mm512_fnmadd_ps(n, mean, g)));
            }
        }
    }
}

// hidden has T + 1 rows, the first one is the state before; cells likewise. The gates take the place of the inputs.
void lstm_forward(int T, int B, int N, bf16 *inputs, const bf16 *weight, bf16 *hidden, float *cells, int threads) {
    bf16 *gates = inputs;
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int t = 0; t < T; ++t)
            for (int block = 0; block < N / 16; ++block) {
                LSTMForward job{B, N, inputs + t * step * 4, hidden + t * step, weight, cells + t * step,
                                hidden + (t + 1) * step, gates + t * step * 4, cells + (t + 1) * step, block};
                in_groups<6>(from, to, job);
            }
    }
}

// grad_cell and grad_hidden hold the gradients of the last state on entry (grad_hidden must be zero), of the first on exit.
void lstm_backward(int T, int B, int N, const bf16 *above, const bf16 *weight, const bf16 *gates, const float *cells,
                   bf16 *grads, float *grad_hidden, float *grad_cell, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int t = T - 1; t >= 0; --t)
            for (int block = 0; block < N / 16; block += 4) {
                const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                LSTMBackward job{B, N, t == T - 1, above + t * step, grads + (t + 1) * step * 4, weight,
                                 gates + t * step * 4, cells + (t + 1) * step, cells + t * step, grad_cell,
                                 grads + t * step * 4, block, blocks};
                in_groups<6>(from, to, job);
            }
        into_state(from, to, B, N, 4 * N, grads, weight, grad_hidden);
    }
}

// The gates take the place of the inputs.
void gru_forward(int T, int B, int N, bf16 *inputs, const bf16 *weight, const float *bias, bf16 *hidden,
                 float *states, bf16 *products, int threads) {
    bf16 *gates = inputs;
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int t = 0; t < T; ++t)
            for (int block = 0; block < N / 16; ++block) {
                GRUForward job{B, N, inputs + t * step * 3, hidden + t * step, states + t * step, weight, bias,
                               hidden + (t + 1) * step, gates + t * step * 3, products + t * step,
                               states + (t + 1) * step, block};
                in_groups<8>(from, to, job);
            }
    }
}

// carried holds the gradient of the last state on entry, of the first on exit.
void gru_backward(int T, int B, int N, const bf16 *above, const bf16 *weight, const bf16 *gates,
                  const bf16 *products, const float *states, bf16 *grads, bf16 *recurrent_grads, float *carried,
                  int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int t = T - 1; t >= 0; --t)
            for (int block = 0; block < N / 16; block += 4) {
                const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                GRUBackward job{B, N, t == T - 1, above + t * step, recurrent_grads + (t + 1) * step * 3, weight,
                                gates + t * step * 3, products + t * step, states + t * step, carried,
                                grads + t * step * 3, recurrent_grads + t * step * 3, block, blocks};
                in_groups<6>(from, to, job);
            }
        into_state(from, to, B, N, 3 * N, recurrent_grads, weight, carried);
    }
}

void elman_forward(int T, int B, int N, const bf16 *inputs, const bf16 *weight, bf16 *hidden, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int t = 0; t < T; ++t)
            for (int block = 0; block < N / 16; block += 4) {
                const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                ElmanForward job{B, N, inputs + t * step, hidden + t * step, weight, hidden + (t + 1) * step, block,
                                 blocks};
                in_groups<6>(from, to, job);
            }
    }
}

void elman_backward(int T, int B, int N, const bf16 *above, const bf16 *weight, const bf16 *hidden, bf16 *grads,
                    float *grad_hidden, int threads) {
    const size_t step = size_t(B) * N;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(B, thread, threads), to = share(B, thread + 1, threads);
        for (int t = T - 1; t >= 0; --t)
            for (int block = 0; block < N / 16; block += 4) {
                const int blocks = N / 16 - block < 4 ? N / 16 - block : 4;
                ElmanBackward job{B, N, t == T - 1, above + t * step, grads + (t + 1) * step, weight,
                                  hidden + (t + 1) * step, grads + t * step, block, blocks};
                in_groups<6>(from, to, job);
            }
        into_state(from, to, B, N, N, grads, weight, grad_hidden);
    }
}

// h_t = a_t * h_(t-1) + b_t over rows [B][T][N] of float32, lanes and blocks of units split between threads.
void scan(int B, int T, int N, const float *a, const float *b, const float *start, float *out, int backwards,
          int threads) {
    const int blocks = (N + 15) / 16;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int row = 0; row < B; ++row)
        for (int block = 0; block < blocks; ++block) {
            const int left = N - block * 16;
            const __mmask16 mask = left >= 16 ? 0xFFFF : static_cast<__mmask16>((1u << left) - 1);
            __m512 h = _mm512_maskz_loadu_ps(mask, start + size_t(row) * N + block * 16);
            for (int step = 0; step < T; ++step) {
                const int t = backwards ? T - 1 - step : step;
                const size_t at = (size_t(row) * T + t) * N + block * 16;
                // Backwards, the coefficient is the one of the later step: d/dh_t = b_t + a_(t+1) d/dh_(t+1).
                const __m512 keep = !backwards ? _mm512_maskz_loadu_ps(mask, a + at)
                                    : step == 0 ? _mm512_setzero_ps()
                                                : _mm512_maskz_loadu_ps(mask, a + at + N);
                h = _mm512_fmadd_ps(keep, h, _mm512_maskz_loadu_ps(mask, b + at));
                _mm512_mask_storeu_ps(out + at, mask, h);
            }
        }
}

}  // extern "C"
