// SPDX-License-Identifier: Apache-2.0
// One block a row of logits. A row is read from memory once and written once, as its own gradient: between the two most of it
// waits in shared memory, and what has no room there was read last and is written first, so the L2 still has it.
#include <algorithm>
#include <limits>

#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 512;
constexpr int kBatch = 4; // pieces of 16 bytes that a thread has under way at once
constexpr std::size_t kTurnBytes = kThreads * sizeof(Words);
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

/// Of two neighbours the first `count`; the others are −∞, whose exponential is 0.
__device__ std::uint32_t firstOf(std::uint32_t pair, int count) {
    return count >= 2 ? pair : count == 1 ? (pair & 0xFFFFU) | 0xFF800000U : 0xFF80FF80U;
}

/// Logits [v, v + 8) without those from V on.
__device__ Words trimmed(const Words& words, int v, int V) {
    if (v + 8 <= V)
        return words;
    return {firstOf(words.x, V - v), firstOf(words.y, V - v - 2), firstOf(words.z, V - v - 4), firstOf(words.w, V - v - 6)};
}

/// A row lies in pieces of 8 logits, one a thread and turn.
__device__ int firstLogit(int turn) {
    return (turn * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)) * 8;
}
__host__ __device__ int turnsOf(std::int64_t logits) {
    return static_cast<int>((logits + kThreads * 8 - 1) / (kThreads * 8));
}

/// Calls use(turn, v, Words) for this thread's pieces from turn `from` on. The stride is a multiple of 8: the row's last piece
/// may be read beyond V.
template <typename Use> __device__ void forPieces(const Bf16* row, int V, int from, Use use) {
    const int turns = turnsOf(V);
    for (int turn = from; turn < turns; turn += kBatch) {
        Words words[kBatch];
#pragma unroll
        for (int i = 0; i < kBatch; ++i) // all under way before the first is waited for
            words[i] = firstLogit(turn + i) < V ? loadWords(row + firstLogit(turn + i)) : Words{};
#pragma unroll
        for (int i = 0; i < kBatch; ++i)
            if (turn + i < turns)
                use(turn + i, firstLogit(turn + i), trimmed(words[i], firstLogit(turn + i), V));
    }
}

/// The first `keeps` turns stay in `kept`, each thread's for itself.
__device__ Running runningOfRow(const Bf16* row, int V, Running* parts, Words* kept, int keeps) {
    Running own{kLowest, 0.0F};
    forPieces(row, V, 0, [&](int turn, int, const Words& words) {
        if (turn < keeps)
            kept[turn * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)] = words;
        const Row8 values = widened(words);
        float largest = own.largest;
        for (const float value : values.v)
            largest = fmaxf(largest, value);
        float sum = own.sum * expDifference(own.largest, largest);
        for (const float value : values.v)
            sum += expDifference(value, largest);
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

/// What a row's logits become: scale · exp(logit − largest), less gradScale at the target.
struct Gradient {
    float largest, scale, gradScale;
    int target; // of the row's logits; any other number: none
};

__device__ void writePiece(Bf16* row, int V, int v, const Words& words, const Gradient& gradient) {
    if (v >= V)
        return;
    Row8 values = widened(words);
    for (float& value : values.v)
        value = gradient.scale * expDifference(value, gradient.largest);
    if (gradient.target >= v && gradient.target < v + 8)
        for (int j = 0; j < 8; ++j)
            values.v[j] -= v + j == gradient.target ? gradient.gradScale : 0.0F;
    if (v + 8 > V)
        for (int j = 0; j < 8; ++j)
            values.v[j] = v + j < V ? values.v[j] : 0.0F;
    store8(row + v, values);
}

/// Zeros from V to the stride, whole pieces.
__device__ void writeRest(Bf16* row, int V, std::int64_t stride) {
    for (std::int64_t v = (V + 7) / 8 * 8 + static_cast<std::int64_t>(threadIdx.x) * 8; v < stride; v += kThreads * 8)
        store8(row + v, {});
}

__global__ void __launch_bounds__(kThreads, 2)
    crossEntropyKernel(float* nats, Logits logits, const std::int32_t* targets, float gradScale, bool makesGradient, int keeps) {
    __shared__ Running parts[kWarp];
    auto* const kept = reinterpret_cast<Words*>(sharedMemory());
    const std::int64_t n = blockIdx.x;
    const int V = static_cast<int>(logits.V), target = targets[n];
    Bf16* const row = logits.values + n * logits.stride;
    const float targetLogit = threadIdx.x == 0 ? toFloat(row[target]) : 0.0F; // before it becomes a gradient
    const Running all = runningOfRow(row, V, parts, kept, keeps);
    if (threadIdx.x == 0)
        nats[n] = logf(all.sum) + (all.largest - targetLogit);
    if (!makesGradient)
        return;
    const Gradient gradient{all.largest, gradScale / all.sum, gradScale, target};
    forPieces(row, V, keeps, [&](int, int v, const Words& words) { writePiece(row, V, v, words, gradient); });
    for (int turn = 0; turn < keeps; ++turn)
        writePiece(row, V, firstLogit(turn), kept[turn * static_cast<int>(kThreads) + static_cast<int>(threadIdx.x)], gradient);
    writeRest(row, V, logits.stride);
}

/// A NaN passes by: it shows in the sums.
__global__ void __launch_bounds__(kThreads, 2) vocabMaxKernel(float* largest, Logits logits) {
    __shared__ float parts[kWarp];
    const std::int64_t n = blockIdx.x;
    float own = kLowest;
    forPieces(logits.values + n * logits.stride, static_cast<int>(logits.V), 0, [&](int, int, const Words& words) {
        for (const float value : widened(words).v)
            own = fmaxf(own, value);
    });
    for (int step = kWarp / 2; step > 0; step /= 2)
        own = fmaxf(own, fromLane(own, step));
    if (threadIdx.x % kWarp == 0)
        parts[threadIdx.x / kWarp] = own;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int i = 1; i < static_cast<int>(kThreads) / kWarp; ++i)
        own = fmaxf(own, parts[i]);
    largest[n] = own;
}

__global__ void __launch_bounds__(kThreads, 2)
    vocabSumsKernel(float* sums, float* targetLogits, Logits logits, const float* largest, const std::int32_t* targets,
                    std::int64_t first) {
    __shared__ float parts[kWarp];
    const std::int64_t n = blockIdx.x, target = targets[n] - first;
    const Bf16* const row = logits.values + n * logits.stride;
    const float most = largest[n];
    float sum = 0;
    forPieces(row, static_cast<int>(logits.V), 0, [&](int, int, const Words& words) {
        for (const float value : widened(words).v)
            sum += expDifference(value, most);
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

__global__ void __launch_bounds__(kThreads, 2)
    vocabGradientKernel(Logits logits, const float* largest, const float* sums, const std::int32_t* targets, std::int64_t first,
                        float gradScale) {
    const std::int64_t n = blockIdx.x;
    const int V = static_cast<int>(logits.V);
    Bf16* const row = logits.values + n * logits.stride;
    const Gradient gradient{largest[n], gradScale / sums[n], gradScale, static_cast<int>(targets[n] - first)};
    forPieces(row, V, 0, [&](int, int v, const Words& words) { writePiece(row, V, v, words, gradient); });
    writeRest(row, V, logits.stride);
}

/// Turns that stay in shared memory where two blocks share a multiprocessor.
int turnsKept(std::int64_t V) {
    return std::min(turnsOf(V), static_cast<int>(mostSharedBytes() / 2 / kTurnBytes));
}

dim3 gridOf(const Logits& logits) {
    require(logits.stride % 8 == 0 && logits.stride >= logits.V && logits.V > 0,
            "cross entropy: the stride must be a multiple of 8 and at least V");
    require(logits.V <= std::numeric_limits<int>::max() / 2, "cross entropy: V must be at most 2^30");
    return {static_cast<unsigned>(logits.N)};
}

} // namespace

void crossEntropyForward(float* nats, const Logits& logits, const std::int32_t* targets, const Stream& stream) {
    if (const dim3 grid = gridOf(logits); logits.N > 0)
        launch("crossEntropyForward", crossEntropyKernel, grid, kThreads, 0, stream, nats, logits, targets, 0.0F, false, 0);
}

void crossEntropyForwardBackward(float* nats, const Logits& logits, const std::int32_t* targets, float gradScale,
                                 const Stream& stream) {
    const dim3 grid = gridOf(logits);
    if (logits.N == 0)
        return;
    const int keeps = turnsKept(logits.V);
    launch("crossEntropyForwardBackward", crossEntropyKernel, grid, kThreads, static_cast<std::size_t>(keeps) * kTurnBytes,
           stream, nats, logits, targets, gradScale, true, keeps);
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
