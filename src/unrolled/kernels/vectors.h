// What every compiled kernel stands on: bfloat16 and exponentials in AVX-512, products, and sharing rows between threads.
//
// Plain C++17 with OpenMP and the AVX-512 BF16 instructions. Built together with the *.cpp files beside it by native.py.
//
// A weight matrix is packed as [columns/16][K/2][16][2]: what one dot-product instruction eats. K is the length of a
// product's inner axis.

#pragma once

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

inline __m512 reciprocal(__m512 x) {
    __m512 r = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, set1(2.0f)));
}

// 2^t by a cubic with its value at 0 kept: relative error below 1.1e-4, a twentieth of a bfloat16 rounding step.
inline __m512 rough_power(__m512 t) {
    const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(t, n);
    __m512 p = set1(0.05500782f);
    p = _mm512_fmadd_ps(p, f, set1(0.24220849f));
    p = _mm512_fmadd_ps(p, f, set1(0.69328278f));
    p = _mm512_fmadd_ps(p, f, set1(1.0f));
    return _mm512_scalef_ps(p, n);
}

// Gates: what they return is rounded to bfloat16, so they need not know more.
inline __m512 gate_sigmoid(__m512 x) {
    return _mm512_rcp14_ps(_mm512_add_ps(set1(1.0f), rough_power(_mm512_mul_ps(x, set1(-1.4426950408889634f)))));
}

// The reciprocal is refined: near 0 the result is a small difference of large numbers.
inline __m512 gate_tanh(__m512 x) {
    // The bounds stand first: then what is not a number stays so.
    __m512 t = _mm512_max_ps(set1(-120.0f), _mm512_mul_ps(x, set1(-2.8853900817779268f)));
    t = _mm512_min_ps(set1(120.0f), t);
    const __m512 s = reciprocal(_mm512_add_ps(set1(1.0f), rough_power(t)));
    return _mm512_fmsub_ps(set1(2.0f), s, set1(1.0f));
}

inline __m512 one_minus(__m512 x) { return _mm512_sub_ps(set1(1.0f), x); }
inline __m512 mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
inline __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }

// acc[r][c] += row r of `a` (K numbers, pairs of them `a_step` apart) times block c of the packed weight; blocks lie
// `block` apart.
template <int R, int C>
inline void accumulate(__m512 (&acc)[R][C], const bf16 *a, size_t a_stride, const bf16 *w, ptrdiff_t pairs,
                       size_t a_step, size_t block) {
    for (ptrdiff_t k = 0; k < pairs; ++k) {
        __m512bh weights[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) weights[c] = (__m512bh)_mm512_loadu_si512(w + c * block + k * 32);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const __m512bh row =
                (__m512bh)_mm512_set1_epi32(*reinterpret_cast<const int32_t *>(a + r * a_stride + a_step * k));
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) acc[r][c] = _mm512_dpbf16_ps(acc[r][c], row, weights[c]);
        }
    }
}

// The same with rows of numbers side by side, and blocks one after another.
template <int R, int C>
inline void accumulate(__m512 (&acc)[R][C], const bf16 *a, size_t a_stride, const bf16 *w, ptrdiff_t pairs) {
    accumulate<R, C>(acc, a, a_stride, w, pairs, 2, static_cast<size_t>(pairs) * 32);
}

// Ask for `bytes` that will be needed when the current product is done: rows lie too far apart for the processor to guess.
inline void soon(const void *address, int bytes) {
    for (int at = 0; at < bytes; at += 64) _mm_prefetch(static_cast<const char *>(address) + at, _MM_HINT_T0);
}

inline void soon_written(const void *address, int bytes) {
    for (int at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char *>(address) + at, 1);
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

}  // namespace
