// The functions between matrix products in float32, correct to a few units in the last place; what is not a number
// stays so.

#pragma once

#include "vectors.h"

namespace {
namespace exact {

// exp by 2^n * 2^f with a polynomial of degree 6 on [-1/2, 1/2]: relative error below 2e-7.
inline __m512 exponential(__m512 x) {
    // The bounds stand first: then what is not a number stays so.
    x = _mm512_min_ps(set1(87.0f), _mm512_max_ps(set1(-87.0f), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, set1(1.4426950408889634f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
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
    const __m512 r = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, set1(2.0f)));
}

inline __m512 sigmoid(__m512 x) { return reciprocal(add(set1(1.0f), exponential(mul(x, set1(-1.0f))))); }

inline __m512 tanh(__m512 x) {
    return _mm512_fmsub_ps(set1(2.0f), sigmoid(add(x, x)), set1(1.0f));
}

// x times the normal distribution's cumulative function. Source: Abramowitz and Stegun 1964, 7.1.26: error of erf
// below 1.5e-7.
inline __m512 gelu(__m512 x) {
    const __m512 size = mul(_mm512_abs_ps(x), set1(0.70710678118654752f));
    const __m512 t = reciprocal(_mm512_fmadd_ps(size, set1(0.3275911f), set1(1.0f)));
    __m512 p = set1(1.061405429f);
    p = _mm512_fmadd_ps(p, t, set1(-1.453152027f));
    p = _mm512_fmadd_ps(p, t, set1(1.421413741f));
    p = _mm512_fmadd_ps(p, t, set1(-0.284496736f));
    p = _mm512_fmadd_ps(p, t, set1(0.254829592f));
    const __m512 half_tail = mul(mul(mul(p, t), exponential(mul(size, mul(size, set1(-1.0f))))), set1(0.5f));
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return mul(x, _mm512_mask_blend_ps(negative, one_minus(half_tail), half_tail));
}

}  // namespace exact
}  // namespace
