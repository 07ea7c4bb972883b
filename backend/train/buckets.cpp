// SPDX-License-Identifier: Apache-2.0
#include "train/buckets.h"

#include <algorithm>

namespace telehelm::train {
namespace {

constexpr std::int64_t kGrain = 16; // elements: a cache line

std::size_t at(std::int64_t value) {
    return static_cast<std::size_t>(value);
}

Stretch overlap(const Stretch& a, const Stretch& b) {
    const std::int64_t from = std::max(a.from, b.from);
    return {from, std::max(from, std::min(a.to, b.to))};
}

} // namespace

std::vector<Stretch> cutBuckets(std::int64_t elements, std::int64_t bytes, int ranks) {
    if (ranks == 1) {
        return {{0, elements}};
    }
    const std::int64_t grain = kGrain * ranks;
    const std::int64_t size = std::max<std::int64_t>(bytes / static_cast<std::int64_t>(sizeof(float)) / grain, 1) * grain;
    std::vector<Stretch> buckets;
    for (std::int64_t from = 0; from < elements; from += size) {
        const std::int64_t left = (elements - from + grain - 1) / grain * grain;
        buckets.push_back({from, from + std::min(size, left)});
    }
    return buckets;
}

Buckets::Buckets(model::Model& model, const parallel::Mesh& mesh, std::int64_t bytes, bool sumsNorms)
    : m_model(model), m_mesh(mesh), m_ranks(mesh.data()), m_sumsNorms(sumsNorms),
      m_buckets(cutBuckets(std::ssize(model.parameters()), bytes, m_ranks.size())) {
    std::int64_t norms = 0;
    for (const model::ParameterInfo& info : model.layout()) {
        if (sumsNorms && info.replicatedOverTensor()) {
            m_norms.push_back({info.offset, info.offset + info.size});
            norms += info.size;
        }
    }
    m_normSums.resize(at(norms));
    for (const Stretch& all : m_buckets) {
        Bucket& bucket = m_states.emplace_back();
        for (const model::ParameterInfo& info : model.layout()) {
            bucket.weights += overlap(all, {info.offset, info.offset + info.size}).size();
        }
    }
    m_order.reserve(m_buckets.size());
    if (m_ranks.size() == 1) {
        return;
    }
    m_gradientShard.resize(at(m_buckets.back().to / m_ranks.size()));
    if (m_buckets.back().to > std::ssize(model.parameters())) {
        m_paddedParameters.resize(at(m_buckets.back().size()));
        m_paddedGradients.resize(m_paddedParameters.size());
    }
}

std::size_t Buckets::bytes() const {
    return (m_gradientShard.size() + m_paddedParameters.size() + m_paddedGradients.size() + m_normSums.size()) * sizeof(float);
}

Stretch Buckets::own(std::size_t bucket) const {
    const std::int64_t block = m_buckets[bucket].size() / m_ranks.size(), from = m_buckets[bucket].from + block * m_ranks.rank();
    return {from, from + block};
}

std::span<float> Buckets::ownParameters(std::size_t bucket) {
    const Stretch mine = own(bucket);
    return isPadded(bucket) ? std::span(m_paddedParameters).subspan(at(mine.from - m_buckets[bucket].from), at(mine.size()))
                            : m_model.parameters().subspan(at(mine.from), at(mine.size()));
}

std::span<const float> Buckets::ownGradients(std::size_t bucket) const {
    if (m_gradientShard.empty()) {
        return m_model.gradients();
    }
    return std::span(m_gradientShard).subspan(at(m_buckets[bucket].from / m_ranks.size()), at(m_buckets[bucket].size() / m_ranks.size()));
}

// ---------------------------------------------------------------- gradients

void Buckets::beginStep() {
    m_order.clear();
    m_finished = 0;
    for (Bucket& bucket : m_states) {
        bucket.open = bucket.weights;
    }
}

void Buckets::done(std::int64_t from, std::int64_t to) {
    progress();
    for (std::size_t bucket = m_buckets.size(); bucket-- > 0;) { // a backward comes from the end
        const std::int64_t size = overlap(m_buckets[bucket], {from, to}).size();
        if (size > 0 && (m_states[bucket].open -= size) == 0) {
            start(bucket);
        }
    }
}

void Buckets::start(std::size_t bucket) {
    sumNorms(m_buckets[bucket]);
    m_order.push_back(bucket);
    m_states[bucket].open = kStarted;
    if (m_gradientShard.empty()) {
        return;
    }
    if (m_order.size() - m_finished > kInFlight) {
        finishReduction(m_order[m_finished++]);
    }
    const std::span<float> gradients = m_model.gradients();
    std::span<const float> in;
    if (isPadded(bucket)) {
        const auto held = gradients.subspan(at(m_buckets[bucket].from));
        std::ranges::copy(held, m_paddedGradients.begin());
        in = m_paddedGradients;
    } else {
        in = gradients.subspan(at(m_buckets[bucket].from), at(m_buckets[bucket].size()));
    }
    const std::size_t block = in.size() / at(m_ranks.size());
    m_states[bucket].reduction =
        m_ranks.startReduceScatter(in, std::span(m_gradientShard).subspan(at(m_buckets[bucket].from / m_ranks.size()), block));
}

void Buckets::finishReduction(std::size_t bucket) {
    m_ranks.finish(m_states[bucket].reduction);
    m_states[bucket].reduction = kNoTicket;
}

void Buckets::finishGradients() {
    for (std::size_t bucket = m_buckets.size(); bucket-- > 0;) { // what an engine without turns left
        if (m_states[bucket].open != kStarted) {
            start(bucket);
        }
    }
    while (!m_gradientShard.empty() && m_finished < m_order.size()) {
        finishReduction(m_order[m_finished++]);
    }
}

/// The tensor ranks' sums of the norms' gradients in a bucket.
void Buckets::sumNorms(const Stretch& of) {
    std::size_t size = 0;
    const std::span<float> gradients = m_model.gradients();
    for (const Stretch& norm : m_norms) {
        const Stretch part = overlap(of, norm);
        std::copy_n(gradients.begin() + part.from, part.size(), m_normSums.begin() + static_cast<std::ptrdiff_t>(size));
        size += at(part.size());
    }
    if (size == 0) {
        return;
    }
    m_mesh.tensor().allReduce(std::span(m_normSums).first(size), comm::Reduce::Sum);
    size = 0;
    for (const Stretch& norm : m_norms) {
        const Stretch part = overlap(of, norm);
        std::copy_n(m_normSums.begin() + static_cast<std::ptrdiff_t>(size), part.size(), gradients.begin() + part.from);
        size += at(part.size());
    }
}

// ---------------------------------------------------------------- parameters

void Buckets::adoptParameters() {
    if (!m_paddedParameters.empty()) {
        std::ranges::copy(m_model.parameters().subspan(at(m_buckets.back().from)), m_paddedParameters.begin());
    }
}

void Buckets::startGather(std::size_t bucket) {
    if (m_ranks.size() == 1) {
        return;
    }
    const std::span<float> all = isPadded(bucket) ? std::span(m_paddedParameters)
                                                  : m_model.parameters().subspan(at(m_buckets[bucket].from), at(m_buckets[bucket].size()));
    m_states[bucket].gather = m_ranks.startAllGather(ownParameters(bucket), all);
    ++m_gathering;
}

void Buckets::need(std::int64_t from, std::int64_t to) {
    if (m_gathering == 0) {
        return;
    }
    progress();
    for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket) {
        if (m_states[bucket].gather == kNoTicket || overlap(m_buckets[bucket], {from, to}).size() == 0) {
            continue;
        }
        m_ranks.finish(m_states[bucket].gather);
        m_states[bucket].gather = kNoTicket;
        --m_gathering;
        if (isPadded(bucket)) {
            const auto held = m_model.parameters().subspan(at(m_buckets[bucket].from));
            std::copy_n(m_paddedParameters.begin(), held.size(), held.begin());
        }
    }
}

void Buckets::progress() {
    if (m_gathering > 0 || m_finished < m_order.size()) {
        m_ranks.progress();
    }
}

} // namespace telehelm::train
