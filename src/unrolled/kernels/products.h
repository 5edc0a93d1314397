// Products of many rows with one packed weight, for rows that a thread has in its cache anyway.
//
// Shapes: B lanes, K the length of the inner axis.

#pragma once

#include "vectors.h"

namespace {

// Call body.columns<R, C> with C = `blocks` of 1 to 4.
template <int R, class Body>
inline void in_columns(int blocks, int row, Body &body) {
    switch (blocks) {
        case 4: return body.template columns<R, 4>(row);
        case 3: return body.template columns<R, 3>(row);
        case 2: return body.template columns<R, 2>(row);
        default: return body.template columns<R, 1>(row);
    }
}

// out[row] = x[row] times the packed weight.
struct Product {
    int K, columns_out;
    const bf16 *x, *weight;
    bf16 *out;
    int block, blocks;

    template <int R>
    void run(int row) { in_columns<R>(blocks, row, *this); }

    template <int R, int C>
    void columns(int row) {
        __m512 acc[R][C];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) acc[r][c] = _mm512_setzero_ps();
        for (int r = 0; r < R; ++r)
            soon_written(out + size_t(row + r) * columns_out + block * 16, C * 32);
        accumulate<R, C>(acc, x + size_t(row) * K, K, weight + size_t(block) * K * 16, K / 2);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) store(out + size_t(row + r) * columns_out + (block + c) * 16, acc[r][c]);
    }
};

// The products of lanes [from, to) at steps [first, last): x is [T][B][K], out is [T][B][columns].
inline void step_products(int first, int last, int B, int from, int to, int K, int columns,
                          const bf16 *x, const bf16 *weight, bf16 *out) {
    for (int block = 0; block < columns / 16; block += 4)
        for (int t = first; t < last; ++t) {
            const int blocks = columns / 16 - block < 4 ? columns / 16 - block : 4;
            Product job{K, columns, x + size_t(t) * B * K, weight, out + size_t(t) * B * columns, block, blocks};
            in_groups<6>(from, to, job);
        }
}

}  // namespace
