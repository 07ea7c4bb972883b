// SPDX-License-Identifier: Apache-2.0
// sgemm on the calling thread, row-major.
#pragma once

#include <cstdint>

namespace telehelm::kernels::cpu {

struct Matrix {
    const float* data;
    std::int64_t stride; // elements between stored rows
    bool transposed = false;
};

/// out (M, N) = alpha · a (M, K) b (K, N) + beta · out.
void gemm(float* out, std::int64_t outStride, std::int64_t M, std::int64_t N, std::int64_t K, float alpha, Matrix a, Matrix b,
          float beta);

} // namespace telehelm::kernels::cpu
