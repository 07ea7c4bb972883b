// SPDX-License-Identifier: Apache-2.0
// One block a row of logits. A row is read twice (the second time from L2) and written once, as its own gradient.
#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 512;
constexpr float kLog2E = 1.4426950408889634F;
constexpr float kLowest = -3.0e38F; // below all logits; not −∞, whose difference with itself is NaN

__device__ float expDifference(float x, float largest) {
    return exp2Fast((x - largest) * kLog2E);
}

/// Largest logit so far and Σ exp(logit − largest). A NaN passes the maximum by and stays in the sum.
struct Running {
    float largest, sum;
};

__device__ Running merged(const Running& a, const Running& b) {
    const float largest = fmaxf(a.largest, b.largest);
    return {largest, a.sum * expDifference(a.largest, largest) + b.sum * expDifference(b.largest, largest)};
}

/// Calls use(v, Row8, count) for this thread's eights of a row; the last one may be short, its missing logits read as `missing`.
template <typename Use> __device__ void forEights(const Bf16* row, std::int64_t V, float missing, Use use) {
    for (std::int64_t v = static_cast<std::int64_t>(threadIdx.x) * 8; v < V; v += static_cast<std::int64_t>(kThreads) * 8) {
        Row8 values = load8(row + v); // the stride is a multiple of 8: the row's end may be read beyond V
        for (int j = 0; j < 8; ++j)
            if (v + j >= V)
                values.v[j] = missing;
        use(v, values);
    }
}

__device__ Running runningOfRow(const Bf16* row, std::int64_t V, Running* parts) {
    Running own{kLowest, 0.0F};
    forEights(row, V, kLowest, [&](std::int64_t v, const Row8& values) {
        float largest = own.largest;
        for (const float value : values.v)
            largest = fmaxf(largest, value);
        float sum = own.sum * expDifference(own.largest, largest);
        for (int j = 0; j < 8; ++j)
            sum += v + j < V ? expDifference(values.v[j], largest) : 0.0F;
        own = {largest, sum};
    });
    for (int step = kWarp / 2; step > 0; step /= 2)
        own = merged(own, {fromLane(own.largest, step), fromLane(own.sum, step)});
    if (threadIdx.x % kWarp == 0)
        parts[threadIdx.x / kWarp] = own;
    __syncthreads();
    Running all = parts[0];
    for (int i = 1; i < static_cast<int>(kThreads) / kWarp; ++i)
        all = merged(all, parts[i]);
    return all;
}

/// The row becomes scale · exp(logit − largest), less gradScale at the target; zeros from V to the stride.
__device__ void writeGradient(Bf16* row, std::int64_t V, std::int64_t stride, float largest, float scale, float gradScale,
                              std::int64_t target) {
    for (std::int64_t v = static_cast<std::int64_t>(threadIdx.x) * 8; v < stride; v += static_cast<std::int64_t>(kThreads) * 8) {
        Row8 values = load8(row + v);
        for (int j = 0; j < 8; ++j) {
            const float gradient = scale * expDifference(values.v[j], largest) - (v + j == target ? gradScale : 0.0F);
            values.v[j] = v + j < V ? gradient : 0.0F;
        }
        store8(row + v, values);
    }
}

__global__ void crossEntropyKernel(float* nats, Logits logits, const std::int32_t* targets, float gradScale, bool makesGradient) {
    __shared__ Running parts[kWarp];
    const std::int64_t n = blockIdx.x, target = targets[n];
    Bf16* const row = logits.values + n * logits.stride;
    const Running all = runningOfRow(row, logits.V, parts);
    if (threadIdx.x == 0)
        nats[n] = logf(all.sum) + (all.largest - toFloat(row[target]));
    if (!makesGradient)
        return;
    __syncthreads(); // the target's logit was read
    writeGradient(row, logits.V, logits.stride, all.largest, gradScale / all.sum, gradScale, target);
}

__global__ void vocabMaxKernel(float* largest, Logits logits) {
    __shared__ Running parts[kWarp];
    const std::int64_t n = blockIdx.x;
    const Running all = runningOfRow(logits.values + n * logits.stride, logits.V, parts);
    if (threadIdx.x == 0)
        largest[n] = all.largest;
}

__global__ void vocabSumsKernel(float* sums, float* targetLogits, Logits logits, const float* largest,
                                const std::int32_t* targets, std::int64_t first) {
    __shared__ float parts[kWarp];
    const std::int64_t n = blockIdx.x, target = targets[n] - first;
    const Bf16* const row = logits.values + n * logits.stride;
    const float most = largest[n];
    float sum = 0;
    forEights(row, logits.V, kLowest, [&](std::int64_t v, const Row8& values) {
        for (int j = 0; j < 8; ++j)
            sum += v + j < logits.V ? expDifference(values.v[j], most) : 0.0F;
    });
    sum = blockSum(sum, parts);
    if (threadIdx.x == 0) {
        sums[n] = sum;
        targetLogits[n] = target >= 0 && target < logits.V ? toFloat(row[target]) - most : 0.0F;
    }
}

__global__ void vocabNatsKernel(float* nats, const float* sums, const float* targetLogits, std::int64_t N) {
    const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (n < N)
        nats[n] = logf(sums[n]) - targetLogits[n];
}

__global__ void vocabGradientKernel(Logits logits, const float* largest, const float* sums, const std::int32_t* targets,
                                    std::int64_t first, float gradScale) {
    const std::int64_t n = blockIdx.x;
    writeGradient(logits.values + n * logits.stride, logits.V, logits.stride, largest[n], gradScale / sums[n], gradScale,
                  targets[n] - first);
}

dim3 gridOf(const Logits& logits) {
    require(logits.stride % 8 == 0 && logits.stride >= logits.V && logits.V > 0,
            "cross entropy: the stride must be a multiple of 8 and at least V");
    return {static_cast<unsigned>(logits.N)};
}

} // namespace

void crossEntropyForward(float* nats, const Logits& logits, const std::int32_t* targets, const Stream& stream) {
    if (const dim3 grid = gridOf(logits); logits.N > 0)
        launch("crossEntropyForward", crossEntropyKernel, grid, kThreads, 0, stream, nats, logits, targets, 0.0F, false);
}

void crossEntropyForwardBackward(float* nats, const Logits& logits, const std::int32_t* targets, float gradScale,
                                 const Stream& stream) {
    if (const dim3 grid = gridOf(logits); logits.N > 0)
        launch("crossEntropyForwardBackward", crossEntropyKernel, grid, kThreads, 0, stream, nats, logits, targets, gradScale,
               true);
}

void vocabMax(float* largest, const Logits& logits, const Stream& stream) {
    if (const dim3 grid = gridOf(logits); logits.N > 0)
        launch("vocabMax", vocabMaxKernel, grid, kThreads, 0, stream, largest, logits);
}

void vocabSums(float* sums, float* targetLogits, const Logits& logits, const float* largest, const std::int32_t* targets,
               std::int64_t first, const Stream& stream) {
    if (const dim3 grid = gridOf(logits); logits.N > 0)
        launch("vocabSums", vocabSumsKernel, grid, kThreads, 0, stream, sums, targetLogits, logits, largest, targets, first);
}

void vocabNats(float* nats, const float* sums, const float* targetLogits, std::int64_t N, const Stream& stream) {
    if (N > 0)
        launch("vocabNats", vocabNatsKernel, dim3(static_cast<unsigned>((N + kThreads - 1) / kThreads)), kThreads, 0, stream,
               nats, sums, targetLogits, N);
}

void vocabGradient(const Logits& logits, const float* largest, const float* sums, const std::int32_t* targets, std::int64_t first,
                   float gradScale, const Stream& stream) {
    if (const dim3 grid = gridOf(logits); logits.N > 0)
        launch("vocabGradient", vocabGradientKernel, grid, kThreads, 0, stream, logits, largest, sums, targets, first, gradScale);
}

} // namespace telehelm::kernels::cuda
