// SPDX-License-Identifier: Apache-2.0
// A group of threads works on a row: a warp up to C = 1024, else a block. Each thread holds its columns (kHeld times 8) in
// registers.
#include <algorithm>

#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr int kHeld = 4;                                             // times 8 columns of a thread
constexpr unsigned kMostThreads = 512;                               // of a block: registers must be left for them
constexpr int kLongest = kHeld * 8 * static_cast<int>(kMostThreads); // columns
constexpr unsigned kWarpRowThreads = 256;

/// How a launch shares its rows.
struct RowPlan {
    unsigned threads; // of a block
    bool blockPerRow; // else a warp
    [[nodiscard]] std::int64_t rowsAtOnce() const { return blockPerRow ? 1 : threads / kWarp; }
};

RowPlan planOf(std::int64_t C) {
    require(C % 8 == 0 && C > 0 && C <= kLongest, "rmsNorm: C must be a multiple of 8, at most 16384");
    const std::int64_t eights = C / 8;
    if (eights <= kHeld * kWarp)
        return {kWarpRowThreads, false};
    return {threadsFor((eights + kHeld - 1) / kHeld, kMostThreads), true};
}

/// Of the backward at most. Short rows have small blocks, so it takes more of them to fill the device; how many depends on C
/// alone, so the order of sums does.
std::int64_t mostBlocks(std::int64_t C) {
    constexpr std::int64_t kFewest = 256, kColumns = std::int64_t{1} << 20;
    return C <= kHeld * kWarp * 8 ? kFewest : std::max(kFewest, kColumns / C);
}

/// Σ over the threads of a row.
template <bool kBlockPerRow> __device__ inline float rowSum(float value, float* parts) {
    if constexpr (kBlockPerRow)
        return blockSum(value, parts);
    else
        return warpSum(value);
}

/// This thread's place in its row, and the row's in the block.
template <bool kBlockPerRow> struct Place {
    int first, step, group, groups; // columns / 8; rows at once
};
template <bool kBlockPerRow> __device__ inline Place<kBlockPerRow> placeOf() {
    const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    if constexpr (kBlockPerRow)
        return {thread, threads, 0, 1};
    else
        return {thread % kWarp, kWarp, thread / kWarp, threads / kWarp};
}

template <bool kBlockPerRow, bool kAdd>
__global__ void __launch_bounds__(kMostThreads)
    rmsNormForwardKernel(Bf16* out, float* r, Bf16* sum, const Bf16* x, const Bf16* delta, const Bf16* weight, int N, int C,
                         float epsilon) {
    __shared__ float parts[kWarp];
    const auto place = placeOf<kBlockPerRow>();
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * place.groups + place.group;
    if (row >= N) // whole warps; with a block per row never
        return;
    const int eights = C / 8;
    Words held[kHeld] = {}, more[kHeld] = {}, weights[kHeld] = {};
#pragma unroll
    for (int i = 0; i < kHeld; ++i) { // all loads under way before the first is waited for
        const int c = place.first + i * place.step;
        if (c < eights) {
            held[i] = loadWords(x + row * C + c * 8);
            if constexpr (kAdd)
                more[i] = loadWords(delta + row * C + c * 8);
            weights[i] = loadWords(weight + c * 8);
        }
    }
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
        Row8 values = widened(held[i]);
        if constexpr (kAdd) {
            const Row8 added = widened(more[i]);
            for (int j = 0; j < 8; ++j)
                values.v[j] += added.v[j];
            held[i] = rounded(values); // the norm sees what the residual holds
            values = widened(held[i]);
            if (const int c = place.first + i * place.step; c < eights)
                *reinterpret_cast<Words*>(sum + row * C + c * 8) = held[i];
        }
        for (int j = 0; j < 8; ++j)
            squares += values.v[j] * values.v[j];
    }
    const float scale = rsqrtf(rowSum<kBlockPerRow>(squares, parts) / static_cast<float>(C) + epsilon);
    if (place.first == 0)
        r[row] = scale;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
        Row8 values = widened(held[i]);
        const Row8 w = widened(weights[i]);
        for (int j = 0; j < 8; ++j)
            values.v[j] *= scale * w.v[j];
        if (const int c = place.first + i * place.step; c < eights)
            store8(out + row * C + c * 8, values);
    }
}

// partial (blocks, C): each block's share of dWeight. Dynamic shared memory: C floats, where a block has several rows at once.
template <bool kBlockPerRow>
__global__ void __launch_bounds__(kMostThreads)
    rmsNormBackwardKernel(Bf16* dX, float* partial, const Bf16* residual, const Bf16* dOut, const Bf16* x, const Bf16* weight,
                          const float* r, int N, int C) {
    __shared__ float parts[kWarp];
    const auto place = placeOf<kBlockPerRow>();
    const int eights = C / 8;
    Row8 dWeight[kHeld] = {};
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * place.groups;
    for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * place.groups + place.group; row < N; row += step) {
        const float scale = r[row];
        Words xs[kHeld] = {}, gs[kHeld] = {}, rest[kHeld] = {};
#pragma unroll
        for (int i = 0; i < kHeld; ++i) { // all loads under way before the first is waited for
            const int c = place.first + i * place.step;
            if (c < eights) {
                xs[i] = loadWords(x + row * C + c * 8);
                gs[i] = loadWords(dOut + row * C + c * 8);
                if (residual != nullptr)
                    rest[i] = loadWords(residual + row * C + c * 8);
            }
        }
        float mean = 0; // of g · w · x
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            const int c = place.first + i * place.step;
            if (c >= eights)
                break;
            const Row8 values = widened(xs[i]), gradients = widened(gs[i]), w = load8(weight + c * 8);
            for (int j = 0; j < 8; ++j) {
                dWeight[i].v[j] += gradients.v[j] * values.v[j] * scale;
                mean += gradients.v[j] * w.v[j] * values.v[j];
            }
        }
        mean = rowSum<kBlockPerRow>(mean, parts) / static_cast<float>(C);
        const float turn = scale * scale * mean;
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
            const int c = place.first + i * place.step;
            if (c >= eights)
                break;
            const Row8 values = widened(xs[i]), gradients = widened(gs[i]), w = load8(weight + c * 8);
            Row8 out = widened(rest[i]);
            for (int j = 0; j < 8; ++j)
                out.v[j] += scale * (gradients.v[j] * w.v[j] - values.v[j] * turn);
            store8(dX + row * C + c * 8, out);
        }
    }
    float* const sums =
        kBlockPerRow ? partial + static_cast<std::int64_t>(blockIdx.x) * C : reinterpret_cast<float*>(sharedMemory());
    for (int group = 0; group < place.groups; ++group) { // in order
        if (group == place.group) {
#pragma unroll
            for (int i = 0; i < kHeld; ++i) {
                const int c = place.first + i * place.step;
                if (c >= eights)
                    break;
                for (int j = 0; j < 8; ++j)
                    sums[c * 8 + j] = dWeight[i].v[j] + (group == 0 ? 0.0F : sums[c * 8 + j]);
            }
        }
        if constexpr (!kBlockPerRow)
            __syncthreads();
    }
    if constexpr (!kBlockPerRow) {
        for (int c = static_cast<int>(threadIdx.x); c < C; c += static_cast<int>(blockDim.x))
            partial[static_cast<std::int64_t>(blockIdx.x) * C + c] = sums[c];
    }
}

// 32 columns a block; the rows in 8 stretches, added in order.
__global__ void addPartialsKernel(float* dWeight, const float* partial, int rows, int C) {
    __shared__ float sums[8][kWarp];
    const int lane = static_cast<int>(threadIdx.x) % kWarp, group = static_cast<int>(threadIdx.x) / kWarp;
    const int c = static_cast<int>(blockIdx.x) * kWarp + lane;
    float sum = 0;
    if (c < C)
        for (int row = rows * group / 8; row < rows * (group + 1) / 8; ++row)
            sum += partial[static_cast<std::int64_t>(row) * C + c];
    sums[group][lane] = sum;
    __syncthreads();
    if (group == 0 && c < C) {
        for (int i = 1; i < 8; ++i)
            sum += sums[i][lane];
        dWeight[c] += sum;
    }
}

template <bool kAdd>
void normForward(Bf16* out, float* r, Bf16* sum, const Bf16* x, const Bf16* delta, const Bf16* weight, std::int64_t N,
                 std::int64_t C, float epsilon, const Stream& stream) {
    const RowPlan plan = planOf(C);
    if (N == 0)
        return;
    const dim3 grid(static_cast<unsigned>((N + plan.rowsAtOnce() - 1) / plan.rowsAtOnce()));
    launch("rmsNormForward", plan.blockPerRow ? rmsNormForwardKernel<true, kAdd> : rmsNormForwardKernel<false, kAdd>, grid,
           plan.threads, 0, stream, out, r, sum, x, delta, weight, N, C, epsilon);
}

} // namespace

void rmsNormForward(Bf16* out, float* r, const Bf16* x, const Bf16* weight, std::int64_t N, std::int64_t C, float epsilon,
                    const Stream& stream) {
    normForward<false>(out, r, nullptr, x, nullptr, weight, N, C, epsilon, stream);
}

void addRmsNormForward(Bf16* out, float* r, Bf16* sum, const Bf16* x, const Bf16* delta, const Bf16* weight, std::int64_t N,
                       std::int64_t C, float epsilon, const Stream& stream) {
    normForward<true>(out, r, sum, x, delta, weight, N, C, epsilon, stream);
}

std::size_t rmsNormScratch(std::int64_t C) {
    return static_cast<std::size_t>(mostBlocks(C) * C) * sizeof(float);
}

void rmsNormBackward(Bf16* dX, float* dWeight, const Bf16* residual, const Bf16* dOut, const Bf16* x, const Bf16* weight,
                     const float* r, std::int64_t N, std::int64_t C, void* scratch, const Stream& stream) {
    const RowPlan plan = planOf(C);
    if (N == 0)
        return;
    const std::size_t shared = plan.blockPerRow ? 0 : static_cast<std::size_t>(C) * sizeof(float);
    auto* const partial = static_cast<float*>(scratch);
    const std::int64_t turns = (N + plan.rowsAtOnce() - 1) / plan.rowsAtOnce();
    const auto blocks = static_cast<unsigned>(std::min(turns, mostBlocks(C)));
    launch("rmsNormBackward", plan.blockPerRow ? rmsNormBackwardKernel<true> : rmsNormBackwardKernel<false>, dim3(blocks),
           plan.threads, shared, stream, dX, partial, residual, dOut, x, weight, r, N, C);
    launch("rmsNormBackward's sum", addPartialsKernel, dim3(static_cast<unsigned>((C + kWarp - 1) / kWarp)), 8 * kWarp, 0, stream,
           dWeight, partial, blocks, C);
}

} // namespace telehelm::kernels::cuda
