// gelu(x + bias) and its gradient in bfloat16, and the bias's gradient on the way.
//
// Every number is read and written once. columns is a multiple of 16.

#include "vectors.h"

namespace {

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

}  // namespace

extern "C" {

void gelu_forward(int rows, int columns, const bf16 *x, const float *bias, bf16 *out, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int row = 0; row < rows; ++row) {
        const size_t start = size_t(row) * columns;
        for (int c = 0; c < columns; c += 16) {
            const __m512 a = add(load(x + start + c), _mm512_loadu_ps(bias + c));
            store(out + start + c, mul(a, normal(a).below));
        }
    }
}

// partial holds one row for each thread: their sum is the bias's gradient.
void gelu_backward(int rows, int columns, const bf16 *x, const float *bias, const bf16 *above, bf16 *grad,
                   float *partial, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        float *sums = partial + size_t(thread) * columns;
        for (int c = 0; c < columns; c += 16) _mm512_storeu_ps(sums + c, _mm512_setzero_ps());
        for (int row = share(rows, thread, threads); row < share(rows, thread + 1, threads); ++row) {
            const size_t start = size_t(row) * columns;
            for (int c = 0; c < columns; c += 16) {
                const __m512 a = add(load(x + start + c), _mm512_loadu_ps(bias + c));
                const Normal n = normal(a);
                const __m512 slope = _mm512_fmadd_ps(mul(a, set1(0.39894228f)), n.density, n.below);
                const __m512 g = mul(load(above + start + c), slope);
                store(grad + start + c, g);
                _mm512_storeu_ps(sums + c, add(_mm512_loadu_ps(sums + c), g));
            }
        }
    }
}

}  // extern "C"
