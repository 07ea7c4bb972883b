// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/rms_norm.h"

#include <cmath>

#include "row_math.h"

namespace telehelm::kernels::cpu {

void rmsNormForward(float* out, float* r, const float* x, const float* weight, std::int64_t N, std::int64_t C, float epsilon) {
    for (std::int64_t n = 0; n < N; ++n) {
        const float* row = x + n * C;
        float* to = out + n * C;
        const float scale = 1.0F / std::sqrt(rowDot(row, row, C) / static_cast<float>(C) + epsilon);
        r[n] = scale;
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c)
            to[c] = row[c] * scale * weight[c];
    }
}

void rmsNormBackward(float* dX, float* dWeight, const float* residual, const float* dOut, const float* x, const float* weight,
                     const float* r, std::int64_t N, std::int64_t C) {
    for (std::int64_t n = 0; n < N; ++n) {
        const float* row = x + n * C;
        const float* dRow = dOut + n * C;
        const float* around = residual + n * C;
        float* to = dX + n * C;
        const float scale = r[n];
        float mean = 0;
#pragma omp simd reduction(+ : mean)
        for (std::int64_t c = 0; c < C; ++c)
            mean += dRow[c] * weight[c] * row[c];
        mean /= static_cast<float>(C);
        const float pull = scale * scale * scale * mean;
#pragma omp simd
        for (std::int64_t c = 0; c < C; ++c) {
            dWeight[c] += dRow[c] * row[c] * scale;
            to[c] = around[c] + scale * dRow[c] * weight[c] - pull * row[c];
        }
    }
}

} // namespace telehelm::kernels::cpu
