// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/attention.h"

#include <algorithm>
#include <cmath>

namespace telehelm::kernels::reference {

namespace {

template <typename T> T dot(const T* a, const T* b, std::int64_t size) {
    T sum = 0;
    for (std::int64_t i = 0; i < size; ++i)
        sum += a[i] * b[i];
    return sum;
}

template <typename T> void addScaled(T* out, T factor, const T* in, std::int64_t size) {
    for (std::int64_t i = 0; i < size; ++i)
        out[i] += factor * in[i];
}

} // namespace

std::int64_t attentionScratch(const AttentionShape& shape) {
    return shape.T;
}

template <typename T>
void attentionForward(T* out, T* lse, const T* q, const T* k, const T* v, const AttentionShape& shape, T scale, T* scratch) {
    const std::int64_t D = shape.D;
    for (std::int64_t i = 0; i < shape.T; ++i) {
        for (std::int64_t j = 0; j <= i; ++j)
            scratch[j] = scale * dot(q + i * shape.stride, k + j * shape.stride, D);
        const T largest = *std::max_element(scratch, scratch + i + 1);
        T sum = 0;
        for (std::int64_t j = 0; j <= i; ++j)
            sum += std::exp(scratch[j] - largest);
        lse[i] = largest + std::log(sum);
        T* row = out + i * shape.outStride;
        std::fill(row, row + D, T(0));
        for (std::int64_t j = 0; j <= i; ++j)
            addScaled(row, std::exp(scratch[j] - lse[i]), v + j * shape.stride, D);
    }
}

template <typename T>
void attentionBackward(T* dq, T* dk, T* dv, const T* dOut, const T* q, const T* k, const T* v, const T* out, const T* lse,
                       const AttentionShape& shape, T scale, T* /*scratch*/) {
    const std::int64_t D = shape.D;
    for (T* gradient : {dq, dk, dv})
        for (std::int64_t i = 0; i < shape.T; ++i)
            std::fill(gradient + i * shape.stride, gradient + i * shape.stride + D, T(0));
    for (std::int64_t i = 0; i < shape.T; ++i) {
        const T* dRow = dOut + i * shape.outStride;
        const T delta = dot(dRow, out + i * shape.outStride, D);
        for (std::int64_t j = 0; j <= i; ++j) {
            const T p = std::exp(scale * dot(q + i * shape.stride, k + j * shape.stride, D) - lse[i]);
            const T dS = p * (dot(dRow, v + j * shape.stride, D) - delta);
            addScaled(dq + i * shape.stride, scale * dS, k + j * shape.stride, D);
            addScaled(dk + j * shape.stride, scale * dS, q + i * shape.stride, D);
            addScaled(dv + j * shape.stride, p, dRow, D);
        }
    }
}

template void attentionForward(float*, float*, const float*, const float*, const float*, const AttentionShape&, float, float*);
template void attentionForward(double*, double*, const double*, const double*, const double*, const AttentionShape&, double,
                               double*);
template void attentionBackward(float*, float*, float*, const float*, const float*, const float*, const float*, const float*,
                                const float*, const AttentionShape&, float, float*);
template void attentionBackward(double*, double*, double*, const double*, const double*, const double*, const double*,
                                const double*, const double*, const AttentionShape&, double, double*);

} // namespace telehelm::kernels::reference
