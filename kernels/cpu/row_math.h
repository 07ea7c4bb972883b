// SPDX-License-Identifier: Apache-2.0
// Reductions over one row, vectorised, in an order that depends on the size only.
#pragma once

#include <cstdint>
#include <limits>

#include "vector_math.h"

namespace telehelm::kernels::cpu {

inline float rowMax(const float* x, std::int64_t size) {
    float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
    for (std::int64_t i = 0; i < size; ++i)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

inline float rowDot(const float* a, const float* b, std::int64_t size) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < size; ++i)
        sum += a[i] * b[i];
    return sum;
}

/// out = exp(x − shift); returns the sum. out may be x.
inline float rowExp(float* out, const float* x, float shift, std::int64_t size) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < size; ++i) {
        const float e = vectorExp(x[i] - shift);
        out[i] = e;
        sum += e;
    }
    return sum;
}

} // namespace telehelm::kernels::cpu
