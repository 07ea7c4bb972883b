// SPDX-License-Identifier: Apache-2.0
// A team of threads that runs one function side by side. All other CPU ops run on the calling thread only and take the rows or
// columns they shall work on; who calls them decides how work is shared, so that a fixed team means a fixed order of sums.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace telehelm::kernels {

struct Range {
    std::int64_t from = 0, to = 0;
    [[nodiscard]] std::int64_t size() const { return to - from; }
};

/// One member of a running team. Valid only inside runTeam's function.
struct Worker {
    int index = 0, count = 1;

    /// Waits until all members are here.
    void barrier() const;
    /// This member's part of 0 … n in multiples of `grain` (the last part takes the rest).
    [[nodiscard]] Range share(std::int64_t n, std::int64_t grain = 1) const {
        const std::int64_t blocks = (n + grain - 1) / grain;
        return {std::min(n, blocks * index / count * grain), std::min(n, blocks * (index + 1) / count * grain)};
    }
};

/// CPUs that this process may use (its affinity mask), at least 1.
[[nodiscard]] int availableThreads();

namespace detail {
void runTeam(int threads, void (*function)(void*, const Worker&), void* context);
}

/// Calls `function(worker)` once on each of `threads` threads, the caller among them, and returns when all are done. `function`
/// must not throw.
template <typename Function> void runTeam(int threads, Function&& function) {
    using Plain = std::remove_reference_t<Function>;
    detail::runTeam(
        threads, [](void* context, const Worker& worker) { (*static_cast<Plain*>(context))(worker); },
        const_cast<void*>(static_cast<const void*>(&function)));
}

/// Makes the BLAS run each call on the calling thread alone (teams bring the threads). Before the first linear op.
void useSingleThreadedBlas();

} // namespace telehelm::kernels
