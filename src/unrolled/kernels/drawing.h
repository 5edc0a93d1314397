// A symbol from logits and one uniform number; sampling.py's `distribution` and `draw` say what it means.

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "exact.h"

namespace {

class Drawer {
    const int symbols, top_k;   // top_k at least 1; `symbols` keeps all
    const double temperature, top_p;
    std::vector<float> weights;
    std::vector<int> order;

    int likeliest(const float *logits) const {
        int best = 1;
        for (int v = 2; v < symbols; ++v)
            if (logits[v] > logits[best]) best = v;
        return best;
    }

    // weights = exp((logits - largest) / temperature), and none for symbol 0: it is never written.
    void weigh(const float *logits) {
        const float largest = logits[likeliest(logits)];
        const float inverse = static_cast<float>(std::min(1.0 / temperature, 1e38));
        for (int v = 0; v < symbols; v += 16) {
            const __mmask16 some = symbols - v < 16 ? __mmask16((1 << (symbols - v)) - 1) : __mmask16(0xFFFF);
            const __m512 x = mul(_mm512_sub_ps(_mm512_maskz_loadu_ps(some, logits + v), set1(largest)), set1(inverse));
            const __mmask16 counts = _mm512_mask_cmp_ps_mask(some, x, set1(-87.0f), _CMP_GT_OQ);
            _mm512_mask_storeu_ps(weights.data() + v, some, _mm512_maskz_mov_ps(counts, exact::exponential(x)));
        }
        weights[0] = 0.0f;
    }

    double total() const {
        double sum = 0.0;
        for (int v = 1; v < symbols; ++v) sum += weights[v];
        return sum;
    }

    // Keep the first `top_k`, then those before which less than `top_p` of the rest lies; equals stand in order.
    void cut() {
        for (int v = 0; v < symbols; ++v) order[v] = v;
        const auto before = [this](int a, int b) { return weights[a] != weights[b] ? weights[a] > weights[b] : a < b; };
        const int kept = std::min(top_k, symbols);
        std::partial_sort(order.begin(), order.begin() + kept, order.end(), before);
        for (int k = kept; k < symbols; ++k) weights[order[k]] = 0.0f;
        const double all = total();
        double reached = 0.0;
        for (int k = 0; k < kept; ++k) {
            const double share = weights[order[k]] / all;
            if (reached >= top_p) weights[order[k]] = 0.0f;
            reached += share;
        }
    }

  public:
    Drawer(int symbols, int top_k, double temperature, double top_p)
        : symbols(symbols), top_k(top_k), temperature(temperature), top_p(top_p), weights(symbols), order(symbols) {}

    // Return a symbol from 1 on; -1 where a logit is not finite.
    int draw(const float *logits, double uniform) {
        for (int v = 0; v < symbols; ++v)
            if (!std::isfinite(logits[v])) return -1;
        if (temperature == 0.0) return likeliest(logits);
        weigh(logits);
        if (top_k < symbols || top_p < 1.0) cut();
        const double target = uniform * total();
        double sum = 0.0;
        int last = 1;
        for (int v = 1; v < symbols; ++v) {
            if (weights[v] == 0.0f) continue;
            sum += weights[v];
            last = v;
            if (sum > target) break;
        }
        return last;
    }
};

}  // namespace
