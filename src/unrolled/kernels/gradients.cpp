// Gradients of weights: products that sum over all steps and lanes.
//
// Both sides come with pairs of rows interleaved, [columns/16][pairs][16][2]: what one dot-product instruction eats.
//
// Shapes: S rows (steps times lanes), G gates, N units, K inputs.

#include "products.h"

namespace {

constexpr int PAIRS_AT_ONCE = 32;
constexpr int PAIRS_NEAR = 128;   // of four blocks of the inputs' side: what stays in a core's first cache
constexpr int TILES = 8;          // of the gates' side that use them there
constexpr int MOST_PAIRS = 512;  // of those tiles: what stays in its second cache

// 16 rows of a weight's gradient, columns [block, block + blocks), pairs [first, first + some).
struct Gradient {
    int pairs, first, some, K;
    const bf16 *above;   // [some][16][2]
    const bf16 *inputs;  // [K/16][pairs][16][2]
    float *out;          // [16][K]
    int block, blocks;

    template <int R>
    void run(int row) { in_columns<R>(blocks, row, *this); }

    template <int R, int C>
    void columns(int row) {
        __m512 acc[R][C];
        float *at = out + size_t(row) * K + block * 16;
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c)
                acc[r][c] = first ? _mm512_loadu_ps(at + size_t(r) * K + c * 16) : _mm512_setzero_ps();
        // The rows of the next group.
        for (int r = R; r < 2 * R && row + r < 16; ++r) soon_written(at + size_t(r) * K, C * 64);
        const size_t length = size_t(pairs) * 32;
        accumulate<R, C>(acc, above + row * 2, 2, inputs + block * length + size_t(first) * 32, some, 32, length);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) _mm512_storeu_ps(at + size_t(r) * K + c * 16, acc[r][c]);
    }
};

inline __m512i wide(const bf16 *p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}

// 16 columns of rows `first` and `first` + 1 of a matrix, interleaved; behind the last row there are zeros.
inline __m512i interleaved(const bf16 *matrix, int rows, int columns, int first, int block) {
    const bf16 *low = matrix + size_t(first) * columns + block * 16;
    const __m512i high = first + 1 < rows ? wide(low + columns) : _mm512_setzero_si512();
    return _mm512_or_si512(wide(low), _mm512_slli_epi32(high, 16));
}

inline __m512 low_half(__m512i pair) { return _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)); }
inline __m512 high_half(__m512i pair) {
    return _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32(int(0xFFFF0000u))));
}

// Some tiles of 16 columns of the gates' gradients, rows (pairs) [first, last), as a core has them in its cache.
struct Side {
    int G, N, S, first, last, tile, tiles;
    const bf16 *above;
    bf16 (*mine)[MOST_PAIRS * 32];
    float *sums;

    size_t row(int i) const { return size_t((tile + i) % G) * N + (tile + i) / G * 16; }

    void interleave() const {
        __m512 sum[TILES];
        for (int i = 0; i < tiles; ++i) sum[i] = first ? _mm512_loadu_ps(sums + row(i)) : _mm512_setzero_ps();
        for (int pair = first; pair < last; ++pair)
            for (int i = 0; i < tiles; ++i) {
                const __m512i two = interleaved(above, S, G * N, 2 * pair, tile + i);
                _mm512_store_si512(mine[i] + (pair - first) * 32, two);
                sum[i] = add(sum[i], add(low_half(two), high_half(two)));
            }
        for (int i = 0; i < tiles; ++i) _mm512_storeu_ps(sums + row(i), sum[i]);
    }

    void multiply(int K, const bf16 *inputs, float *out) const {
        const int pairs = (S + 1) / 2;
        for (int at = first; at < last; at += PAIRS_NEAR)
            for (int block = 0; block < K / 16; block += 4)
                for (int i = 0; i < tiles; ++i) {
                    const int some = last - at < PAIRS_NEAR ? last - at : PAIRS_NEAR;
                    const int blocks = K / 16 - block < 4 ? K / 16 - block : 4;
                    Gradient job{pairs, at, some, K, mine[i] + (at - first) * 32, inputs, out + row(i) * K, block, blocks};
                    in_groups<6>(0, 16, job);
                }
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
                for (int b = block; b < block + 2 && b < blocks; ++b)
                    _mm512_storeu_si512(packed + (size_t(b) * pairs + pair) * 32,
                                        interleaved(matrix, rows, columns, 2 * pair, b));
    }
}

// The gradients of two weights and a bias that stand before the same gates; `above` [S][N/16][G][16] are the gates'.
//
// out [G*N][K] = above, transposed, times the inputs [S][K], which come as pairs; other_out [G*N][M] the same with other
// inputs (M may be 0); sums [G*N] are those of the columns of `above`. All are float32 in torch's order.
void weight_gradients(int G, int N, int S, int K, int M, const bf16 *above, const bf16 *inputs, const bf16 *other,
                      float *out, float *other_out, float *sums, int threads) {
    const int pairs = (S + 1) / 2, tiles = G * N / 16;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        alignas(64) static thread_local bf16 mine[TILES][MOST_PAIRS * 32];
        const int from = share(tiles, thread, threads), to = share(tiles, thread + 1, threads);
        for (int first = 0; first < pairs; first += MOST_PAIRS)
            for (int tile = from; tile < to; tile += TILES) {
                const int last = first + MOST_PAIRS < pairs ? first + MOST_PAIRS : pairs;
                const int some = to - tile < TILES ? to - tile : TILES;
                Side side{G, N, S, first, last, tile, some, above, mine, sums};
                side.interleave();
                side.multiply(K, inputs, out);
                if (M) side.multiply(M, other, other_out);
            }
    }
}

}  // extern "C"
