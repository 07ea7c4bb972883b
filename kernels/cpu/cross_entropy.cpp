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

} // namespace telehelm::kernels::cpu
