// What surrounds the recurrences: packing, sums, table rows, dropout and RMSNorm in bfloat16, and the linear scan in
// float32.
//
// Shapes: B lanes, T time, D width, N units, K the length of a product's inner axis.

#include "vectors.h"

namespace {

inline __m512 load(const float *p) { return _mm512_loadu_ps(p); }

// Threads share the columns, not the rows: the order of a sum is that of the rows.
template <class Number>
void scatter(int rows, int columns, const int64_t *index, const Number *matrix, float *table, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(columns / 16, thread, threads) * 16, to = share(columns / 16, thread + 1, threads) * 16;
        for (int row = 0; row < rows; ++row) {
            float *into = table + size_t(index[row]) * columns;
            const Number *source = matrix + size_t(row) * columns;
            for (int c = from; c < to; c += 16)
                _mm512_storeu_ps(into + c, add(_mm512_loadu_ps(into + c), load(source + c)));
        }
    }
}

// One row of an RMSNorm; returns 1 / sqrt(mean(x^2) + eps).
inline float normed_row(int D, const float *x, const float *gain, bf16 *y) {
    __m512 sum = _mm512_setzero_ps();
    for (int d = 0; d < D; d += 16) {
        const __m512 v = _mm512_loadu_ps(x + d);
        sum = _mm512_fmadd_ps(v, v, sum);
    }
    const float scale = 1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(sum) / D + 1e-6f);
    for (int d = 0; d < D; d += 16)
        store(y + d, mul(mul(_mm512_loadu_ps(x + d), set1(scale)), _mm512_loadu_ps(gain + d)));
    return scale;
}

// dx = scale * (g - n * mean(g * n)) with n = x * scale and g = above * gain, handed to `out` in pieces; the gain's
// gradient, above * n, is added to `partial`.
template <class Out>
inline void norm_back(int D, const float *x, const float *gain, float scales, const bf16 *above, float *partial, Out out) {
    const __m512 scale = set1(scales);
    __m512 dot = _mm512_setzero_ps();
    for (int d = 0; d < D; d += 16) {
        const __m512 n = mul(_mm512_loadu_ps(x + d), scale), a = load(above + d);
        _mm512_storeu_ps(partial + d, _mm512_fmadd_ps(a, n, _mm512_loadu_ps(partial + d)));
        dot = _mm512_fmadd_ps(mul(a, _mm512_loadu_ps(gain + d)), n, dot);
    }
    const __m512 mean = set1(_mm512_reduce_add_ps(dot) / D);
    for (int d = 0; d < D; d += 16) {
        const __m512 n = mul(_mm512_loadu_ps(x + d), scale);
        const __m512 g = mul(load(above + d), _mm512_loadu_ps(gain + d));
        out(d, mul(scale, _mm512_fnmadd_ps(n, mean, g)));
    }
}

// Sixteen numbers of sixteen rows, as pairs: [8][16][2].
inline void pack_square(const float *from, int K, bf16 *to) {
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    __m512i four[2][4];  // of rows 0 to 3 and 8 to 11, and of the others: pairs j and 4 + j
    for (int half = 0; half < 2; ++half) {
        __m512i row[4];
        for (int u = 0; u < 4; ++u) {
            const float *at = from + size_t(half * 4 + u) * K;
            row[u] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(at + size_t(8) * K), _mm512_loadu_ps(at));
        }
        const __m512i a = _mm512_unpacklo_epi32(row[0], row[1]), b = _mm512_unpackhi_epi32(row[0], row[1]);
        const __m512i c = _mm512_unpacklo_epi32(row[2], row[3]), d = _mm512_unpackhi_epi32(row[2], row[3]);
        four[half][0] = _mm512_unpacklo_epi64(a, c); four[half][1] = _mm512_unpackhi_epi64(a, c);
        four[half][2] = _mm512_unpacklo_epi64(b, d); four[half][3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int j = 0; j < 4; ++j) {
        _mm512_storeu_si512(to + j * 32, _mm512_permutex2var_epi64(four[0][j], first, four[1][j]));
        _mm512_storeu_si512(to + (4 + j) * 32, _mm512_permutex2var_epi64(four[0][j], second, four[1][j]));
    }
}

}  // namespace

extern "C" {

// Weights come as torch keeps them, [G][N][K] in float32: gate after gate. "Blocked" rows stand in the order
// [N/16][G][16], in which the recurrences want their gates.

// Blocked rows packed for products with vectors of K numbers: [G*N/16][K/2][16][2].
void pack(int G, int N, int K, const float *matrix, bf16 *packed, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int tile = 0; tile < G * N / 16; ++tile) {
        const float *from = matrix + (size_t(tile % G) * N + tile / G * 16) * K;
        bf16 *to = packed + size_t(tile) * 16 * K;
        for (int k = 0; k < K; k += 16) pack_square(from + k, K, to + size_t(k) * 16);
    }
}

// The transposed matrix packed for products with rows of blocked gates: [K/16][G*N/2][16][2].
void pack_transposed(int G, int N, int K, const float *matrix, bf16 *packed, int threads) {
    const int pairs = G * N / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int pair = 0; pair < pairs; ++pair) {
        const int row = 2 * pair, block = row / (16 * G), g = row / 16 % G, u = row % 16;
        const float *low = matrix + (size_t(g) * N + block * 16 + u) * K, *high = low + K;
        for (int k = 0; k < K; k += 16) {
            const __m512i a = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(low + k)));
            const __m512i b = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(high + k)));
            _mm512_storeu_si512(packed + (size_t(k / 16) * pairs + pair) * 32,
                                _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
        }
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

// table[index[row]] += matrix[row] in float32; the table is zero on entry.
void scatter_rows(int rows, int columns, const int64_t *index, const bf16 *matrix, float *table, int threads) {
    scatter(rows, columns, index, matrix, table, threads);
}

void scatter_float_rows(int rows, int columns, const int64_t *index, const float *matrix, float *table, int threads) {
    scatter(rows, columns, index, matrix, table, threads);
}

// y = x / sqrt(mean(x^2) + eps) * gain for every row of D numbers; also 1 / sqrt(...) of each row. float32 to bfloat16.
void rms_norm_forward(int rows, int D, const float *x, const float *gain, bf16 *y, float *scales, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int row = 0; row < rows; ++row) scales[row] = normed_row(D, x + size_t(row) * D, gain, y + size_t(row) * D);
}

// total = x + y, and the norm of that.
void add_rms_norm_forward(int rows, int D, const float *x, const bf16 *y, const float *gain, float *total, bf16 *normed,
                          float *scales, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int row = 0; row < rows; ++row) {
        const size_t at = size_t(row) * D;
        for (int d = 0; d < D; d += 16)
            _mm512_storeu_ps(total + at + d, add(_mm512_loadu_ps(x + at + d), load(y + at + d)));
        scales[row] = normed_row(D, total + at, gain, normed + at);
    }
}

// The gain's gradient comes as one partial sum [D] for each thread.
void rms_norm_backward(int rows, int D, const float *x, const float *gain, const float *scales, const bf16 *above,
                       float *grad, float *grad_gain, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        float *partial = grad_gain + size_t(thread) * D;
        for (int d = 0; d < D; ++d) partial[d] = 0.0f;
        for (int row = share(rows, thread, threads); row < share(rows, thread + 1, threads); ++row) {
            const size_t at = size_t(row) * D;
            norm_back(D, x + at, gain, scales[row], above + at, partial,
                      [&](int d, __m512 v) { _mm512_storeu_ps(grad + at + d, v); });
        }
    }
}

// The same for `total`, plus what came to it directly (a null pointer: nothing did): for x, and rounded for y.
void add_rms_norm_backward(int rows, int D, const float *total, const float *gain, const float *scales,
                           const bf16 *above, const float *direct, float *grad_x, bf16 *grad_y, float *grad_gain,
                           int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        float *partial = grad_gain + size_t(thread) * D;
        for (int d = 0; d < D; ++d) partial[d] = 0.0f;
        for (int row = share(rows, thread, threads); row < share(rows, thread + 1, threads); ++row) {
            const size_t at = size_t(row) * D;
            norm_back(D, total + at, gain, scales[row], above + at, partial, [&](int d, __m512 v) {
                const __m512 all = direct ? add(v, _mm512_loadu_ps(direct + at + d)) : v;
                _mm512_storeu_ps(grad_x + at + d, all);
                store(grad_y + at + d, all);
            });
        }
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
