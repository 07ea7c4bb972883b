// SPDX-License-Identifier: Apache-2.0
// Runs kernels on the host: each thread of a block is a fiber, a barrier or a warp's instruction lets the others run until all
// have come. The same names as kernels/cuda/on_device/gpu.h, so that the kernels' own sources compile here, and their index
// arithmetic, tails, fragment layouts and barriers are tested without a device. Copies behind the threads' backs arrive only when
// they are waited for, and shared memory starts as NaN. Slow, single-threaded, and blind to what only hardware can do wrong.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <tuple>

#include "telehelm/kernels/cuda/bf16.h"
#include "telehelm/kernels/cuda/runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__
#define __grid_constant__
#define __align__(n) alignas(n)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint4 {
    std::uint32_t x, y, z, w;
};
struct float4 {
    float x, y, z, w;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace telehelm::kernels::cuda {

using Words = uint4;

constexpr std::size_t mostSharedBytes() {
    return 232448; // sm_90's
}
constexpr int majorVersion() {
    return 9;
}

namespace host {

/// Gives it to the stream, which runs when somebody waits, or to the graph that is being recorded.
void submit(const Stream& stream, std::function<void()> work);
/// What runs, when somebody waits, of streams beside the one that is waited for: Late: what that one is held up by, and nothing
/// else; Early: all that can, before it; Shuffled: whatever a dice says, the same in each run. For all threads; first: Late.
enum class Order { Late, Early, Shuffled };
void orderStreams(Order order);
/// Bytes of device memory that this thread has ever allocated.
[[nodiscard]] std::size_t allocated();
/// Runs body() on each thread of each block.
void runGrid(const char* name, dim3 grid, unsigned threads, std::size_t sharedBytes, const std::function<void()>& body);
[[nodiscard]] unsigned char* sharedBlock();
/// All threads of the block; returns whether any brought true.
bool meetBlock(bool flag);
/// The threads of a group of 32 or 128 exchange `size` bytes (at most 128) each; lane i's lie at the result + i · 128 until the
/// next but one exchange.
const std::byte* exchange(int groupSize, const void* own, std::size_t size);
[[nodiscard]] int lane(int groupSize);
/// Copies of this thread that have not arrived yet.
void laterCopy(void* to, const void* from, std::size_t size);
void endGroup();
void arrive(int pending);
/// Lets the others go on.
void pause();
/// Throws std::logic_error: a kernel broke a rule.
[[noreturn]] void broken(const char* rule);

} // namespace host

template <typename... P, typename... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, unsigned threads, std::size_t sharedBytes, const Stream& stream,
            A&&... arguments) {
    host::submit(stream, [=, values = std::tuple<P...>(static_cast<P>(arguments)...)] {
        host::runGrid(name, grid, threads, sharedBytes, [&] { std::apply(kernel, values); });
    });
}

inline unsigned char* sharedMemory() {
    return host::sharedBlock();
}
inline void barrier_() {
    host::meetBlock(false);
}
#define __syncthreads ::telehelm::kernels::cuda::barrier_

template <typename T> T fromLane(T value, int laneXor) {
    const std::byte* all = host::exchange(32, &value, sizeof value);
    T result;
    std::memcpy(&result, all + (host::lane(32) ^ laneXor) * 128, sizeof result);
    return result;
}
inline unsigned ballot(bool flag) {
    const std::byte* all = host::exchange(32, &flag, 1);
    unsigned bits = 0;
    for (int i = 0; i < 32; ++i)
        bits |= (all[i * 128] != std::byte{0} ? 1U : 0U) << i;
    return bits;
}
inline bool barrierAny(bool flag) {
    return host::meetBlock(flag);
}

inline float exp2Fast(float x) {
    return std::exp2(x);
}
inline std::uint32_t packBf16(float low, float high) {
    return static_cast<std::uint32_t>(toBf16(low)) | static_cast<std::uint32_t>(toBf16(high)) << 16;
}

void loadMatrices(std::uint32_t (&out)[4], const void* row);
void loadMatricesTransposed(std::uint32_t (&out)[4], const void* row);
void multiplyAdd(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);

inline void copyAsync(void* shared, const void* global, bool valid) {
    if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 || (valid && reinterpret_cast<std::uintptr_t>(global) % 16 != 0))
        host::broken("cp.async needs 16-byte alignment");
    host::laterCopy(shared, valid ? global : nullptr, 16);
}
inline void endCopyGroup() {
    host::endGroup();
}
template <int kPending> void waitForCopies() {
    host::arrive(kPending);
}

} // namespace telehelm::kernels::cuda

using std::isfinite;
using std::min;
inline int __popc(unsigned bits) {
    return std::popcount(bits);
}
inline int __ffs(int bits) {
    return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1;
}
inline float rsqrtf(float x) {
    return 1.0F / std::sqrt(x);
}
inline float __expf(float x) {
    return std::exp(x);
}
