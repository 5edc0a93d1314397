// Gradients of weights: products that sum over all steps and lanes.
//
// Both sides come with pairs of rows interleaved, [columns/16][pairs][16][2]: what one dot-product instruction eats.
//
// Shapes: S rows (steps times lanes), G gates, N units, K inputs.

#include "products.h"

namespace {

constexpr int PAIRS_AT_ONCE = 32;
constexpr int IN_CACHE = 131072;  // numbers (pairs) of the inputs' side that stay in a core's second cache

// 16 rows of a weight's gradient, columns [block, block + blocks), pairs [first, first + some).
struct Gradient {
    int pairs, first, some, K;
    const bf16 *above;   // [pairs][16][2]
    const bf16 *inputs;  // [K/16][pairs][16][2]
    float *out;          // [16][K]
    int block, blocks;

    template <int R>
    void run(int row) { in_columns<R>(blocks, row, *this); }

    template <int R, int C>
    void columns(int row) {
        __m512 acc[R][C];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c)
                acc[r][c] = first ? _mm512_loadu_ps(out + size_t(row + r) * K + (block + c) * 16) : _mm512_setzero_ps();
        const size_t length = size_t(pairs) * 32;
        accumulate<R, C>(acc, above + size_t(first) * 32 + row * 2, 2, inputs + block * length + size_t(first) * 32,
                         some, 32, length);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) _mm512_storeu_ps(out + size_t(row + r) * K + (block + c) * 16, acc[r][c]);
    }
};

}  // namespace

extern "C" {

// Pairs of rows of a matrix [rows][columns], interleaved; an odd last row is paired with zeros.
void pack_pairs(int rows, int columns, const bf16 *matrix, bf16 *packed, int threads) {
    const int pairs = (rows + 1) / 2, blocks = columns / 16;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int first = 0; first < pairs; first += PAIRS_AT_ONCE) {
        const int last = first + PAIRS_AT_ONCE < pairs ? first + PAIRS_AT_ONCE : pairs;
        // Two blocks are one cache line of the matrix.
        for (int block = 0; block < blocks; block += 2)
            for (int pair = first; pair < last; ++pair)
                for (int b = block; b < block + 2 && b < blocks; ++b) {
                    const bf16 *low = matrix + size_t(2 * pair) * columns + b * 16;
                    const __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(low)));
                    __m512i c = _mm512_setzero_si512();
                    if (2 * pair + 1 < rows)
                        c = _mm512_cvtepu16_epi32(
                            _mm256_loadu_si256(reinterpret_cast<const __m256i *>(low + columns)));
                    _mm512_storeu_si512(packed + (size_t(b) * pairs + pair) * 32,
                                        _mm512_or_si512(a, _mm512_slli_epi32(c, 16)));
                }
    }
}

// out [G*N][K] in float32 and torch's order = blocked rows of gate gradients [S][N/16][G][16], transposed, times inputs
// [S][K]; both come as pairs.
void weight_gradient(int G, int N, int pairs, int K, const bf16 *above, const bf16 *inputs, float *out, int threads) {
    const int at_once = IN_CACHE / K > PAIRS_AT_ONCE ? IN_CACHE / K : PAIRS_AT_ONCE;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int from = share(G * N / 16, thread, threads), to = share(G * N / 16, thread + 1, threads);
        for (int first = 0; first < pairs; first += at_once)
            for (int tile = from; tile < to; ++tile)
                for (int block = 0; block < K / 16; block += 4) {
                    const int some = pairs - first < at_once ? pairs - first : at_once;
                    const int blocks = K / 16 - block < 4 ? K / 16 - block : 4;
                    Gradient job{pairs, first, some, K, above + size_t(tile) * pairs * 32, inputs,
                                 out + (size_t(tile % G) * N + tile / G * 16) * K, block, blocks};
                    in_groups<6>(0, 16, job);
                }
    }
}

}  // extern "C"
