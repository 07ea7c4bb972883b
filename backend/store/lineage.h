// SPDX-License-Identifier: Apache-2.0
// The attempts of a run, which of them the effective curve goes through, and what the others had cost.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "store/records.h"

namespace telehelm::store {

class Lineage {
public:
    explicit Lineage(std::vector<AttemptRow> attempts); // oldest first
    struct Node {
        AttemptRow attempt;
        bool isEffective = false;       // part of the newest lineage
        std::int64_t lastEffective = 0; // its last step there
        std::uint32_t cutBy = 0;        // the attempt that goes on from there
        [[nodiscard]] const ipc::AttemptKey& key() const { return attempt.info.key; }
    };
    [[nodiscard]] const std::vector<Node>& nodes() const { return m_nodes; } // oldest first
    [[nodiscard]] const Node* find(std::uint32_t attempt) const;
    [[nodiscard]] const Node* parentOf(const Node& node) const;

    /// Tokens and wall time at the last point at or before a step of an attempt; nothing when there is none.
    struct Place {
        std::int64_t tokens = 0, wallUs = 0;
    };
    using PlaceAt = std::function<std::optional<Place>(const Node&, std::int64_t step)>;
    [[nodiscard]] ipc::LineageInfo describe(const std::string& run, const PlaceAt& placeAt) const;

private:
    [[nodiscard]] ipc::LineageBranch branchOf(const Node& node, const PlaceAt& placeAt) const;
    std::vector<Node> m_nodes;
};

} // namespace telehelm::store
