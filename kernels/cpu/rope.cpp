// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/rope.h"

namespace telehelm::kernels::cpu {

namespace {

template <bool kBack> void rotate(float* qkv, const float* cos, const float* sin, const RopeShape& shape) {
    const std::int64_t half = shape.D / 2;
    for (std::int64_t n = 0; n < shape.N; ++n) {
        const std::int64_t t = (shape.firstRow + n) % shape.T;
        const float *c = cos + t * half, *s = sin + t * half;
        for (std::int64_t head = 0; head < 2 * shape.H; ++head) {
            float* low = qkv + n * 3 * shape.H * shape.D + head * shape.D;
            float* high = low + half;
#pragma omp simd
            for (std::int64_t i = 0; i < half; ++i) {
                const float a = low[i], b = high[i], turn = kBack ? -s[i] : s[i];
                low[i] = a * c[i] - b * turn;
                high[i] = b * c[i] + a * turn;
            }
        }
    }
}

} // namespace

void ropeForward(float* qkv, const float* cos, const float* sin, const RopeShape& shape) {
    rotate<false>(qkv, cos, sin, shape);
}

void ropeBackward(float* dQkv, const float* cos, const float* sin, const RopeShape& shape) {
    rotate<true>(dQkv, cos, sin, shape);
}

} // namespace telehelm::kernels::cpu
