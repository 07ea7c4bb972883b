// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/linear.h"

namespace telehelm::kernels::reference {

template <typename T> void linearForward(T* y, const T* x, const T* weight, const LinearShape& shape, T alpha, Output output) {
    for (std::int64_t n = 0; n < shape.N; ++n) {
        for (std::int64_t o = 0; o < shape.O; ++o) {
            T sum = 0;
            for (std::int64_t i = 0; i < shape.I; ++i)
                sum += x[n * shape.I + i] * weight[o * shape.I + i];
            T& target = y[n * shape.O + o];
            target = alpha * sum + (output == Output::Add ? target : T(0));
        }
    }
}

template <typename T>
void linearBackwardInput(T* dX, const T* dY, const T* weight, const LinearShape& shape, T alpha, Output output) {
    for (std::int64_t n = 0; n < shape.N; ++n) {
        for (std::int64_t i = 0; i < shape.I; ++i) {
            T sum = 0;
            for (std::int64_t o = 0; o < shape.O; ++o)
                sum += dY[n * shape.O + o] * weight[o * shape.I + i];
            T& target = dX[n * shape.I + i];
            target = alpha * sum + (output == Output::Add ? target : T(0));
        }
    }
}

template <typename T>
void linearBackwardWeight(T* dWeight, const T* dY, const T* x, const LinearShape& shape, T alpha, std::int64_t from,
                          std::int64_t to) {
    for (std::int64_t o = from; o < to; ++o) {
        for (std::int64_t i = 0; i < shape.I; ++i) {
            T sum = 0;
            for (std::int64_t n = 0; n < shape.N; ++n)
                sum += dY[n * shape.O + o] * x[n * shape.I + i];
            dWeight[o * shape.I + i] += alpha * sum;
        }
    }
}

template void linearForward(float*, const float*, const float*, const LinearShape&, float, Output);
template void linearForward(double*, const double*, const double*, const LinearShape&, double, Output);
template void linearBackwardInput(float*, const float*, const float*, const LinearShape&, float, Output);
template void linearBackwardInput(double*, const double*, const double*, const LinearShape&, double, Output);
template void linearBackwardWeight(float*, const float*, const float*, const LinearShape&, float, std::int64_t, std::int64_t);
template void linearBackwardWeight(double*, const double*, const double*, const LinearShape&, double, std::int64_t, std::int64_t);

} // namespace telehelm::kernels::reference
