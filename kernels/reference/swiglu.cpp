// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/swiglu.h"

#include <cmath>

namespace telehelm::kernels::reference {

template <typename T> void swigluForward(T* out, const T* gateUp, std::int64_t N, std::int64_t F) {
    for (std::int64_t n = 0; n < N; ++n) {
        for (std::int64_t f = 0; f < F; ++f) {
            const T gate = gateUp[n * 2 * F + f], up = gateUp[n * 2 * F + F + f];
            out[n * F + f] = gate / (1 + std::exp(-gate)) * up;
        }
    }
}

template <typename T> void swigluBackward(T* dGateUp, const T* dOut, const T* gateUp, std::int64_t N, std::int64_t F) {
    for (std::int64_t n = 0; n < N; ++n) {
        for (std::int64_t f = 0; f < F; ++f) {
            const T gate = gateUp[n * 2 * F + f], up = gateUp[n * 2 * F + F + f];
            const T sigmoid = 1 / (1 + std::exp(-gate));
            dGateUp[n * 2 * F + f] = dOut[n * F + f] * up * sigmoid * (1 + gate * (1 - sigmoid));
            dGateUp[n * 2 * F + F + f] = dOut[n * F + f] * gate * sigmoid;
        }
    }
}

template void swigluForward(float*, const float*, std::int64_t, std::int64_t);
template void swigluForward(double*, const double*, std::int64_t, std::int64_t);
template void swigluBackward(float*, const float*, const float*, std::int64_t, std::int64_t);
template void swigluBackward(double*, const double*, const double*, std::int64_t, std::int64_t);

} // namespace telehelm::kernels::reference
