// SPDX-License-Identifier: Apache-2.0
// One block of device memory for all activations, planned before it is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::model {

/// Plan with reserve(), then allocate() once; the pointers given to reserve() then point into the block. They must stay where
/// they are until then.
class DeviceArena {
public:
    template <typename T> void reserve(T*& pointer, std::int64_t count) {
        m_plan.push_back([&pointer, offset = m_bytes](std::byte* block) { pointer = reinterpret_cast<T*>(block + offset); });
        m_bytes += (static_cast<std::size_t>(count) * sizeof(T) + kGrain - 1) / kGrain * kGrain;
    }
    void allocate() {
        m_block = kernels::cuda::DeviceBuffer(m_bytes);
        for (const auto& place : m_plan)
            place(m_block.data());
        m_plan.clear();
    }
    [[nodiscard]] std::size_t bytes() const { return m_bytes; }

private:
    static constexpr std::size_t kGrain = 256; // what TMA and cuBLASLt like
    std::vector<std::function<void(std::byte*)>> m_plan;
    std::size_t m_bytes = 0;
    kernels::cuda::DeviceBuffer m_block;
};

} // namespace telehelm::model
