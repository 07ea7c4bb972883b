// SPDX-License-Identifier: Apache-2.0
// One block of memory for all activations, planned before it is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

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
        m_block.reset(new (std::align_val_t{kAlignment}) Real[m_size]());
        for (const auto& [pointer, offset] : m_plan)
            *pointer = m_block.get() + offset;
        m_plan.clear();
    }
    [[nodiscard]] std::size_t bytes() const { return m_size * sizeof(Real); }

private:
    static constexpr std::size_t kAlignment = 64, kGrain = kAlignment / sizeof(Real);
    struct Free {
        void operator()(Real* block) const { ::operator delete[](block, std::align_val_t{kAlignment}); }
    };
    std::vector<std::pair<Real**, std::size_t>> m_plan; // pointer, offset
    std::size_t m_size = 0;
    std::unique_ptr<Real[], Free> m_block;
};

} // namespace telehelm::model
