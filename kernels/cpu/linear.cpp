// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/linear.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include <cblas.h>

#include "gemm.h"
#include "telehelm/kernels/team.h"

namespace telehelm::kernels {

void useSingleThreadedBlas() {
    openblas_set_num_threads(1);
}

namespace cpu {

void gemm(float* out, std::int64_t outStride, std::int64_t M, std::int64_t N, std::int64_t K, float alpha, Matrix a, Matrix b,
          float beta) {
    if (M <= 0 || N <= 0)
        return;
    const auto blas = [](std::int64_t value) { return static_cast<blasint>(value); };
    cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans, blas(M),
                blas(N), blas(K), alpha, a.data, blas(a.stride), b.data, blas(b.stride), beta, out, blas(outStride));
}

void linearForward(float* y, const float* x, const float* weight, const LinearShape& shape, float alpha, Output output) {
    gemm(y, shape.O, shape.N, shape.O, shape.I, alpha, {x, shape.I}, {weight, shape.I, true},
         output == Output::Add ? 1.0F : 0.0F);
}

void linearBackwardInput(float* dX, const float* dY, const float* weight, const LinearShape& shape, float alpha, Output output) {
    gemm(dX, shape.I, shape.N, shape.I, shape.O, alpha, {dY, shape.O}, {weight, shape.I}, output == Output::Add ? 1.0F : 0.0F);
}

void linearBackwardWeight(float* dWeight, const float* dY, const float* x, const LinearShape& shape, float alpha,
                          std::int64_t from, std::int64_t to) {
    gemm(dWeight + from * shape.I, shape.I, to - from, shape.I, shape.N, alpha, {dY + from, shape.O, true}, {x, shape.I}, 1.0F);
}

} // namespace cpu

double calibrateSgemmGflops(int threads) {
    using Clock = std::chrono::steady_clock;
    constexpr std::int64_t kSize = 1024;
    constexpr double kFlops = 2.0 * kSize * kSize * kSize, kBudget = 0.25; // s
    useSingleThreadedBlas();
    std::vector<float> a(kSize * kSize, 0.5F), b(kSize * kSize, 0.25F), out(kSize * kSize);
    double best = 0, spent = 0;
    for (int call = 0; call < 2 || (spent < kBudget && call < 20); ++call) { // the first call warms caches and threads up
        const auto start = Clock::now();
        runTeam(threads, [&](const Worker& worker) {
            const Range rows = worker.share(kSize, 16);
            cpu::gemm(out.data() + rows.from * kSize, kSize, rows.size(), kSize, kSize, 1.0F,
                      {a.data() + rows.from * kSize, kSize}, {b.data(), kSize, true}, 0.0F);
        });
        const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        spent += seconds;
        best = std::max(best, kFlops / seconds * 1e-9);
    }
    return best;
}

} // namespace telehelm::kernels
