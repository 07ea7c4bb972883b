// SPDX-License-Identifier: Apache-2.0
// RoPE, SwiGLU, casts and sums of vectors.
#include "rows.cuh"
#include "telehelm/kernels/cuda/ops.h"

namespace telehelm::kernels::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kMostBlocks = 8192; // of a grid that strides

/// `from` aligned to 16 bytes.
__device__ Row8 loadFloats(const float* from) {
    const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
    return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

// One block a row; a thread turns 8 pairs. `direction` −1 turns back.
__global__ void ropeKernel(Bf16* qkv, const float* cos, const float* sin, RopeShape shape, float direction) {
    const int half = static_cast<int>(shape.D) / 2, eights = half / 8;
    const std::int64_t row = blockIdx.x, t = (shape.firstRow + row) % shape.T;
    Bf16* const values = qkv + row * 3 * shape.H * shape.D;
    const int items = static_cast<int>(2 * shape.H) * eights; // q's heads, then k's
    for (int item = static_cast<int>(threadIdx.x); item < items; item += static_cast<int>(blockDim.x)) {
        const int i = item % eights * 8;
        Bf16* const at = values + item / eights * shape.D + i;
        const Row8 a = load8(at), b = load8(at + half);
        const Row8 c = loadFloats(cos + t * half + i), s = loadFloats(sin + t * half + i);
        Row8 first, second;
        for (int j = 0; j < 8; ++j) {
            const float turned = direction * s.v[j];
            first.v[j] = a.v[j] * c.v[j] - b.v[j] * turned;
            second.v[j] = b.v[j] * c.v[j] + a.v[j] * turned;
        }
        store8(at, first);
        store8(at + half, second);
    }
}

void rope(const char* name, Bf16* qkv, const float* cos, const float* sin, const RopeShape& shape, float direction,
          const Stream& stream) {
    require(shape.D % 16 == 0, "rope: D must be a multiple of 16");
    if (shape.N > 0)
        launch(name, ropeKernel, dim3(static_cast<unsigned>(shape.N)), threadsFor(2 * shape.H * shape.D / 16, kThreads), 0,
               stream, qkv, cos, sin, shape, direction);
}

// e^−z overflows to infinity where z is very negative: the quotients below are 0 then, as they should be.
__device__ float sigmoid(float z) {
    return 1.0F / (1.0F + __expf(-z));
}

__global__ void swigluForwardKernel(Bf16* out, const Bf16* gateUp, int F) {
    const std::int64_t row = blockIdx.x;
    for (int f = static_cast<int>(threadIdx.x) * 8; f < F; f += static_cast<int>(blockDim.x) * 8) {
        Row8 gate = load8(gateUp + row * 2 * F + f);
        const Row8 up = load8(gateUp + row * 2 * F + F + f);
        for (int j = 0; j < 8; ++j)
            gate.v[j] *= sigmoid(gate.v[j]) * up.v[j];
        store8(out + row * F + f, gate);
    }
}

// dGateUp may be gateUp: each thread writes what it alone has read.
__global__ void swigluBackwardKernel(Bf16* dGateUp, const Bf16* dOut, const Bf16* gateUp, int F) {
    const std::int64_t row = blockIdx.x;
    for (int f = static_cast<int>(threadIdx.x) * 8; f < F; f += static_cast<int>(blockDim.x) * 8) {
        Row8 gate = load8(gateUp + row * 2 * F + f), up = load8(gateUp + row * 2 * F + F + f);
        const Row8 gradient = load8(dOut + row * F + f);
        for (int j = 0; j < 8; ++j) {
            const float s = sigmoid(gate.v[j]), g = gate.v[j];
            gate.v[j] = gradient.v[j] * up.v[j] * s * (1.0F + g * (1.0F - s));
            up.v[j] = gradient.v[j] * g * s;
        }
        store8(dGateUp + row * 2 * F + f, gate);
        store8(dGateUp + row * 2 * F + F + f, up);
    }
}

/// Where vectors of 8 bf16 or 4 floats can be read at once; the rest goes one by one.
bool isAligned(const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

unsigned blocksFor(std::int64_t items) {
    const std::int64_t blocks = (items + kThreads - 1) / kThreads;
    return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

__device__ std::int64_t firstItem() {
    return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ std::int64_t itemStep() {
    return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

// `eights`: items of 8 elements; what is left after them (or everything) goes one by one.
__global__ void toBf16Kernel(Bf16* out, const float* in, std::int64_t size, std::int64_t eights) {
    for (std::int64_t i = firstItem(); i < eights; i += itemStep())
        store8(out + i * 8, loadFloats(in + i * 8));
    for (std::int64_t i = eights * 8 + firstItem(); i < size; i += itemStep())
        out[i] = roundBf16(in[i]);
}

__global__ void toFloatKernel(float* out, const Bf16* in, std::int64_t size, std::int64_t eights) {
    for (std::int64_t i = firstItem(); i < eights; i += itemStep()) {
        const Row8 values = load8(in + i * 8);
        reinterpret_cast<float4*>(out)[i * 2] = {values.v[0], values.v[1], values.v[2], values.v[3]};
        reinterpret_cast<float4*>(out)[i * 2 + 1] = {values.v[4], values.v[5], values.v[6], values.v[7]};
    }
    for (std::int64_t i = eights * 8 + firstItem(); i < size; i += itemStep())
        out[i] = toFloat(in[i]);
}

__global__ void addKernel(Bf16* out, const Bf16* a, const Bf16* b, std::int64_t size, std::int64_t eights) {
    for (std::int64_t i = firstItem(); i < eights; i += itemStep()) {
        Row8 sum = load8(a + i * 8);
        const Row8 more = load8(b + i * 8);
        for (int j = 0; j < 8; ++j)
            sum.v[j] += more.v[j];
        store8(out + i * 8, sum);
    }
    for (std::int64_t i = eights * 8 + firstItem(); i < size; i += itemStep())
        out[i] = roundBf16(toFloat(a[i]) + toFloat(b[i]));
}

} // namespace

void ropeForward(Bf16* qkv, const float* cos, const float* sin, const RopeShape& shape, const Stream& stream) {
    rope("ropeForward", qkv, cos, sin, shape, 1.0F, stream);
}

void ropeBackward(Bf16* dQkv, const float* cos, const float* sin, const RopeShape& shape, const Stream& stream) {
    rope("ropeBackward", dQkv, cos, sin, shape, -1.0F, stream);
}

void swigluForward(Bf16* out, const Bf16* gateUp, std::int64_t N, std::int64_t F, const Stream& stream) {
    require(F % 8 == 0, "swiglu: F must be a multiple of 8");
    if (N > 0)
        launch("swigluForward", swigluForwardKernel, dim3(static_cast<unsigned>(N)), threadsFor(F / 8, kThreads), 0, stream, out,
               gateUp, F);
}

void swigluBackward(Bf16* dGateUp, const Bf16* dOut, const Bf16* gateUp, std::int64_t N, std::int64_t F, const Stream& stream) {
    require(F % 8 == 0, "swiglu: F must be a multiple of 8");
    if (N > 0)
        launch("swigluBackward", swigluBackwardKernel, dim3(static_cast<unsigned>(N)), threadsFor(F / 8, kThreads), 0, stream,
               dGateUp, dOut, gateUp, F);
}

void toBf16(Bf16* out, const float* in, std::int64_t size, const Stream& stream) {
    const std::int64_t eights = isAligned(out) && isAligned(in) ? size / 8 : 0;
    if (size > 0)
        launch("toBf16", toBf16Kernel, dim3(blocksFor(eights > 0 ? eights : size)), kThreads, 0, stream, out, in, size, eights);
}

void toFloat(float* out, const Bf16* in, std::int64_t size, const Stream& stream) {
    const std::int64_t eights = isAligned(out) && isAligned(in) ? size / 8 : 0;
    if (size > 0)
        launch("toFloat", toFloatKernel, dim3(blocksFor(eights > 0 ? eights : size)), kThreads, 0, stream, out, in, size, eights);
}

void add(Bf16* out, const Bf16* a, const Bf16* b, std::int64_t size, const Stream& stream) {
    const std::int64_t eights = isAligned(out) && isAligned(a) && isAligned(b) ? size / 8 : 0;
    if (size > 0)
        launch("add", addKernel, dim3(blocksFor(eights > 0 ? eights : size)), kThreads, 0, stream, out, a, b, size, eights);
}

} // namespace telehelm::kernels::cuda
