// Attention over a sliding window with rotary positions, forward and backward, one head of one stream at a time.
//
// A vector of K numbers is a row of pairs: pair k holds numbers k and k + K/2 in bfloat16, as one 32-bit integer. That is
// what the rotation turns together and what one dot-product instruction multiplies, for any even K; rows are padded with
// zeros to M pairs, a multiple of 16. Sixteen queries at a time meet the keys that any of them can see, in two passes: the
// scores of a block are all there before their softmax. The way back computes the shares again from what was kept of each
// query: the largest score and the sum.
//
// Shapes: B streams, T new steps, H heads, K head width, W window, P = W - 1 steps of the past, S = P + T, M padded pairs.

#include <new>

#include "vectors.h"

namespace {

typedef int32_t pair;

constexpr int ROWS = 16;
constexpr float LOG2_E = 1.4426950408889634f;

struct Halves {
    __m512 first, second;
};

struct Shape {
    int B, T, H, K, P;

    int half() const { return K / 2; }
    int padded() const { return (half() + 15) / 16 * 16; }  // M
    int queries() const { return (T + 15) / 16 * 16; }
    int keys() const { return (queries() + P + 15) / 16 * 16; }
    int columns() const { return (ROWS + P + 15) / 16 * 16; }  // what sixteen queries can see, in whole blocks
    size_t step() const { return size_t(3) * H * K; }
    __mmask16 mask(int k) const { return half() - k >= 16 ? 0xffff : (1u << (half() - k)) - 1; }
};

// Room for one thread's arrays, each on a cache line of its own.
class Room {
  public:
    explicit Room(size_t bytes) : start(static_cast<char *>(::operator new(bytes, std::align_val_t(64)))), free(start) {}
    ~Room() { ::operator delete(start, std::align_val_t(64)); }
    Room(const Room &) = delete;
    Room &operator=(const Room &) = delete;

    template <class Number>
    Number *take(size_t numbers) {
        char *here = free;
        free += (numbers * sizeof(Number) + 63) / 64 * 64;
        return reinterpret_cast<Number *>(here);
    }

  private:
    char *start, *free;
};

inline __m512i low(__m512 v) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(v)); }

inline __m512i paired(__m512 first, __m512 second) {
    return _mm512_or_si512(low(first), _mm512_slli_epi32(low(second), 16));
}

inline Halves halves(const bf16 *row, const Shape &s, int k) {
    const __m256i a = _mm256_maskz_loadu_epi16(s.mask(k), row + k);
    const __m256i b = _mm256_maskz_loadu_epi16(s.mask(k), row + s.half() + k);
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16)),
            _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16))};
}

inline Halves halves(const float *row, const Shape &s, int k) {
    return {_mm512_maskz_loadu_ps(s.mask(k), row + k), _mm512_maskz_loadu_ps(s.mask(k), row + s.half() + k)};
}

inline void put(bf16 *row, const Shape &s, int k, Halves v) {
    _mm256_mask_storeu_epi16(row + k, s.mask(k), (__m256i)_mm512_cvtneps_pbh(v.first));
    _mm256_mask_storeu_epi16(row + s.half() + k, s.mask(k), (__m256i)_mm512_cvtneps_pbh(v.second));
}

// A position's cosines and sines, M of each.
inline Halves turned(Halves v, const float *angles, int M, int k) {
    const __m512 c = _mm512_loadu_ps(angles + k), n = _mm512_loadu_ps(angles + M + k);
    return {_mm512_fmsub_ps(v.first, c, mul(v.second, n)), _mm512_fmadd_ps(v.second, c, mul(v.first, n))};
}

inline Halves turned_back(Halves v, const float *angles, int M, int k) {
    const __m512 c = _mm512_loadu_ps(angles + k), n = _mm512_loadu_ps(angles + M + k);
    return {_mm512_fmadd_ps(v.first, c, mul(v.second, n)), _mm512_fmsub_ps(v.second, c, mul(v.first, n))};
}

// Rows of pairs from rows `stride` numbers apart, turned unless there are no angles.
template <class Number>
void read(const Shape &s, const Number *from, size_t stride, int rows, const float *angles, pair *to) {
    const int M = s.padded();
    for (int r = 0; r < rows; ++r)
        for (int k = 0; k < M; k += 16) {
            Halves v = halves(from + r * stride, s, k);
            if (angles) v = turned(v, angles + size_t(r) * 2 * M, M, k);
            _mm512_store_si512(to + size_t(r) * M + k, paired(v.first, v.second));
        }
}

void clear(pair *to, size_t numbers) {
    for (size_t i = 0; i < numbers; i += 16) _mm512_store_si512(to + i, _mm512_setzero_si512());
}

inline void transpose(__m512i (&v)[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
        v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

// Packed for products over the numbers of a row: [rows/16][M][16], a column for each row.
void pack_across(const pair *from, int rows, int M, pair *to) {
    for (int r = 0; r < rows; r += 16)
        for (int k = 0; k < M; k += 16) {
            __m512i square[16];
            for (int i = 0; i < 16; ++i) square[i] = _mm512_load_si512(from + size_t(r + i) * M + k);
            transpose(square);
            for (int i = 0; i < 16; ++i) _mm512_store_si512(to + (size_t(r / 16) * M + k + i) * 16, square[i]);
        }
}

// Packed for products over rows: [2 M / 16][rows/2][16], first all first halves and then all second ones.
void pack_along(const pair *from, int rows, int M, pair *to) {
    const __m512i lower = _mm512_set1_epi32(0xffff);
    for (int r = 0; r < rows; r += 2)
        for (int k = 0; k < M; k += 16) {
            const __m512i a = _mm512_load_si512(from + size_t(r) * M + k), b = _mm512_load_si512(from + size_t(r + 1) * M + k);
            pair *first = to + (size_t(k / 16) * (rows / 2) + r / 2) * 16;
            pair *second = first + size_t(M / 16) * (rows / 2) * 16;
            _mm512_store_si512(first, _mm512_or_si512(_mm512_and_si512(a, lower), _mm512_slli_epi32(b, 16)));
            _mm512_store_si512(second, _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_andnot_si512(lower, b)));
        }
}

// out[r][16 c] (+)= sum over pairs of a's row r times block c of a packed matrix.
struct Product {
    const pair *a;
    size_t row, next;  // from row to row of a, and from pair to pair
    const pair *packed;
    size_t block;  // from block to block
    int pairs, blocks;
    float *out;
    size_t out_row;
    bool adds;

    template <int R>
    void run(int first) const {
        int c = 0;
        for (; blocks - c == 3 || blocks - c > 4; c += 3) tile<R, 3>(first, c);
        for (; blocks - c >= 2; c += 2) tile<R, 2>(first, c);
        if (blocks > c) tile<R, 1>(first, c);
    }

    template <int R, int C>
    void tile(int first, int c) const {
        const pair *rows = a + first * row, *weights = packed + c * block;
        float *to = out + first * out_row + c * 16;
        __m512 acc[R][C];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
            for (int i = 0; i < C; ++i)
                acc[r][i] = adds ? _mm512_loadu_ps(to + r * out_row + i * 16) : _mm512_setzero_ps();
        for (int k = 0; k < pairs; ++k) {
            __m512bh w[C];
#pragma GCC unroll 3
            for (int i = 0; i < C; ++i) w[i] = (__m512bh)_mm512_loadu_si512(weights + i * block + size_t(k) * 16);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const __m512bh x = (__m512bh)_mm512_set1_epi32(rows[r * row + k * next]);
#pragma GCC unroll 3
                for (int i = 0; i < C; ++i) acc[r][i] = _mm512_dpbf16_ps(acc[r][i], x, w[i]);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 3
            for (int i = 0; i < C; ++i) _mm512_storeu_ps(to + r * out_row + i * 16, acc[r][i]);
    }
};

void multiply(int rows, Product product) { in_groups<8>(0, rows, product); }

// The bits of the lanes from `first` to `last`, both included.
inline __mmask16 lanes(int first, int last) {
    const int from = first < 0 ? 0 : first > 16 ? 16 : first, to = last < -1 ? 0 : last > 15 ? 16 : last + 1;
    return static_cast<__mmask16>(((1u << to) - 1) & ~((1u << from) - 1));
}

// One head of one stream: its queries, keys and values as the products want them.
struct Head {
    const Shape &s;
    int M, N, S, C;
    pair *rows, *queries, *keys_across, *values_along, *values_across, *keys_along, *queries_along, *above, *above_along;
    pair *shares, *grads, *grads_flat;
    float *scores, *products, *mixed, *grad_keys, *grad_values;
    const float *angles;
    int first_real;  // keys before this one are not real

    static size_t bytes(const Shape &s) {
        const size_t M = s.padded(), N = s.queries(), S = s.keys(), C = s.columns();
        return 4 * (5 * S * M + 8 * N * M + 2 * ROWS * C + 3 * ROWS / 2 * C + 2 * ROWS * M);
    }

    Head(const Shape &shape, Room &room, const float *angles)
        : s(shape), M(shape.padded()), N(shape.queries()), S(shape.keys()), C(shape.columns()), angles(angles) {
        rows = room.take<pair>(size_t(S) * M);
        keys_across = room.take<pair>(size_t(S) * M);
        values_across = room.take<pair>(size_t(S) * M);
        keys_along = room.take<pair>(size_t(S) * M);
        values_along = room.take<pair>(size_t(S) * M);
        queries = room.take<pair>(size_t(N) * M);
        queries_along = room.take<pair>(size_t(N) * M);
        above = room.take<pair>(size_t(N) * M);
        above_along = room.take<pair>(size_t(N) * M);
        grad_keys = room.take<float>(size_t(N) * 2 * M);
        grad_values = room.take<float>(size_t(N) * 2 * M);
        scores = room.take<float>(size_t(ROWS) * C);
        products = room.take<float>(size_t(ROWS) * C);
        shares = room.take<pair>(size_t(ROWS) / 2 * C);
        grads = room.take<pair>(size_t(ROWS) / 2 * C);
        grads_flat = room.take<pair>(size_t(ROWS) / 2 * C);
        mixed = room.take<float>(size_t(ROWS) * 2 * M);
        clear(queries, size_t(N) * M);
        clear(above, size_t(N) * M);
        clear(rows, size_t(S) * M);
    }

    // All keys (turned) or values, past and new, as rows of pairs.
    void read_all(const float *past, const bf16 *fresh, bool turn) {
        read(s, past, s.K, s.P, turn ? angles : nullptr, rows);
        read(s, fresh, s.step(), s.T, turn ? angles + size_t(s.P) * 2 * M : nullptr, rows + size_t(s.P) * M);
    }

    void read_queries(const bf16 *fresh) { read(s, fresh, s.step(), s.T, angles + size_t(s.P) * 2 * M, queries); }

    // scores[r][c] of `count` queries from `start` on, and the key at start + c; padding is left out of the sum.
    void score(int start, int count) {
        multiply(count, {queries + size_t(start) * M, size_t(M), 1, keys_across + size_t(start / 16) * M * 16, size_t(M) * 16,
                         s.half(), C / 16, scores, size_t(C), false});
    }

    __mmask16 seen(int start, int r, int c) const {
        const int real = first_real - start, low = real > r ? real : r;
        return lanes(low - c, r + s.P - c);
    }

    void mix(int start, int count, bf16 *out, size_t stride, float *kept);
    void back(int start, int count, const float *kept, bf16 *grad);
    void back_through_softmax(int start, int count, const float *kept);
};

// Softmax of a block's rows, which become shares in bfloat16 before their sum is divided by, and the values mixed by them.
void Head::mix(int start, int count, bf16 *out, size_t stride, float *kept) {
    score(start, count);
    const __m512 unit = set1(LOG2_E / __builtin_sqrtf(float(s.K)));
    for (int r = 0; r < count; ++r) {
        const float *row = scores + size_t(r) * C;
        __m512 most = set1(-3e38f);
        for (int c = 0; c < C; c += 16) most = _mm512_mask_max_ps(most, seen(start, r, c), _mm512_load_ps(row + c), most);
        const __m512 top = set1(_mm512_reduce_max_ps(most));
        __m512 sum = _mm512_setzero_ps();
        for (int c = 0; c < C; c += 16) {
            const __m512 t = mul(_mm512_sub_ps(_mm512_load_ps(row + c), top), unit);
            const __m512 p = rounded(_mm512_maskz_mov_ps(seen(start, r, c), rough_power(t)));
            sum = add(sum, p);
            store(reinterpret_cast<bf16 *>(grads_flat) + size_t(r) * C + c, p);
        }
        kept[2 * r] = _mm512_cvtss_f32(top);
        kept[2 * r + 1] = 1.0f / _mm512_reduce_add_ps(sum);
    }
    multiply(count, {grads_flat, size_t(C) / 2, 1, values_along + size_t(start / 2) * 16, size_t(S) / 2 * 16, C / 2, M / 8,
                     mixed, size_t(2) * M, false});
    for (int r = 0; r < count; ++r)
        for (int k = 0; k < M; k += 16) {
            const float *row = mixed + size_t(r) * 2 * M + k;
            const __m512 share = set1(kept[2 * r + 1]);
            put(out + r * stride, s, k, {mul(_mm512_load_ps(row), share), mul(_mm512_load_ps(row + M), share)});
        }
}

// From scores and products (of the gradient above with the values) to shares and the scores' gradients, as pairs of queries
// for products over queries, and the latter as they are for products over keys. Missing queries are zeros.
void Head::back_through_softmax(int start, int count, const float *kept) {
    const __m512 unit = set1(LOG2_E / __builtin_sqrtf(float(s.K)));
    for (int r = 0; r < ROWS; r += 2) {
        __m512 dots[2];
        for (int i = 0; i < 2; ++i) {
            float *row = scores + size_t(r + i) * C;
            const float *product = products + size_t(r + i) * C;
            const bool real = r + i < count;
            const __m512 top = set1(real ? kept[2 * (r + i)] : 0.0f), share = set1(real ? kept[2 * (r + i) + 1] : 0.0f);
            __m512 dot = _mm512_setzero_ps();
            for (int c = 0; c < C; c += 16) {
                __m512 p = _mm512_setzero_ps();
                if (real) {
                    p = rough_power(mul(_mm512_sub_ps(_mm512_load_ps(row + c), top), unit));
                    p = _mm512_maskz_mul_ps(seen(start, r + i, c), p, share);
                    dot = _mm512_fmadd_ps(p, _mm512_load_ps(product + c), dot);
                }
                _mm512_store_ps(row + c, p);
            }
            dots[i] = set1(_mm512_reduce_add_ps(dot));
        }
        for (int c = 0; c < C; c += 16) {
            __m512 p[2], g[2];
            for (int i = 0; i < 2; ++i) {
                p[i] = _mm512_load_ps(scores + size_t(r + i) * C + c);
                g[i] = _mm512_setzero_ps();
                if (r + i >= count) continue;
                g[i] = mul(p[i], _mm512_sub_ps(_mm512_load_ps(products + size_t(r + i) * C + c), dots[i]));
                store(reinterpret_cast<bf16 *>(grads_flat) + size_t(r + i) * C + c, g[i]);
            }
            _mm512_store_si512(shares + size_t(r / 2) * C + c, paired(p[0], p[1]));
            _mm512_store_si512(grads + size_t(r / 2) * C + c, paired(g[0], g[1]));
        }
    }
}

// A block's part of all gradients: those of its queries are written, those of keys and values are added up.
void Head::back(int start, int count, const float *kept, bf16 *grad) {
    score(start, count);
    multiply(count, {above + size_t(start) * M, size_t(M), 1, values_across + size_t(start / 16) * M * 16, size_t(M) * 16,
                     s.half(), C / 16, products, size_t(C), false});
    back_through_softmax(start, count, kept);
    multiply(count, {grads_flat, size_t(C) / 2, 1, keys_along + size_t(start / 2) * 16, size_t(S) / 2 * 16, C / 2, M / 8,
                     mixed, size_t(2) * M, false});
    const __m512 unit = set1(1.0f / __builtin_sqrtf(float(s.K)));
    for (int r = 0; r < count; ++r)
        for (int k = 0; k < M; k += 16) {
            const float *row = mixed + size_t(r) * 2 * M + k;
            const Halves v = {mul(_mm512_load_ps(row), unit), mul(_mm512_load_ps(row + M), unit)};
            put(grad + (start + r) * s.step(), s, k, turned_back(v, angles + size_t(s.P + start + r) * 2 * M, M, k));
        }
    const int first = s.P > start ? s.P - start : 0, some = count + s.P - first;  // the past has no gradient
    const size_t to = size_t(start + first - s.P) * 2 * M, block = size_t(N) / 2 * 16, here = size_t(start / 2) * 16;
    multiply(some, {grads + first, 1, size_t(C), queries_along + here, block, ROWS / 2, M / 8, grad_keys + to, size_t(2) * M,
                    true});
    multiply(some, {shares + first, 1, size_t(C), above_along + here, block, ROWS / 2, M / 8, grad_values + to, size_t(2) * M,
                    true});
}

}  // namespace

extern "C" {

// heads [B][T][3][H][K]; past keys and values [B][H][P][K] in float32, the last filled[b] of them real; angles [S][2][M]:
// cosines and sines; mixed [B][T][H][K]; kept [B][H][T][2].
void attention_forward(int B, int T, int H, int K, int P, const bf16 *heads, const float *past_keys,
                       const float *past_values, const int64_t *filled, const float *angles, bf16 *mixed, float *kept,
                       int threads) {
    const Shape s = {B, T, H, K, P};
#pragma omp parallel num_threads(threads)
    {
        Room room(Head::bytes(s));
        Head head(s, room, angles);
#pragma omp for schedule(static)
        for (int unit = 0; unit < B * H; ++unit) {
            const int b = unit / H, h = unit % H;
            const bf16 *fresh = heads + size_t(b) * T * s.step() + size_t(h) * K;
            const size_t part = size_t(H) * K, past = size_t(unit) * P * K;
            head.first_real = P - static_cast<int>(filled[b] < P ? filled[b] : P);
            head.read_queries(fresh);
            head.read_all(past_keys + past, fresh + part, true);
            pack_across(head.rows, head.S, head.M, head.keys_across);
            head.read_all(past_values + past, fresh + 2 * part, false);
            pack_along(head.rows, head.S, head.M, head.values_along);
            bf16 *out = mixed + (size_t(b) * T * H + h) * K;
            for (int t = 0; t < T; t += ROWS)
                head.mix(t, T - t < ROWS ? T - t : ROWS, out + t * part, part, kept + (size_t(unit) * T + t) * 2);
        }
    }
}

// above [B][T][H][K] is the gradient of mixed; grad [B][T][3][H][K] that of heads.
void attention_backward(int B, int T, int H, int K, int P, const bf16 *heads, const float *past_keys,
                        const float *past_values, const int64_t *filled, const float *angles, const float *kept,
                        const bf16 *above, bf16 *grad, int threads) {
    const Shape s = {B, T, H, K, P};
#pragma omp parallel num_threads(threads)
    {
        Room room(Head::bytes(s));
        Head head(s, room, angles);
        const int M = head.M;
#pragma omp for schedule(static)
        for (int unit = 0; unit < B * H; ++unit) {
            const int b = unit / H, h = unit % H;
            const bf16 *fresh = heads + size_t(b) * T * s.step() + size_t(h) * K;
            const size_t part = size_t(H) * K, past = size_t(unit) * P * K;
            bf16 *to = grad + size_t(b) * T * s.step() + size_t(h) * K;
            head.first_real = P - static_cast<int>(filled[b] < P ? filled[b] : P);
            head.read_queries(fresh);
            pack_along(head.queries, head.N, M, head.queries_along);
            head.read_all(past_keys + past, fresh + part, true);
            pack_across(head.rows, head.S, M, head.keys_across);
            pack_along(head.rows, head.S, M, head.keys_along);
            head.read_all(past_values + past, fresh + 2 * part, false);
            pack_across(head.rows, head.S, M, head.values_across);
            read(s, above + (size_t(b) * T * H + h) * K, part, T, nullptr, head.above);
            pack_along(head.above, head.N, M, head.above_along);
            clear(reinterpret_cast<pair *>(head.grad_keys), size_t(head.N) * 2 * M);
            clear(reinterpret_cast<pair *>(head.grad_values), size_t(head.N) * 2 * M);
            for (int t = 0; t < T; t += ROWS)
                head.back(t, T - t < ROWS ? T - t : ROWS, kept + (size_t(unit) * T + t) * 2, to);
            const __m512 unit_of = set1(1.0f / __builtin_sqrtf(float(K)));
            for (int t = 0; t < T; ++t)
                for (int k = 0; k < M; k += 16) {
                    const float *keys = head.grad_keys + size_t(t) * 2 * M + k, *values = head.grad_values + (keys - head.grad_keys);
                    const Halves g = {mul(_mm512_load_ps(keys), unit_of), mul(_mm512_load_ps(keys + M), unit_of)};
                    put(to + t * s.step() + part, s, k, turned_back(g, angles + size_t(P + t) * 2 * M, M, k));
                    put(to + t * s.step() + 2 * part, s, k, {_mm512_load_ps(values), _mm512_load_ps(values + M)});
                }
        }
    }
}

}  // extern "C"
