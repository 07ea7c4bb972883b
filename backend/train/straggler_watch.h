// SPDX-License-Identifier: Apache-2.0
// Which rank holds the others up: each gather compares every rank's own work with the median of the others'.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "config/run_config.h"

namespace telehelm::train {

/// Pure arithmetic; one thread at a time. A rank is a straggler once `hits` of the last `window` gathers had it above `ratio`
/// times the others' median, and no more once at most half as many did.
class StragglerWatch {
public:
    struct Change {
        int rank = 0;
        bool began = false; // else: it is over
        double ratio = 0;   // in the newest gather
        double ms = 0, othersMs = 0;
    };
    explicit StragglerWatch(const config::TelemetryConfig& rule) : m_rule(rule) {}

    [[nodiscard]] std::vector<Change> gathered(std::span<const double> workMs);
    /// Slowest rank's work ÷ the median of the others' − 1, of the newest gather; 0 with one rank.
    [[nodiscard]] double skew() const { return m_skew; }

private:
    struct Rank {
        std::deque<bool> slow; // newest last
        bool isStraggler = false;
    };
    config::TelemetryConfig m_rule;
    std::vector<Rank> m_ranks;
    double m_skew = 0;
};

} // namespace telehelm::train
