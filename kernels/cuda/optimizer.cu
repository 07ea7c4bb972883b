// SPDX-License-Identifier: Apache-2.0
// AdamW over a shard, and the sums that a step needs.
#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;

/// √ and / in fp32 as the CPU has them.
__device__ float updated(float parameter, float& first, float& second, float gradient, const AdamWStep<float>& step) {
    const float g = step.gradScale * gradient;
    first = step.beta1 * first + (1.0F - step.beta1) * g;
    second = step.beta2 * second + (1.0F - step.beta2) * g * g;
    const float update = first * step.firstCorrection / (sqrtf(second * step.secondCorrection) + step.epsilon);
    return parameter - (step.rate * step.decay * parameter + step.rate * update);
}

// One block a chunk. `isVector`: all buffers are aligned, so that a chunk's elements from the next multiple of 4 on go four at
// once.
__global__ void adamwKernel(float* parameters, Bf16* working, float* first, float* second, const float* gradients,
                            const AdamWChunk* chunks, AdamWGroups groups, bool isVector) {
    const AdamWChunk chunk = chunks[blockIdx.x];
    const AdamWStep<float> step = groups.steps[chunk.group];
    const auto one = [&](std::int64_t i) {
        float m = first[i], v = second[i];
        const float p = updated(parameters[i], m, v, gradients[i], step);
        parameters[i] = p;
        first[i] = m;
        second[i] = v;
        if (working != nullptr)
            working[i] = roundBf16(p);
    };
    const std::int64_t from = chunk.from, to = chunk.from + chunk.size;
    std::int64_t begin = (from + 3) / 4 * 4, end = to / 4 * 4;
    if (!isVector || begin > end)
        begin = end = from;
    for (std::int64_t i = from + threadIdx.x; i < begin; i += kThreads)
        one(i);
    for (std::int64_t i = begin + threadIdx.x * 4; i < end; i += kThreads * 4) {
        float4 p = *reinterpret_cast<float4*>(parameters + i), m = *reinterpret_cast<float4*>(first + i);
        float4 v = *reinterpret_cast<float4*>(second + i);
        const float4 g = *reinterpret_cast<const float4*>(gradients + i);
        p.x = updated(p.x, m.x, v.x, g.x, step);
        p.y = updated(p.y, m.y, v.y, g.y, step);
        p.z = updated(p.z, m.z, v.z, g.z, step);
        p.w = updated(p.w, m.w, v.w, g.w, step);
        *reinterpret_cast<float4*>(parameters + i) = p;
        *reinterpret_cast<float4*>(first + i) = m;
        *reinterpret_cast<float4*>(second + i) = v;
        if (working != nullptr) {
            const std::uint64_t low = packBf16(p.x, p.y), high = packBf16(p.z, p.w);
            *reinterpret_cast<std::uint64_t*>(working + i) = low | high << 32;
        }
    }
    for (std::int64_t i = end + threadIdx.x; i < to; i += kThreads)
        one(i);
}

template <bool kSquare> __device__ double term(float x) {
    return kSquare ? static_cast<double>(x) * static_cast<double>(x) : static_cast<double>(x);
}

// First pass: each block's sum. `fours`: items of 4 that are read at once, the rest one by one.
template <bool kSquare> __global__ void partialSumKernel(double* partial, const float* x, std::int64_t size, std::int64_t fours) {
    __shared__ double parts[kWarp];
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
    double sum = 0;
    for (std::int64_t i = first; i < fours; i += step) {
        const float4 values = reinterpret_cast<const float4*>(x)[i];
        sum += (term<kSquare>(values.x) + term<kSquare>(values.y)) + (term<kSquare>(values.z) + term<kSquare>(values.w));
    }
    for (std::int64_t i = fours * 4 + first; i < size; i += step)
        sum += term<kSquare>(x[i]);
    sum = blockSum(sum, parts);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

// Second pass: one block.
__global__ void finalSumKernel(double* out, const double* partial, int count) {
    __shared__ double parts[kWarp];
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(kThreads))
        sum += partial[i];
    sum = blockSum(sum, parts);
    if (threadIdx.x == 0)
        *out = sum;
}

// One block a chunk: what finalSumKernel adds up. Σ x² of a chunk that does not count: 0, or NaN.
__global__ void chunkSquaresKernel(double* partial, const float* x, const AdamWChunk* chunks) {
    __shared__ double parts[kWarp];
    const AdamWChunk chunk = chunks[blockIdx.x];
    double sum = 0;
    for (std::int64_t i = threadIdx.x; i < chunk.size; i += kThreads)
        sum += term<true>(x[chunk.from + i]);
    sum = blockSum(sum, parts);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = chunk.group == 0 ? sum : 0 * sum;
}

template <bool kSquare>
void sumOf(const char* name, double* out, const float* x, std::int64_t size, double* scratch, const Stream& stream) {
    const std::int64_t fours = reinterpret_cast<std::uintptr_t>(x) % 16 == 0 ? size / 4 : 0;
    const std::int64_t wanted = size / (4 * kThreads) + 1;
    const auto blocks = static_cast<unsigned>(wanted < kSumScratch ? wanted : kSumScratch);
    launch(name, partialSumKernel<kSquare>, dim3(blocks), kThreads, 0, stream, scratch, x, size, fours);
    launch(name, finalSumKernel, dim3(1), kThreads, 0, stream, out, scratch, blocks);
}

// One block: looked at only when a step went wrong.
__global__ void countNonFiniteKernel(std::int32_t* out, const Bf16* x, std::int64_t size) {
    __shared__ std::int32_t parts[kWarp];
    std::int32_t count = 0;
    for (std::int64_t i = threadIdx.x; i < size; i += kThreads * 4)
        for (int j = 0; j < 4; ++j)
            if (const std::int64_t at = i + j * static_cast<std::int64_t>(kThreads); at < size)
                count += (static_cast<std::uint32_t>(x[at]) & 0x7F80U) == 0x7F80U ? 1 : 0;
    count = blockSum(count, parts);
    if (threadIdx.x == 0)
        *out = count;
}

} // namespace

void adamw(float* parameters, Bf16* working, float* first, float* second, const float* gradients, const AdamWChunk* chunks,
           std::int64_t count, const AdamWGroups& groups, const Stream& stream) {
    bool isVector = reinterpret_cast<std::uintptr_t>(working) % 8 == 0;
    for (const float* buffer :
         {static_cast<const float*>(parameters), static_cast<const float*>(first), static_cast<const float*>(second), gradients})
        isVector = isVector && reinterpret_cast<std::uintptr_t>(buffer) % 16 == 0;
    if (count > 0)
        launch("adamw", adamwKernel, dim3(static_cast<unsigned>(count)), kThreads, 0, stream, parameters, working, first, second,
               gradients, chunks, groups, isVector);
}

void sumOfSquares(double* out, const float* x, std::int64_t size, double* scratch, const Stream& stream) {
    sumOf<true>("sumOfSquares", out, x, size, scratch, stream);
}

void sum(double* out, const float* x, std::int64_t size, double* scratch, const Stream& stream) {
    sumOf<false>("sum", out, x, size, scratch, stream);
}

void sumOfSquares(double* out, const float* x, const AdamWChunk* chunks, std::int64_t count, double* scratch, const Stream& stream) {
    if (count > 0)
        launch("chunkSquares", chunkSquaresKernel, dim3(static_cast<unsigned>(count)), kThreads, 0, stream, scratch, x, chunks);
    launch("finalSum", finalSumKernel, dim3(1), kThreads, 0, stream, out, scratch, static_cast<int>(count));
}

void countNonFinite(std::int32_t* out, const Bf16* x, std::int64_t size, const Stream& stream) {
    launch("countNonFinite", countNonFiniteKernel, dim3(1), kThreads, 0, stream, out, x, size);
}

} // namespace telehelm::kernels::cuda
