// SPDX-License-Identifier: Apache-2.0
// A trainer that only emits, as fast as the daemon takes it, through the real trainer link: started by the daemon in the place of
// telehelm-rank. What it emits is a function of series and index, so that whoever reads the store knows every value.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::tests {

inline constexpr int kFeedSeries = 24;
inline constexpr const char* kFeedFileVariable = "TELEHELM_FEED_FILE"; // names the file of the FeedReport

[[nodiscard]] std::string feedName(int series);
/// NaNs with payloads, infinities, repeated and backward steps among ordinary values.
[[nodiscard]] ipc::Point feedPoint(int series, std::int64_t index);

/// What the feeder and the test tell each other, in a file that both have mapped: it outlives either.
struct FeedReport {
    std::atomic<std::uint64_t> emitted, acked, spooled; // points
    std::atomic<std::uint32_t> stop;                    // set by the test: end when all is acked
    std::atomic<std::uint32_t> hold;                    // set by the test: emit no more for now
    std::atomic<std::uint32_t> pid;
    std::atomic<std::uint64_t> longestEmitUs; // of one step's points
    char problem[400];                        // the link's last
};
[[nodiscard]] FeedReport* mapReport(const std::string& file); // makes it; never unmapped

/// Whether the daemon has started this program as its trainer, and then that part: an exit code.
[[nodiscard]] bool isFeeder(const std::vector<std::string>& words);
[[nodiscard]] int feed(const std::vector<std::string>& words);

} // namespace telehelm::tests
