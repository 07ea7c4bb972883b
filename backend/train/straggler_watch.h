// SPDX-License-Identifier: Apache-2.0
// Which rank holds the others up: each gather compares every rank's own work with that of ranks which have as much to do.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "config/run_config.h"

namespace telehelm::train {

/// What a rank has to do. Work is planned, in any unit.
struct RankLoad {
    int stage = 0;
    double work = 1;
};

/// Pure arithmetic; one thread at a time. A rank is a straggler once `hits` of the last `window` gathers had it above `ratio`
/// times its peers' pace, and no more once at most half as many did. Its peers' pace: the median of the others in its stage, or of
/// all others for as much work as its own where that is less (a whole stage is slow) or it has no other in its stage; but never
/// less than the median of all others, for a light stage that is done before them holds nobody up.
class StragglerWatch {
public:
    struct Change {
        int rank = 0;
        bool began = false; // else: it is over
        double ratio = 0;   // in the newest gather
        double ms = 0, peersMs = 0;
    };
    /// `loads` by rank; none: all have the same to do.
    explicit StragglerWatch(const config::TelemetryConfig& rule, std::vector<RankLoad> loads = {})
        : m_rule(rule), m_loads(std::move(loads)) {}

    [[nodiscard]] std::vector<Change> gathered(std::span<const double> workMs);
    /// Slowest rank's work ÷ its peers' pace − 1, of the newest gather; 0 with one rank.
    [[nodiscard]] double skew() const { return m_skew; }

private:
    struct Rank {
        std::deque<bool> slow; // newest last
        bool isStraggler = false;
    };
    [[nodiscard]] double peersMs(std::span<const double> workMs, std::size_t rank) const;
    config::TelemetryConfig m_rule;
    std::vector<RankLoad> m_loads;
    std::vector<Rank> m_ranks;
    double m_skew = 0;
};

} // namespace telehelm::train
