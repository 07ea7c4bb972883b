// SPDX-License-Identifier: Apache-2.0
#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 128;

// One block a row.
__global__ void embeddingForwardKernel(Bf16* out, const Bf16* weight, const std::int32_t* tokens, Vocabulary own, int C,
                                       float mult) {
    const std::int64_t row = blockIdx.x, token = tokens[row] - own.first;
    const bool isOwn = token >= 0 && token < own.count;
    for (int c = static_cast<int>(threadIdx.x) * 8; c < C; c += static_cast<int>(blockDim.x) * 8) {
        Row8 values{};
        if (isOwn) {
            values = load8(weight + token * C + c);
            for (float& value : values.v)
                value *= mult;
        }
        store8(out + row * C + c, values);
    }
}

// One block a row; the first row of each token adds up all rows of that token, in order, so nothing is written twice.
__global__ void embeddingBackwardKernel(float* dWeight, const Bf16* dOut, const std::int32_t* tokens, Vocabulary own, int N,
                                        int C, float mult) {
    __shared__ unsigned matches[kThreads / kWarp];
    const int row = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
    const std::int64_t token = tokens[row], local = token - own.first;
    if (local < 0 || local >= own.count)
        return;
    bool isEarlier = false;
    for (int before = thread; before < row; before += static_cast<int>(kThreads))
        isEarlier |= tokens[before] == token;
    if (barrierAny(isEarlier))
        return;
    for (int base = row; base < N; base += static_cast<int>(kThreads)) {
        const unsigned own32 = ballot(base + thread < N && tokens[base + thread] == token);
        if (thread % kWarp == 0)
            matches[thread / kWarp] = own32;
        __syncthreads();
        for (int warp = 0; warp < static_cast<int>(kThreads) / kWarp; ++warp) {
            for (unsigned left = matches[warp]; left != 0; left &= left - 1) {
                const std::int64_t from = base + warp * kWarp + __ffs(static_cast<int>(left)) - 1;
                for (int c = thread * 8; c < C; c += static_cast<int>(kThreads) * 8) {
                    const Row8 gradient = load8(dOut + from * C + c);
                    float* const to = dWeight + local * C + c;
                    for (int i = 0; i < 8; ++i)
                        to[i] += mult * gradient.v[i];
                }
            }
        }
        __syncthreads(); // before the masks are written again
    }
}

} // namespace

void embeddingForward(Bf16* out, const Bf16* weight, const std::int32_t* tokens, const Vocabulary& own, std::int64_t N,
                      std::int64_t C, float mult, const Stream& stream) {
    require(C % 8 == 0, "embedding: C must be a multiple of 8");
    if (N > 0)
        launch("embeddingForward", embeddingForwardKernel, dim3(static_cast<unsigned>(N)), threadsFor(C / 8, kThreads), 0, stream,
               out, weight, tokens, own, C, mult);
}

void embeddingBackward(float* dWeight, const Bf16* dOut, const std::int32_t* tokens, const Vocabulary& own, std::int64_t N,
                       std::int64_t C, float mult, const Stream& stream) {
    require(C % 8 == 0, "embedding: C must be a multiple of 8");
    if (N > 0)
        launch("embeddingBackward", embeddingBackwardKernel, dim3(static_cast<unsigned>(N)), kThreads, 0, stream, dWeight, dOut,
               tokens, own, N, C, mult);
}

} // namespace telehelm::kernels::cuda
