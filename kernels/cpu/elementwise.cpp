// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/elementwise.h"

namespace telehelm::kernels::cpu {

void addTo(float* out, const float* in, std::int64_t size) {
#pragma omp simd
    for (std::int64_t i = 0; i < size; ++i)
        out[i] += in[i];
}

double sumOfSquares(const float* x, std::int64_t size) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < size; ++i)
        sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum;
}

} // namespace telehelm::kernels::cpu
