// SPDX-License-Identifier: Apache-2.0
#include "train/straggler_watch.h"

#include <algorithm>

namespace telehelm::train {
namespace {

double median(std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    if (values.size() % 2 == 1) {
        return *middle;
    }
    return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

} // namespace

double StragglerWatch::peersMs(std::span<const double> workMs, std::size_t rank) const {
    const auto load = [this](std::size_t of) { return m_loads.empty() ? RankLoad{} : m_loads[of]; };
    std::vector<double> stage;
    std::vector<double> all;
    std::vector<double> scaled; // to this rank's load
    for (std::size_t other = 0; other < workMs.size(); ++other) {
        if (other == rank) {
            continue;
        }
        all.push_back(workMs[other]);
        scaled.push_back(workMs[other] * load(rank).work / load(other).work);
        if (load(other).stage == load(rank).stage) {
            stage.push_back(workMs[other]);
        }
    }
    const double planned = median(scaled);
    return std::max(median(all), stage.empty() ? planned : std::min(median(stage), planned));
}

std::vector<StragglerWatch::Change> StragglerWatch::gathered(std::span<const double> workMs) {
    std::vector<Change> changes;
    m_skew = 0;
    if (workMs.size() < 2) {
        return changes;
    }
    m_ranks.resize(workMs.size());
    for (std::size_t rank = 0; rank < workMs.size(); ++rank) {
        const double peers = peersMs(workMs, rank);
        const double ratio = peers > 0 ? workMs[rank] / peers : 1;
        m_skew = std::max(m_skew, ratio - 1);
        Rank& state = m_ranks[rank];
        state.slow.push_back(ratio > m_rule.stragglerRatio);
        if (static_cast<std::int64_t>(state.slow.size()) > m_rule.stragglerWindow) {
            state.slow.pop_front();
        }
        const auto hits = static_cast<std::int64_t>(std::ranges::count(state.slow, true));
        const bool turns = state.isStraggler ? hits <= m_rule.stragglerHits / 2 : hits >= m_rule.stragglerHits;
        if (turns) {
            state.isStraggler = !state.isStraggler;
            changes.push_back({static_cast<int>(rank), state.isStraggler, ratio, workMs[rank], peers});
        }
    }
    return changes;
}

} // namespace telehelm::train
