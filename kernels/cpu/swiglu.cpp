// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/swiglu.h"

#include "vector_math.h"

namespace telehelm::kernels::cpu {

void swigluForward(float* out, const float* gateUp, std::int64_t N, std::int64_t F) {
    for (std::int64_t n = 0; n < N; ++n) {
        const float *gate = gateUp + n * 2 * F, *up = gate + F;
        float* to = out + n * F;
#pragma omp simd
        for (std::int64_t f = 0; f < F; ++f)
            to[f] = gate[f] * vectorSigmoid(gate[f]) * up[f];
    }
}

void swigluBackward(float* dGateUp, const float* dOut, const float* gateUp, std::int64_t N, std::int64_t F) {
    for (std::int64_t n = 0; n < N; ++n) {
        const float *gate = gateUp + n * 2 * F, *up = gate + F, *d = dOut + n * F;
        float *dGate = dGateUp + n * 2 * F, *dUp = dGate + F;
#pragma omp simd
        for (std::int64_t f = 0; f < F; ++f) {
            const float g = gate[f], u = up[f], s = vectorSigmoid(g);
            dGate[f] = d[f] * u * s * (1.0F + g * (1.0F - s));
            dUp[f] = d[f] * g * s;
        }
    }
}

} // namespace telehelm::kernels::cpu
