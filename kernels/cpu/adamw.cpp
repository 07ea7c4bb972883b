// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/adamw.h"

#include <cmath>

namespace telehelm::kernels::cpu {

void adamw(float* parameters, float* first, float* second, const float* gradients, std::int64_t size,
           const AdamWStep<float>& step) {
    const AdamWStep<float> s = step;
    const float gain1 = 1.0F - s.beta1, gain2 = 1.0F - s.beta2, keep = 1.0F - s.rate * s.decay;
#pragma omp simd
    for (std::int64_t i = 0; i < size; ++i) {
        const float g = s.gradScale * gradients[i];
        const float m = s.beta1 * first[i] + gain1 * g;
        const float v = s.beta2 * second[i] + gain2 * g * g;
        first[i] = m;
        second[i] = v;
        parameters[i] = keep * parameters[i] - s.rate * (m * s.firstCorrection) / (std::sqrt(v * s.secondCorrection) + s.epsilon);
    }
}

} // namespace telehelm::kernels::cpu
