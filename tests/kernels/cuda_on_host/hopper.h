// SPDX-License-Identifier: Apache-2.0
// wgmma, TMA and mbarrier on the host: matrices are read through their descriptors with the 128-byte swizzle, products are made
// when their batch is waited for, boxes arrive at once or when their barrier is waited for, and its count of bytes must be right.
#pragma once

#include "gpu.h"

namespace telehelm::kernels::cuda {

struct TensorMap {
    const Bf16* values;
    std::int64_t B, T, heads, D;
    int rows;
};
[[nodiscard]] TensorMap makeTensorMap(const void* values, std::int64_t B, std::int64_t T, std::int64_t heads, std::int64_t D,
                                      int rows);

/// As descriptors have it: in bytes from the block's start.
[[nodiscard]] inline std::uint32_t sharedAddress(const void* pointer) {
    return static_cast<std::uint32_t>(static_cast<const unsigned char*>(pointer) - host::sharedBlock());
}

[[nodiscard]] inline std::uint32_t heldAddress(const void* shared) {
    return sharedAddress(shared);
}

void initBarrier(std::uint64_t* barrier);
inline void fenceBarriers() {}
void expectBytes(std::uint64_t* barrier, int bytes);
void waitForBarrier(std::uint64_t* barrier, unsigned parity);
void loadBox(void* shared, const TensorMap& map, int column, int head, int row, int batch, std::uint64_t* barrier);

template <typename T> void pin(T&) {}
inline void beginWgmma() {}
namespace host {
/// Later, c (64 rows of the warpgroup, 8 · eights) += a b; `a` null: the left factor by its descriptor. Registers and shared
/// memory are read and written when the batch is waited for, so who touches them before gets it wrong here too.
void laterWgmma(float (*c)[4], int eights, const std::uint32_t* a, std::uint64_t aDescriptor, std::uint64_t bDescriptor);
void endBatch();
void finishBatches(std::size_t pending);
} // namespace host
inline void endWgmma() {
    host::endBatch();
}
template <int kPending> void waitForWgmma() {
    host::finishBatches(kPending);
}
template <int kEights> void wgmmaTiles(float (&c)[kEights][4], std::uint64_t a, std::uint64_t b) {
    host::laterWgmma(c, kEights, nullptr, a, b);
}
template <int kEights> void wgmmaFactor(float (&c)[kEights][4], const std::uint32_t (&a)[4], std::uint64_t b) {
    host::laterWgmma(c, kEights, a, 0, b);
}

} // namespace telehelm::kernels::cuda
