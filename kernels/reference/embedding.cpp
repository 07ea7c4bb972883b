// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/embedding.h"

namespace telehelm::kernels::reference {

template <typename T>
void embeddingForward(T* out, const T* weight, const std::int32_t* tokens, std::int64_t N, std::int64_t C, T mult) {
    for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t c = 0; c < C; ++c)
            out[n * C + c] = mult * weight[tokens[n] * C + c];
}

template <typename T>
void embeddingBackward(T* dWeight, const T* dOut, const std::int32_t* tokens, std::int64_t N, std::int64_t C, T mult,
                       std::int64_t from, std::int64_t to) {
    for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t c = from; c < to; ++c)
            dWeight[tokens[n] * C + c] += mult * dOut[n * C + c];
}

template void embeddingForward(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t, float);
template void embeddingForward(double*, const double*, const std::int32_t*, std::int64_t, std::int64_t, double);
template void embeddingBackward(float*, const float*, const std::int32_t*, std::int64_t, std::int64_t, float, std::int64_t,
                                std::int64_t);
template void embeddingBackward(double*, const double*, const std::int32_t*, std::int64_t, std::int64_t, double, std::int64_t,
                                std::int64_t);

} // namespace telehelm::kernels::reference
