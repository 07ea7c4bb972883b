// SPDX-License-Identifier: Apache-2.0
#include "train/straggler_watch.h"

#include <algorithm>

namespace telehelm::train {
namespace {

double medianOfOthers(std::span<const double> all, std::size_t without) {
    std::vector<double> others(all.begin(), all.end());
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(without));
    const auto middle = others.begin() + static_cast<std::ptrdiff_t>(others.size() / 2);
    std::nth_element(others.begin(), middle, others.end());
    if (others.size() % 2 == 1) {
        return *middle;
    }
    return (*middle + *std::max_element(others.begin(), middle)) / 2;
}

} // namespace

std::vector<StragglerWatch::Change> StragglerWatch::gathered(std::span<const double> workMs) {
    std::vector<Change> changes;
    m_skew = 0;
    if (workMs.size() < 2) {
        return changes;
    }
    m_ranks.resize(workMs.size());
    for (std::size_t rank = 0; rank < workMs.size(); ++rank) {
        const double others = medianOfOthers(workMs, rank);
        const double ratio = others > 0 ? workMs[rank] / others : 1;
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
            changes.push_back({static_cast<int>(rank), state.isStraggler, ratio, workMs[rank], others});
        }
    }
    return changes;
}

} // namespace telehelm::train
