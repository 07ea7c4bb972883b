// SPDX-License-Identifier: Apache-2.0
#include "eval/validation.h"

#include <algorithm>
#include <numbers>
#include <numeric>

namespace telehelm::eval {

double DomainScore::bpb() const {
    return nats / (std::numbers::ln2 * static_cast<double>(bytes));
}

Validation::Validation(const data::Corpus& corpus, std::int64_t contextLength, std::int64_t windowsPerDomain,
                       std::int64_t microBatch)
    : m_contextLength(static_cast<std::size_t>(contextLength)), m_microBatch(static_cast<std::size_t>(microBatch)) {
    for (std::size_t domain = 0; domain < corpus.domains().size(); ++domain) {
        m_domains.push_back(corpus.domains()[domain].name);
        for (data::ValidationWindow& text : corpus.validation(domain, contextLength, windowsPerDomain)) {
            m_windows.push_back({domain, std::move(text)});
        }
    }
    m_inputs.resize(m_microBatch * m_contextLength);
    m_targets.resize(m_inputs.size());
    m_nats.resize(m_inputs.size());
}

void Validation::scoreBatch(const Evaluate& evaluate, std::span<const std::size_t> windows, std::span<double> nats) {
    const std::size_t T = m_contextLength;
    for (std::size_t b = 0; b < windows.size(); ++b) {
        const std::vector<std::int32_t>& tokens = m_windows[windows[b]].text.tokens;
        std::copy_n(tokens.begin(), T, m_inputs.begin() + static_cast<std::ptrdiff_t>(b * T));
        std::copy_n(tokens.begin() + 1, T, m_targets.begin() + static_cast<std::ptrdiff_t>(b * T));
    }
    const std::size_t size = windows.size() * T;
    evaluate(std::span(m_inputs).first(size), std::span(m_targets).first(size), std::span(m_nats).first(size));
    for (std::size_t b = 0; b < windows.size(); ++b) {
        const auto first = m_nats.begin() + static_cast<std::ptrdiff_t>(b * T);
        nats[windows[b]] = std::accumulate(first, first + static_cast<std::ptrdiff_t>(T), 0.0);
    }
}

Scores Validation::run(const Evaluate& evaluate, comm::Communicator& ranks, std::span<const double> shares) {
    std::vector<std::size_t> own;
    for (auto i = static_cast<std::size_t>(ranks.rank()); i < m_windows.size(); i += static_cast<std::size_t>(ranks.size())) {
        own.push_back(i);
    }
    std::vector<double> nats(m_windows.size(), 0.0);
    for (std::size_t from = 0; from < own.size(); from += m_microBatch) {
        scoreBatch(evaluate, std::span(own).subspan(from, std::min(m_microBatch, own.size() - from)), nats);
    }
    ranks.allReduce(std::span(nats), comm::Reduce::Sum);

    std::vector<DomainScore> all(m_domains.size());
    for (std::size_t i = 0; i < m_windows.size(); ++i) {
        DomainScore& score = all[m_windows[i].domain];
        score.tokens += static_cast<std::int64_t>(m_contextLength);
        score.bytes += m_windows[i].text.bytes;
        score.nats += nats[i];
    }
    Scores scores;
    double weight = 0;
    for (std::size_t domain = 0; domain < all.size(); ++domain) {
        if (all[domain].bytes > 0) {
            all[domain].domain = m_domains[domain];
            scores.loss += shares[domain] * all[domain].loss();
            scores.bpb += shares[domain] * all[domain].bpb();
            weight += shares[domain];
            scores.domains.push_back(all[domain]);
        }
    }
    scores.loss /= weight; // NaN where no domain in the mixture has held-out text
    scores.bpb /= weight;
    return scores;
}

} // namespace telehelm::eval
