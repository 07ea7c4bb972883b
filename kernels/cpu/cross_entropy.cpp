// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/cross_entropy.h"

#include <cmath>

#include "row_math.h"

namespace telehelm::kernels::cpu {

void crossEntropyForward(float* nats, const float* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V) {
    for (std::int64_t n = 0; n < N; ++n) {
        const float* row = logits + n * V;
        const float largest = rowMax(row, V);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t v = 0; v < V; ++v)
            sum += vectorExp(row[v] - largest);
        nats[n] = std::log(sum) - (row[targets[n]] - largest);
    }
}

void crossEntropyForwardBackward(float* nats, float* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V,
                                 float gradScale) {
    for (std::int64_t n = 0; n < N; ++n) {
        float* row = logits + n * V;
        const float largest = rowMax(row, V);
        const float target = row[targets[n]] - largest;
        const float sum = rowExp(row, row, largest, V);
        nats[n] = std::log(sum) - target;
        const float scale = gradScale / sum;
#pragma omp simd
        for (std::int64_t v = 0; v < V; ++v)
            row[v] *= scale;
        row[targets[n]] -= gradScale;
    }
}

void vocabMax(float* largest, const float* logits, std::int64_t N, std::int64_t V) {
    for (std::int64_t n = 0; n < N; ++n)
        largest[n] = rowMax(logits + n * V, V);
}

void vocabExp(float* sums, float* targetLogits, float* logits, const float* largest, const std::int32_t* targets, std::int64_t first,
              std::int64_t N, std::int64_t V) {
    for (std::int64_t n = 0; n < N; ++n) {
        float* row = logits + n * V;
        const std::int64_t target = targets[n] - first;
        targetLogits[n] = target >= 0 && target < V ? row[target] - largest[n] : float(0);
        sums[n] = rowExp(row, row, largest[n], V);
    }
}

void vocabGradient(float* logits, const float* sums, const std::int32_t* targets, std::int64_t first, std::int64_t N, std::int64_t V,
                   float gradScale) {
    for (std::int64_t n = 0; n < N; ++n) {
        float* row = logits + n * V;
        const float scale = gradScale / sums[n];
        for (std::int64_t v = 0; v < V; ++v)
            row[v] *= scale;
        if (const std::int64_t target = targets[n] - first; target >= 0 && target < V)
            row[target] -= gradScale;
    }
}

} // namespace telehelm::kernels::cpu
