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

template <typename T>
void vocabMax(T* largest, const T* logits, std::int64_t N, std::int64_t V) {
    for (std::int64_t n = 0; n < N; ++n)
        largest[n] = *std::max_element(logits + n * V, logits + (n + 1) * V);
}

template <typename T>
void vocabExp(T* sums, T* targetLogits, T* logits, const T* largest, const std::int32_t* targets, std::int64_t first,
              std::int64_t N, std::int64_t V) {
    for (std::int64_t n = 0; n < N; ++n) {
        T* row = logits + n * V;
        const std::int64_t target = targets[n] - first;
        targetLogits[n] = target >= 0 && target < V ? row[target] - largest[n] : T(0);
        sums[n] = 0;
        for (std::int64_t v = 0; v < V; ++v)
            sums[n] += row[v] = std::exp(row[v] - largest[n]);
    }
}

template <typename T>
void vocabGradient(T* logits, const T* sums, const std::int32_t* targets, std::int64_t first, std::int64_t N, std::int64_t V,
                   T gradScale) {
    for (std::int64_t n = 0; n < N; ++n) {
        T* row = logits + n * V;
        const T scale = gradScale / sums[n];
        for (std::int64_t v = 0; v < V; ++v)
            row[v] *= scale;
        if (const std::int64_t target = targets[n] - first; target >= 0 && target < V)
            row[target] -= gradScale;
    }
}

template void crossEntropyForward(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t);
template void crossEntropyForward(double*, const double*, const std::int32_t*, std::int64_t, std::int64_t);
template void crossEntropyForwardBackward(float*, float*, const std::int32_t*, std::int64_t, std::int64_t, float);
template void crossEntropyForwardBackward(double*, double*, const std::int32_t*, std::int64_t, std::int64_t, double);
template void vocabMax(float*, const float*, std::int64_t, std::int64_t);
template void vocabExp(float*, float*, float*, const float*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t);
template void vocabGradient(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t, float);
template void vocabMax(double*, const double*, std::int64_t, std::int64_t);
template void vocabExp(double*, double*, double*, const double*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t);
template void vocabGradient(double*, const double*, const std::int32_t*, std::int64_t, std::int64_t, std::int64_t, double);

} // namespace telehelm::kernels::reference
