// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

namespace telehelm::kernels::reference {

namespace {

template <typename T> T logSumExp(const T* row, std::int64_t V) {
    const T largest = *std::max_element(row, row + V);
    T sum = 0;
    for (std::int64_t v = 0; v < V; ++v)
        sum += std::exp(row[v] - largest);
    return largest + std::log(sum);
}

} // namespace

template <typename T>
void crossEntropyForward(T* nats, const T* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V) {
    for (std::int64_t n = 0; n < N; ++n)
        nats[n] = logSumExp(logits + n * V, V) - logits[n * V + targets[n]];
}

template <typename T>
void crossEntropyForwardBackward(T* nats, T* logits, const std::int32_t* targets, std::int64_t N, std::int64_t V, T gradScale) {
    for (std::int64_t n = 0; n < N; ++n) {
        T* row = logits + n * V;
        const T lse = logSumExp(row, V);
        nats[n] = lse - row[targets[n]];
        for (std::int64_t v = 0; v < V; ++v)
            row[v] = gradScale * (std::exp(row[v] - lse) - (v == targets[n] ? T(1) : T(0)));
    }
}

template void crossEntropyForward(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t);
template void crossEntropyForward(double*, const double*, const std::int32_t*, std::int64_t, std::int64_t);
template void crossEntropyForwardBackward(float*, float*, const std::int32_t*, std::int64_t, std::int64_t, float);
template void crossEntropyForwardBackward(double*, double*, const std::int32_t*, std::int64_t, std::int64_t, double);

} // namespace telehelm::kernels::reference
