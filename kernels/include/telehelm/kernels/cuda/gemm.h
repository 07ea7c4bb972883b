// SPDX-License-Identifier: Apache-2.0
// Products of matrices through cuBLASLt, with the meanings of linear.h: bf16 factors, fp32 sums, bf16 or fp32 results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "telehelm/kernels/cuda/bf16.h"
#include "telehelm/kernels/cuda/runtime.h"
#include "telehelm/kernels/linear.h"

namespace telehelm::kernels::cuda {

/// Owns a cuBLASLt handle, its workspace and, by shape, descriptors and the chosen algorithm; a shape's first call asks the
/// heuristics, so it is slower and may not be recorded in a graph: call prepare… first. One stream at a time. Device pointers
/// aligned to 16 bytes, I and O multiples of 8. The heuristics' first answer is a pure function of shape, library and device, and
/// split sums go through the workspace in a fixed order: the same bits twice.
class Gemm {
public:
    /// Of device memory; what cuBLAS itself takes on Hopper is 32 MiB.
    static constexpr std::size_t kWorkspaceBytes = std::size_t{64} << 20;

    Gemm();
    ~Gemm();
    Gemm(Gemm&&) noexcept;
    Gemm& operator=(Gemm&&) noexcept;

    /// y = alpha · x Wᵀ + residual; `residual` null: nothing is added. y may be `residual`. The sum is rounded to bf16 once.
    /// `yStride`: elements between rows of y, 0: O.
    void forward(Bf16* y, const Bf16* x, const Bf16* weight, const Bf16* residual, const LinearShape& shape, float alpha,
                 const Stream& stream, std::int64_t yStride = 0);
    /// dX = alpha · dY W. `dYStride` as above.
    void backwardInput(Bf16* dX, const Bf16* dY, const Bf16* weight, const LinearShape& shape, float alpha, const Stream& stream,
                       std::int64_t dYStride = 0);
    /// dWeight += alpha · dYᵀ x in fp32.
    void backwardWeight(float* dWeight, const Bf16* dY, const Bf16* x, const LinearShape& shape, float alpha,
                        const Stream& stream, std::int64_t dYStride = 0);

    /// Tries the heuristics' best candidates for each new shape on its own operands and keeps the fastest, instead of the first:
    /// outside of recording only; another process may then choose another, so resumes are exact only with it off (the default).
    void measureCandidates(bool on);

private:
    struct State;
    std::unique_ptr<State> m_state;
};

/// What a product of 8192 x 8192 x 8192 in bf16 on random numbers reaches here, in GFLOP/s: the best of a few calls.
[[nodiscard]] double calibrateGemmGflops();
/// Device memory that must be free for it.
inline constexpr std::size_t kCalibrationBytes = std::size_t{1} << 29;

} // namespace telehelm::kernels::cuda
