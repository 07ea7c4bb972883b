// SPDX-License-Identifier: Apache-2.0
// The debiased EMA over full-resolution data: last = last·w + (1−w)·y; shown = last ÷ (1 − wⁿ); non-finite values uncounted.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "store/series_reader.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

void advance(ipc::EmaState& state, double weight, double value);
[[nodiscard]] double shown(const ipc::EmaState& state, double weight); // NaN before the first finite value

/// Remembers each curve's state at every 256th point, so that neither zooming nor growth computes anything twice.
/// Any thread.
class EmaCache {
public:
    /// The states before the points with the given indices (ascending; size() = after the last one), for a curve that
    /// goes on from `initial`.
    [[nodiscard]] std::vector<ipc::EmaState> at(SeriesReader& reader, double weight, const ipc::EmaState& initial,
                                                std::span<const std::uint64_t> indices);

private:
    struct Curve {
        std::mutex mutex;
        std::vector<ipc::EmaState> states; // guarded by mutex; [i] = before point 256·i
    };
    std::shared_ptr<Curve> curve(std::int64_t series, double weight);
    static void extend(Curve& curve, SeriesReader& reader, double weight);

    std::mutex m_mutex;
    std::map<std::pair<std::int64_t, double>, std::shared_ptr<Curve>> m_curves; // guarded by m_mutex
};

} // namespace telehelm::store
