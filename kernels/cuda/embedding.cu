// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 128;
constexpr int kWarps = static_cast<int>(kThreads) / kWarp;
constexpr unsigned kBuckets = 1024;                          // blocks of the backward, at most
constexpr int kTurns = 8;                                    // tokens that a thread has under way at once
constexpr int kWindow = kTurns * static_cast<int>(kThreads); // and a block
constexpr int kList = 2 * kWindow;                           // rows that are added up together
constexpr int kRows = 8;                                     // of one token that are under way at once
constexpr int kNone = -1;
constexpr int kEnd = 0xFFFF; // no place in a list

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

/// Rows whose tokens are in this block's bucket, in order. Shared.
struct RowList {
    int rows[kList];
    int tokens[kList];              // less the rank's first
    std::uint16_t next[kList];      // where the token's next row stands, or kEnd
    unsigned firsts[kList / kWarp]; // bits: no row before this one has its token
    int found[kWarps];
};

/// Appends those of rows [base, base + kWindow) that are the bucket's; returns the list's new length.
__device__ inline int append(RowList& list, int length, const std::int32_t* tokens, const Vocabulary& own, int base, int N) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    const int row = base + warp * (kWindow / kWarps) + lane, first = static_cast<int>(own.first);
    int local[kTurns], found = 0;
    unsigned matches[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) // all under way before the first is waited for
        local[turn] = row + turn * kWarp < N ? tokens[row + turn * kWarp] - first : kNone;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
        const auto token = static_cast<unsigned>(local[turn]); // others' lie above `count`
        matches[turn] = ballot(token < static_cast<unsigned>(own.count) && token % kBuckets == blockIdx.x);
        found += __popc(matches[turn]);
    }
    if (lane == 0)
        list.found[warp] = found;
    __syncthreads();
    int to = length;
    for (int other = 0; other < kWarps; ++other) {
        to += other < warp ? list.found[other] : 0;
        length += list.found[other];
    }
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
        if ((matches[turn] >> lane & 1U) != 0) {
            const int at = to + __popc(matches[turn] & ((1U << lane) - 1));
            list.rows[at] = row + turn * kWarp;
            list.tokens[at] = local[turn];
            list.next[at] = kEnd;
        }
        to += __popc(matches[turn]);
    }
    __syncthreads(); // the list stands, and the counts may be written again
    return length;
}

/// Gives each row its next and finds the first of each token. A bucket has few tokens (of 80,000 there are 79), so a search is
/// short.
__device__ inline void linkRows(RowList& list, int length) {
    const int thread = static_cast<int>(threadIdx.x);
    for (int base = 0; base < length; base += static_cast<int>(kThreads)) { // whole warps
        const int at = base + thread;
        int before = kNone;
        if (at < length)
            for (before = at - 1; before >= 0 && list.tokens[before] != list.tokens[at];)
                --before;
        if (before >= 0)
            list.next[before] = static_cast<std::uint16_t>(at);
        const unsigned firsts = ballot(at < length && before < 0);
        if (thread % kWarp == 0)
            list.firsts[at / kWarp] = firsts;
    }
    __syncthreads();
}

/// sum += dOut[rows[i]]; kNone adds zeros. All loads of 8 columns are under way before the first is waited for.
template <int kChunks>
__device__ inline void addRows(float (&sum)[kChunks][8], const Bf16* dOut, const int (&rows)[kRows], int C) {
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int c = (chunk * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)) * 8;
        if (c >= C)
            continue;
        Words words[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i)
            words[i] = rows[i] == kNone ? Words{} : loadWords(dOut + static_cast<std::int64_t>(rows[i]) * C + c);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            const Row8 gradient = widened(words[i]);
#pragma unroll
            for (int j = 0; j < 8; ++j)
                sum[chunk][j] += gradient.v[j];
        }
    }
}

/// dWeight[token] += mult · Σ of its rows from the list's `at` on. Text has tokens that are every twentieth one: their rows are
/// summed in registers, and the weight is read and written once.
template <int kChunks>
__device__ inline void addToken(float* dWeight, const Bf16* dOut, const RowList& list, int at, int C, float mult) {
    float* const to = dWeight + static_cast<std::int64_t>(list.tokens[at]) * C;
    float sum[kChunks][8] = {};
    while (at != kEnd) {
        int rows[kRows];
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
            rows[i] = at != kEnd ? list.rows[at] : kNone;
            at = at != kEnd ? list.next[at] : kEnd;
        }
        addRows(sum, dOut, rows, C);
    }
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int c = (chunk * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)) * 8;
        if (c >= C)
            continue;
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
            float4 weights = *reinterpret_cast<const float4*>(to + c + j);
            weights.x += mult * sum[chunk][j];
            weights.y += mult * sum[chunk][j + 1];
            weights.z += mult * sum[chunk][j + 2];
            weights.w += mult * sum[chunk][j + 3];
            *reinterpret_cast<float4*>(to + c + j) = weights;
        }
    }
}

// One block a bucket of tokens: it looks once at all tokens of the micro-batch, lists the rows that are its own and adds them up
// token by token, so nothing is written twice and no row is looked for. Neighbours in the vocabulary, which are about as
// frequent, are in different buckets.
template <int kChunks>
__global__ void __launch_bounds__(kThreads) embeddingBackwardKernel(float* dWeight, const Bf16* dOut, const std::int32_t* tokens,
                                                                    Vocabulary own, int N, int C, float mult) {
    __shared__ RowList list;
    int length = 0;
    for (int base = 0; base < N; base += kWindow) {
        length = append(list, length, tokens, own, base, N);
        if (length + kWindow <= kList && base + kWindow < N)
            continue;
        linkRows(list, length);
        for (int word = 0; word * kWarp < length; ++word)
            for (unsigned bits = list.firsts[word]; bits != 0; bits &= bits - 1)
                addToken<kChunks>(dWeight, dOut, list, word * kWarp + __ffs(static_cast<int>(bits)) - 1, C, mult);
        length = 0;
        __syncthreads(); // all have read the list
    }
}

using BackwardKernel = void (*)(float*, const Bf16*, const std::int32_t*, Vocabulary, int, int, float);
BackwardKernel backwardKernelFor(std::int64_t C) {
    const std::int64_t chunks = (C / 8 + kThreads - 1) / kThreads;
    require(chunks <= 16, "embedding: C may be 16,384 at most");
    return chunks <= 1   ? &embeddingBackwardKernel<1>
           : chunks <= 2 ? &embeddingBackwardKernel<2>
           : chunks <= 4 ? &embeddingBackwardKernel<4>
           : chunks <= 8 ? &embeddingBackwardKernel<8>
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
    constexpr std::int64_t kMost = std::int64_t{1} << 30;
    require(N <= kMost && own.first + own.count <= kMost, "embedding: at most 2^30 rows and tokens");
    if (N > 0 && own.count > 0)
        launch("embeddingBackward", backwardKernelFor(C), dim3(std::min(kBuckets, static_cast<unsigned>(own.count))), kThreads, 0,
               stream, dWeight, dOut, tokens, own, N, C, mult);
}

} // namespace telehelm::kernels::cuda
