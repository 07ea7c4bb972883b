// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/rms_norm.h"

#include <cmath>

namespace telehelm::kernels::reference {

template <typename T> void rmsNormForward(T* out, T* r, const T* x, const T* weight, std::int64_t N, std::int64_t C, T epsilon) {
    for (std::int64_t n = 0; n < N; ++n) {
        T squares = 0;
        for (std::int64_t c = 0; c < C; ++c)
            squares += x[n * C + c] * x[n * C + c];
        r[n] = 1 / std::sqrt(squares / static_cast<T>(C) + epsilon);
        for (std::int64_t c = 0; c < C; ++c)
            out[n * C + c] = x[n * C + c] * r[n] * weight[c];
    }
}

template <typename T>
void rmsNormBackward(T* dX, T* dWeight, const T* residual, const T* dOut, const T* x, const T* weight, const T* r, std::int64_t N,
                     std::int64_t C) {
    for (std::int64_t n = 0; n < N; ++n) {
        T mean = 0; // of g · x
        for (std::int64_t c = 0; c < C; ++c)
            mean += dOut[n * C + c] * weight[c] * x[n * C + c];
        mean /= static_cast<T>(C);
        for (std::int64_t c = 0; c < C; ++c) {
            const T g = dOut[n * C + c] * weight[c];
            dWeight[c] += dOut[n * C + c] * x[n * C + c] * r[n];
            dX[n * C + c] = residual[n * C + c] + r[n] * (g - x[n * C + c] * r[n] * r[n] * mean);
        }
    }
}

template void rmsNormForward(float*, float*, const float*, const float*, std::int64_t, std::int64_t, float);
template void rmsNormForward(double*, double*, const double*, const double*, std::int64_t, std::int64_t, double);
template void rmsNormBackward(float*, float*, const float*, const float*, const float*, const float*, const float*, std::int64_t,
                              std::int64_t);
template void rmsNormBackward(double*, double*, const double*, const double*, const double*, const double*, const double*,
                              std::int64_t, std::int64_t);

} // namespace telehelm::kernels::reference
