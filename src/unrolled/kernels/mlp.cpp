// y = down gelu(up x + b) + c in bfloat16, a few dozen rows at a time, which stay in the processor's cache between the two
// products; and the way back through gelu.
//
// What gelu is given is kept for the way back, rounded to bfloat16.
//
// Shapes: D width, N hidden units, both multiples of 16. Weights are packed as vectors.h says.

#include "vectors.h"

namespace {

constexpr int ROWS = 48;

struct Normal {
    __m512 below, density;  // the normal distribution's cumulative function, and its density times sqrt(2 pi)
};

// Phi(-|x|) = exp(-x^2 / 2) q(1 / (1 + 0.375 |x|)), q of degree 5 fitted to the smallest relative error (3.1e-5). With
// rough_power and the short reciprocal the relative error of Phi stays below 3e-4, a thirteenth of what rounding to bfloat16 adds.
inline Normal normal(__m512 x) {
    const __m512 t = _mm512_rcp14_ps(_mm512_fmadd_ps(_mm512_abs_ps(x), set1(0.375f), set1(1.0f)));
    __m512 q = set1(-0.09064163f);
    q = _mm512_fmadd_ps(q, t, set1(0.20027902f));
    q = _mm512_fmadd_ps(q, t, set1(0.08356610f));
    q = _mm512_fmadd_ps(q, t, set1(0.15773334f));
    q = _mm512_fmadd_ps(q, t, set1(0.14906110f));
    // The bound stands first: then what is not a number stays so.
    const __m512 density = rough_power(_mm512_max_ps(set1(-200.0f), mul(mul(x, x), set1(-0.72134752f))));
    const __m512 tail = mul(mul(q, t), density);
    const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
    return {_mm512_mask_sub_ps(tail, positive, set1(1.0f), tail), density};
}

// Rows [K] times a packed matrix. What is done with the result is up to `Use`: column() is handed sixteen columns of some
// rows; before, ask() is told where they will be.
template <class Use>
struct Product {
    const bf16 *rows;
    int K;
    const bf16 *packed;
    Use use;

    template <int R, int C>
    void tile(int first, int block) {
        for (int r = 0; r < R; ++r) use.ask(size_t(first + r), block * 16, C * 32);
        __m512 acc[R][C] = {};
        accumulate<R, C>(acc, rows + size_t(first) * K, K, packed + size_t(block) * 16 * K, K / 2);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            __m512 column[R];
#pragma GCC unroll 12
            for (int r = 0; r < R; ++r) column[r] = acc[r][c];
            use.template column<R>(first, (block + c) * 16, column);
        }
    }
};

template <int C, class Use>
struct Columns {
    Product<Use> &product;
    int block;

    template <int R>
    void run(int first) {
        product.template tile<R, C>(first, block);
    }
};

template <class Use>
void multiply(int count, int outputs, Product<Use> product) {
    int block = 0;
    for (; outputs / 16 - block >= 4; block += 4) {
        Columns<4, Use> columns{product, block};
        in_groups<6>(0, count, columns);
    }
    for (; block < outputs / 16; ++block) {
        Columns<1, Use> columns{product, block};
        in_groups<12>(0, count, columns);
    }
}

// Adds a bias, and keeps the sum (if `kept` is there) and its gelu.
struct Activate {
    const float *bias;
    int N;
    bf16 *kept, *hidden;

    void ask(size_t row, int c, int bytes) const {
        if (kept) soon_written(kept + row * N + c, bytes);
        soon_written(hidden + row * N + c, bytes);
    }

    template <int R>
    void column(int first, int c, const __m512 (&values)[R]) const {
        const __m512 b = _mm512_loadu_ps(bias + c);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
            const size_t at = size_t(first + r) * N + c;
            const __m512 a = rounded(add(values[r], b));
            if (kept) store(kept + at, a);
            store(hidden + at, mul(a, normal(a).below));
        }
    }
};

struct AddBias {
    const float *bias;
    int N;
    bf16 *out;

    void ask(size_t row, int c, int bytes) const { soon_written(out + row * N + c, bytes); }

    template <int R>
    void column(int first, int c, const __m512 (&values)[R]) const {
        const __m512 b = _mm512_loadu_ps(bias + c);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) store(out + size_t(first + r) * N + c, add(values[r], b));
    }
};

// Run body(thread, first row, how many) over all rows, `ROWS` or fewer at a time, every thread its own ones.
template <class Body>
void in_blocks(int rows, int threads, const Body &body) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        const int to = share(rows, thread + 1, threads);
        for (int row = share(rows, thread, threads); row < to; row += ROWS)
            body(thread, row, to - row < ROWS ? to - row : ROWS);
    }
}

}  // namespace

extern "C" {

// x, y [rows][D]; up packed for rows of D numbers, down for rows of N. kept and hidden [rows][N], or null pointers: kept is
// what gelu was given, hidden what it returned. scratch holds threads * 48 rows of N.
void mlp_forward(int rows, int D, int N, const bf16 *x, const bf16 *up, const float *up_bias, const bf16 *down,
                 const float *down_bias, bf16 *kept, bf16 *hidden, bf16 *scratch, bf16 *y, int threads) {
    in_blocks(rows, threads, [&](int thread, int row, int count) {
        const size_t at = size_t(row) * N;
        bf16 *here = hidden ? hidden + at : scratch + size_t(thread) * ROWS * N;
        multiply<Activate>(count, N, {x + size_t(row) * D, D, up, {up_bias, N, kept ? kept + at : nullptr, here}});
        multiply<AddBias>(count, D, {here, N, down, {down_bias, D, y + size_t(row) * D}});
    });
}

// From the gradient of gelu's result to that of its argument. partial holds one row for each thread: their sum is up_bias's
// gradient.
void gelu_backward(int rows, int N, const bf16 *kept, const bf16 *above, bf16 *grad, float *partial, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        float *sums = partial + size_t(thread) * N;
        for (int c = 0; c < N; c += 16) _mm512_storeu_ps(sums + c, _mm512_setzero_ps());
        for (int row = share(rows, thread, threads); row < share(rows, thread + 1, threads); ++row) {
            const size_t start = size_t(row) * N;
            for (int c = 0; c < N; c += 16) {
                const __m512 a = load(kept + start + c);
                const Normal n = normal(a);
                const __m512 g = mul(load(above + start + c), _mm512_fmadd_ps(mul(a, set1(0.39894228f)), n.density, n.below));
                store(grad + start + c, g);
                _mm512_storeu_ps(sums + c, add(_mm512_loadu_ps(sums + c), g));
            }
        }
    }
}

}  // extern "C"
