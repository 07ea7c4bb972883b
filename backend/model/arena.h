// SPDX-License-Identifier: Apache-2.0
// One block of memory for all activations, planned before it is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "model/huge_pages.h"

namespace telehelm::model {

/// Plan with reserve(), then allocate() once; the pointers given to reserve() then point into the block, each on its own cache
/// line. They must stay where they are until then.
template <typename Real> class Arena {
public:
    void reserve(Real*& pointer, std::int64_t size) {
        m_plan.emplace_back(&pointer, m_size);
        m_size += (static_cast<std::size_t>(size) + kGrain - 1) / kGrain * kGrain;
    }
    /// Zeroed.
    void allocate() {
        m_block.assign(m_size, Real{});
        for (const auto& [pointer, offset] : m_plan)
            *pointer = m_block.data() + offset;
        m_plan.clear();
    }
    [[nodiscard]] std::size_t bytes() const { return m_size * sizeof(Real); }

private:
    static constexpr std::size_t kGrain = 64 / sizeof(Real); // a cache line
    std::vector<std::pair<Real**, std::size_t>> m_plan;      // pointer, offset
    std::size_t m_size = 0;
    HugeVector<Real> m_block;
};

} // namespace telehelm::model
