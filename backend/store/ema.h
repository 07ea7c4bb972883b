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

/// Remembers each curve's state at every 256th point (rarer on very long ones), so that neither zooming nor growth computes
/// anything twice. What has not been asked for longest is forgotten when all of them take too much. Any thread.
class EmaCache {
public:
    static constexpr std::size_t kDefaultBytes = 32 << 20;
    explicit EmaCache(std::size_t mostBytes = kDefaultBytes) : m_mostBytes(mostBytes) {}

    /// The states before the points with the given indices (ascending; size() = after the last one), for a curve that
    /// goes on from `initial`. Points that are lost change nothing.
    [[nodiscard]] std::vector<ipc::EmaState> at(SeriesReader& reader, double weight, const ipc::EmaState& initial,
                                                std::span<const std::uint64_t> indices);
    /// True when at() has few points left to go through.
    [[nodiscard]] bool isNearlyKnown(const SeriesReader& reader, double weight);
    /// Whatever is known of the series.
    void forget(std::int64_t series);
    [[nodiscard]] std::size_t bytes();

private:
    struct Curve {
        std::mutex mutex;
        std::uint64_t stride = 256;        // guarded by mutex
        std::vector<ipc::EmaState> states; // guarded by mutex; [i] = before point stride·i
    };
    struct Entry {
        std::shared_ptr<Curve> curve;
        std::uint64_t used = 0;
        std::size_t bytes = 0;
    };
    using Key = std::pair<std::int64_t, double>; // series, weight
    std::shared_ptr<Curve> curve(const Key& key);
    void account(const Key& key, std::size_t bytes);
    static void extend(Curve& curve, SeriesReader& reader, double weight);

    const std::size_t m_mostBytes;
    std::mutex m_mutex;
    std::map<Key, Entry> m_curves; // guarded by m_mutex
    std::uint64_t m_clock = 0;     // guarded by m_mutex
    std::size_t m_bytes = 0;       // guarded by m_mutex
};

} // namespace telehelm::store
