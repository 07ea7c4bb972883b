// SPDX-License-Identifier: Apache-2.0
// What cuBLASLt does, as plain loops.
#include "gpu.h"

#include <vector>

#include "telehelm/kernels/cuda/gemm.h"

namespace telehelm::kernels::cuda {

struct Gemm::State {};
Gemm::Gemm() = default;
Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;

namespace {

void checkAligned(std::initializer_list<const void*> pointers, const LinearShape& shape) {
    for (const void* pointer : pointers)
        if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0 || shape.I % 8 != 0)
            host::broken("cuBLASLt was promised 16-byte alignment and inputs in multiples of 8");
}

} // namespace

void Gemm::forward(Bf16* y, const Bf16* x, const Bf16* weight, const Bf16* residual, const LinearShape& shape, float alpha,
                   const Stream& stream, std::int64_t yStride) {
    checkAligned({y, x, weight, residual}, shape);
    host::submit(stream, [=] {
        const std::int64_t stride = yStride > 0 ? yStride : shape.O;
        for (std::int64_t n = 0; n < shape.N; ++n)
            for (std::int64_t o = 0; o < shape.O; ++o) {
                float sum = 0;
                for (std::int64_t i = 0; i < shape.I; ++i)
                    sum += toFloat(x[n * shape.I + i]) * toFloat(weight[o * shape.I + i]);
                const float base = residual != nullptr ? toFloat(residual[n * stride + o]) : 0.0F;
                y[n * stride + o] = toBf16(alpha * sum + base);
            }
    });
}

void Gemm::backwardInput(Bf16* dX, const Bf16* dY, const Bf16* weight, const LinearShape& shape, float alpha, const Stream& stream,
                         std::int64_t dYStride) {
    checkAligned({dX, dY, weight}, shape);
    host::submit(stream, [=] {
        const std::int64_t stride = dYStride > 0 ? dYStride : shape.O;
        std::vector<float> sums(static_cast<std::size_t>(shape.I));
        for (std::int64_t n = 0; n < shape.N; ++n) {
            std::ranges::fill(sums, 0.0F);
            for (std::int64_t o = 0; o < shape.O; ++o)
                for (std::int64_t i = 0; i < shape.I; ++i)
                    sums[static_cast<std::size_t>(i)] += toFloat(dY[n * stride + o]) * toFloat(weight[o * shape.I + i]);
            for (std::int64_t i = 0; i < shape.I; ++i)
                dX[n * shape.I + i] = toBf16(alpha * sums[static_cast<std::size_t>(i)]);
        }
    });
}

void Gemm::backwardWeight(float* dWeight, const Bf16* dY, const Bf16* x, const LinearShape& shape, float alpha, const Stream& stream,
                          std::int64_t dYStride) {
    checkAligned({dWeight, dY, x}, shape);
    host::submit(stream, [=] {
        const std::int64_t stride = dYStride > 0 ? dYStride : shape.O;
        for (std::int64_t n = 0; n < shape.N; ++n)
            for (std::int64_t o = 0; o < shape.O; ++o)
                for (std::int64_t i = 0; i < shape.I; ++i)
                    dWeight[o * shape.I + i] += alpha * toFloat(dY[n * stride + o]) * toFloat(x[n * shape.I + i]);
    });
}

void Gemm::measureCandidates(bool) {}

double calibrateGemmGflops() {
    return 0; // there is no peak to be told
}

} // namespace telehelm::kernels::cuda
