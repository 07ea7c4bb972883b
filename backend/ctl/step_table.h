// SPDX-License-Identifier: Apache-2.0
// Gathers the points of a run into one row a step, however they come: in pieces, twice, or late from a repair.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::ctl {

struct StepRow {
    std::uint32_t attempt = 0;
    std::int64_t step = 0, tokens = 0, wallUs = 0;
    std::map<std::string, double> values; // by series
    [[nodiscard]] bool complete() const;  // has all that a step is shown with
};

/// One thread.
class StepTable {
public:
    /// Points of attempts before the newest are ignored; a newer attempt starts again after its fork step. True: it was not there yet.
    bool add(const ipc::AttemptKey& key, const std::string& series, const ipc::Point& point);
    /// The rows that are whole, or will get no more because a later step has begun; ascending, each once.
    [[nodiscard]] std::vector<StepRow> take();
    /// All that is left, when the run has ended.
    [[nodiscard]] std::vector<StepRow> takeAll();
    /// The oldest row waiting does not follow the last one shown: something between them has not come.
    [[nodiscard]] bool hasHole() const { return !m_rows.empty() && m_rows.begin()->first > m_lastShown + 1; }
    void startAt(std::uint32_t attempt, std::int64_t lastShown);
    [[nodiscard]] std::uint32_t attempt() const { return m_attempt; }
    [[nodiscard]] std::int64_t lastShown() const { return m_lastShown; }

private:
    std::uint32_t m_attempt = 0;
    std::int64_t m_lastShown = 0;
    std::map<std::int64_t, StepRow> m_rows;
};

/// The series that a row waits for.
[[nodiscard]] const std::vector<std::string>& shownSeries();

} // namespace telehelm::ctl
