// SPDX-License-Identifier: Apache-2.0
#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 128;
constexpr int kList = 512; // rows of one token that are added up together

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

/// Rows of one token, in order, and how many there are: the same in all threads.
struct RowList {
    int* rows; // kList, shared
    int count = 0;

    /// Takes up those of [base, base + kThreads) that have the token.
    __device__ void add(const std::int32_t* tokens, std::int64_t token, int base, int N, unsigned* matches) {
        const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
        const bool isMatch = base + thread < N && tokens[base + thread] == token;
        const unsigned own32 = ballot(isMatch);
        if (thread % kWarp == 0)
            matches[warp] = own32;
        __syncthreads();
        int before = count;
        for (int other = 0; other < static_cast<int>(kThreads) / kWarp; ++other) {
            before += other < warp ? __popc(matches[other]) : 0;
            count += __popc(matches[other]);
        }
        if (isMatch)
            rows[before + __popc(own32 & ((1U << thread % kWarp) - 1))] = base + thread;
        __syncthreads(); // the list stands, and the masks may be written again
    }
};

/// sum += dOut[rows[i]] of kRows rows: all loads are under way before the first is waited for.
template <int kChunks, int kRows>
__device__ inline void addRows(float (&sum)[kChunks][8], const Bf16* dOut, const int* rows, int C) {
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int c = (chunk * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)) * 8;
        if (c >= C)
            continue;
        Words words[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i)
            words[i] = loadWords(dOut + static_cast<std::int64_t>(rows[i]) * C + c);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const Row8 gradient = widened(words[i]);
#pragma unroll
            for (int j = 0; j < 8; ++j)
                sum[chunk][j] += gradient.v[j];
        }
    }
}

// One block a row; the first row of each token adds up all rows of that token, in order, so nothing is written twice. Text has tokens that
// are every twentieth one: their rows are summed in registers, four at a time.
template <int kChunks>
__global__ void embeddingBackwardKernel(float* dWeight, const Bf16* dOut, const std::int32_t* tokens, Vocabulary own, int N,
                                        int C, float mult) {
    __shared__ unsigned matches[kThreads / kWarp];
    __shared__ int rows[kList];
    const int row = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
    const std::int64_t token = tokens[row], local = token - own.first;
    if (local < 0 || local >= own.count)
        return;
    bool isEarlier = false;
    for (int before = thread; before < row; before += static_cast<int>(kThreads))
        isEarlier |= tokens[before] == token;
    if (barrierAny(isEarlier))
        return;
    float sum[kChunks][8] = {};
    RowList list{rows};
    for (int base = row; base < N; base += static_cast<int>(kThreads)) {
        list.add(tokens, token, base, N, matches);
        if (list.count + static_cast<int>(kThreads) <= kList && base + static_cast<int>(kThreads) < N)
            continue;
        int at = 0;
        for (; at + 4 <= list.count; at += 4)
            addRows<kChunks, 4>(sum, dOut, rows + at, C);
        for (; at < list.count; ++at)
            addRows<kChunks, 1>(sum, dOut, rows + at, C);
        list.count = 0;
        __syncthreads(); // all have read the list
    }
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int c = (chunk * static_cast<int>(kThreads) + thread) * 8;
        if (c >= C)
            continue;
        float* const to = dWeight + local * C + c;
        for (int j = 0; j < 8; ++j)
            to[j] += mult * sum[chunk][j];
    }
}

using BackwardKernel = void (*)(float*, const Bf16*, const std::int32_t*, Vocabulary, int, int, float);
BackwardKernel backwardKernelFor(std::int64_t C) {
    const std::int64_t chunks = (C / 8 + kThreads - 1) / kThreads;
    require(chunks <= 16, "embedding: C may be 16,384 at most");
    return chunks <= 1 ? &embeddingBackwardKernel<1> : chunks <= 2 ? &embeddingBackwardKernel<2> : chunks <= 4 ? &embeddingBackwardKernel<4>
           : chunks <= 8                             ? &embeddingBackwardKernel<8>
                                                     : &embeddingBackwardKernel<16>;
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
        launch("embeddingBackward", backwardKernelFor(C), dim3(static_cast<unsigned>(N)), kThreads, 0, stream, dWeight, dOut,
               tokens, own, N, C, mult);
}

} // namespace telehelm::kernels::cuda
