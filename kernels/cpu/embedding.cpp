// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/embedding.h"

namespace telehelm::kernels::cpu {

void embeddingForward(float* out, const float* weight, const std::int32_t* tokens, std::int64_t N, std::int64_t C, float mult) {
    for (std::int64_t n = 0; n < N; ++n) {
        const float* from = weight + tokens[n] * C;
        float* to = out + n * C;
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c)
            to[c] = mult * from[c];
    }
}

void embeddingBackward(float* dWeight, const float* dOut, const std::int32_t* tokens, std::int64_t N, std::int64_t C, float mult,
                       std::int64_t from, std::int64_t to) {
    for (std::int64_t n = 0; n < N; ++n) {
        float* row = dWeight + tokens[n] * C;
        const float* dRow = dOut + n * C;
#pragma omp simd
        for (std::int64_t c = from; c < to; ++c)
            row[c] += mult * dRow[c];
    }
}

} // namespace telehelm::kernels::cpu
