// SPDX-License-Identifier: Apache-2.0
#include "ctl/step_table.h"

#include <algorithm>

namespace telehelm::ctl {

const std::vector<std::string>& shownSeries() {
    static const std::vector<std::string> kSeries = {ipc::series::kTrainLoss, ipc::series::kGradNorm, ipc::series::kLearningRate,
                                                     ipc::series::kTokensPerS};
    return kSeries;
}

bool StepRow::complete() const {
    return std::all_of(shownSeries().begin(), shownSeries().end(), [this](const std::string& name) { return values.contains(name); });
}

void StepTable::startAt(std::uint32_t attempt, std::int64_t lastShown) {
    m_attempt = attempt;
    m_lastShown = lastShown;
    m_rows.clear();
}

bool StepTable::add(const ipc::AttemptKey& key, const std::string& series, const ipc::Point& point) {
    if (key.attempt < m_attempt)
        return false;
    if (key.attempt > m_attempt)
        startAt(key.attempt, point.step - 1);
    const auto& shown = shownSeries();
    if (point.step <= m_lastShown || std::find(shown.begin(), shown.end(), series) == shown.end())
        return false;
    StepRow& row = m_rows[point.step];
    row.attempt = key.attempt;
    row.step = point.step;
    row.tokens = point.tokens;
    row.wallUs = point.wallUs;
    return row.values.insert_or_assign(series, point.value).second;
}

std::vector<StepRow> StepTable::take() {
    std::vector<StepRow> rows;
    while (!m_rows.empty() && (m_rows.begin()->second.complete() || m_rows.size() > 2)) {
        m_lastShown = m_rows.begin()->first;
        rows.push_back(std::move(m_rows.begin()->second));
        m_rows.erase(m_rows.begin());
    }
    return rows;
}

std::vector<StepRow> StepTable::takeAll() {
    std::vector<StepRow> rows;
    for (auto& [step, row] : m_rows) {
        m_lastShown = step;
        rows.push_back(std::move(row));
    }
    m_rows.clear();
    return rows;
}

} // namespace telehelm::ctl
