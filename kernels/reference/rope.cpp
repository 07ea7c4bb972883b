// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/rope.h"

#include <cmath>

namespace telehelm::kernels::reference {

namespace {

template <typename T> void rotate(T* qkv, const T* cos, const T* sin, const RopeShape& shape, T direction) {
    const std::int64_t half = shape.D / 2;
    for (std::int64_t n = 0; n < shape.N; ++n) {
        const std::int64_t t = (shape.firstRow + n) % shape.T;
        for (std::int64_t head = 0; head < 2 * shape.H; ++head) { // q's, then k's
            T* x = qkv + n * 3 * shape.H * shape.D + head * shape.D;
            for (std::int64_t i = 0; i < half; ++i) {
                const T a = x[i], b = x[i + half];
                const T c = cos[t * half + i], s = direction * sin[t * half + i];
                x[i] = a * c - b * s;
                x[i + half] = b * c + a * s;
            }
        }
    }
}

} // namespace

template <typename T> void ropeTable(T* cos, T* sin, std::int64_t length, std::int64_t D, double theta) {
    const std::int64_t half = D / 2;
    for (std::int64_t t = 0; t < length; ++t) {
        for (std::int64_t i = 0; i < half; ++i) {
            const double angle = static_cast<double>(t) * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
            cos[t * half + i] = static_cast<T>(std::cos(angle));
            sin[t * half + i] = static_cast<T>(std::sin(angle));
        }
    }
}

template <typename T> void ropeForward(T* qkv, const T* cos, const T* sin, const RopeShape& shape) {
    rotate(qkv, cos, sin, shape, T(1));
}

template <typename T> void ropeBackward(T* dQkv, const T* cos, const T* sin, const RopeShape& shape) {
    rotate(dQkv, cos, sin, shape, T(-1));
}

template void ropeTable(float*, float*, std::int64_t, std::int64_t, double);
template void ropeTable(double*, double*, std::int64_t, std::int64_t, double);
template void ropeForward(float*, const float*, const float*, const RopeShape&);
template void ropeForward(double*, const double*, const double*, const RopeShape&);
template void ropeBackward(float*, const float*, const float*, const RopeShape&);
template void ropeBackward(double*, const double*, const double*, const RopeShape&);

} // namespace telehelm::kernels::reference
