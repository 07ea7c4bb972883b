// SPDX-License-Identifier: Apache-2.0
// Loss and bits per byte on held-out text: BPB = Σ nats / (ln 2 × UTF-8 bytes), section 4 of the report.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "data/corpus.h"

namespace telehelm::eval {

struct DomainScore {
    std::string domain;
    std::int64_t tokens = 0, bytes = 0;
    double nats = 0;
    [[nodiscard]] double loss() const { return nats / static_cast<double>(tokens); } // nats per token
    [[nodiscard]] double bpb() const;
};

struct Scores {
    std::vector<DomainScore> domains; // those that have held-out text
    double loss = 0, bpb = 0;         // weighted by the shares of those domains
};

/// Forward alone: each token's loss into `nats`, as Model::evaluate.
using Evaluate = std::function<void(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats)>;

/// Always the same windows, split over the ranks. Trainer thread only.
class Validation {
public:
    /// Holds up to `windowsPerDomain` windows of T tokens a domain. `microBatch`: sequences that the model takes at once.
    Validation(const data::Corpus& corpus, std::int64_t contextLength, std::int64_t windowsPerDomain, std::int64_t microBatch);

    /// Collective over `ranks`; every rank gets all scores. Each window's nats come whole from one rank and are added up in one
    /// order, so the number of ranks does not change the result. `shares`: per domain of the corpus.
    [[nodiscard]] Scores run(const Evaluate& evaluate, comm::Communicator& ranks, std::span<const double> shares);

private:
    struct Window {
        std::size_t domain = 0;
        data::ValidationWindow text;
    };
    void scoreBatch(const Evaluate& evaluate, std::span<const std::size_t> windows, std::span<double> nats);

    // constant after construction
    std::vector<std::string> m_domains;
    std::vector<Window> m_windows;
    std::size_t m_contextLength, m_microBatch;
    // scratch, trainer thread only
    std::vector<std::int32_t> m_inputs, m_targets;
    std::vector<float> m_nats;
};

} // namespace telehelm::eval
