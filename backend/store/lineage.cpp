// SPDX-License-Identifier: Apache-2.0
#include "store/lineage.h"

#include <algorithm>
#include <limits>

namespace telehelm::store {

Lineage::Lineage(std::vector<AttemptRow> attempts) {
    for (AttemptRow& row : attempts)
        m_nodes.push_back({std::move(row), false, 0, 0});
    std::int64_t last = std::numeric_limits<std::int64_t>::max();
    std::uint32_t child = 0;
    for (Node* node = m_nodes.empty() ? nullptr : &m_nodes.back(); node;) {
        node->isEffective = true;
        node->lastEffective = last;
        node->cutBy = child;
        last = std::min(last, node->attempt.info.forkStep);
        child = node->key().attempt;
        node = const_cast<Node*>(parentOf(*node));
    }
}

const Lineage::Node* Lineage::find(std::uint32_t attempt) const {
    const auto found = std::find_if(m_nodes.begin(), m_nodes.end(), [&](const Node& node) { return node.key().attempt == attempt; });
    return found == m_nodes.end() ? nullptr : &*found;
}

// A parent is older than its child, whatever a damaged row says.
const Lineage::Node* Lineage::parentOf(const Node& node) const {
    const std::uint32_t parent = node.attempt.info.parent;
    return parent == 0 || parent >= node.key().attempt ? nullptr : find(parent);
}

ipc::LineageInfo Lineage::describe(const std::string& run, const PlaceAt& placeAt) const {
    ipc::LineageInfo info;
    info.run = run;
    for (const Node& node : m_nodes) {
        const ipc::LineageBranch& branch = info.branches.emplace_back(branchOf(node, placeAt));
        info.lostSteps += branch.lostSteps;
        info.lostTokens += branch.lostTokens;
        info.lostWallUs += branch.lostWallUs;
    }
    return info;
}

// Each attempt answers for its own stretch only, so that nothing is counted twice.
ipc::LineageBranch Lineage::branchOf(const Node& node, const PlaceAt& placeAt) const {
    const ipc::AttemptInfo& attempt = node.attempt.info;
    ipc::LineageBranch branch;
    branch.key = attempt.key;
    branch.parent = attempt.parent;
    branch.forkStep = attempt.forkStep;
    branch.isEffective = node.isEffective;
    branch.effectiveTo = node.isEffective ? std::min(node.lastEffective, attempt.step) : 0;
    branch.cutBy = node.cutBy;
    if (node.isEffective && node.cutBy == 0)
        return branch; // the newest: nothing of it is given up
    const std::int64_t keptTo = node.isEffective ? node.lastEffective : attempt.forkStep;
    branch.abandonedFrom = keptTo + 1;
    branch.abandonedTo = std::max(attempt.step, keptTo);
    branch.lostSteps = branch.abandonedTo - keptTo;
    const Node* before = node.isEffective ? &node : parentOf(node);
    const auto place = before ? placeAt(*before, keptTo) : std::nullopt;
    if (branch.lostSteps > 0) {
        // Without a point to tell, tokens are taken to go evenly with the steps.
        const std::int64_t kept = place    ? place->tokens
                                  : keptTo <= 0 ? 0
                                                : static_cast<std::int64_t>(static_cast<double>(attempt.tokens) * static_cast<double>(keptTo) /
                                                                       static_cast<double>(std::max<std::int64_t>(attempt.step, 1)));
        branch.lostTokens = std::max<std::int64_t>(0, attempt.tokens - kept);
    }
    const std::int64_t end = attempt.endedUs > 0 ? attempt.endedUs : std::max(attempt.lastHeardUs, attempt.startedUs);
    const std::int64_t start = node.isEffective && place ? place->wallUs : attempt.startedUs;
    branch.lostWallUs = node.isEffective && branch.lostSteps == 0 ? 0 : std::max<std::int64_t>(0, end - start);
    return branch;
}

} // namespace telehelm::store
