// SPDX-License-Identifier: Apache-2.0
#include "train/device_optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "train/step_engine.h"

namespace telehelm::train {
namespace {

Stretch overlap(std::int64_t from, std::int64_t to, const Stretch& of) {
    const std::int64_t begin = std::clamp(of.from, from, to);
    return {begin, std::max(begin, std::min(of.to, to))};
}

} // namespace

using Buffer = model::DeviceState::Buffer;

DeviceOptimizer::DeviceOptimizer(model::Model& model, const DeviceAxes& axes, const config::OptimizerConfig& config,
                                 bool sumsNorms, bool countsNorms, DeviceClock& clock)
    : m_model(model), m_state(*model.device()), m_axes(axes), m_config(config), m_clock(clock),
      m_buckets(m_state.buckets().begin(), m_state.buckets().end()), m_end(model.layout().back().offset + model.layout().back().size),
      m_states(m_buckets.size()) {
    for (const model::ParameterInfo& info : model.layout()) {
        const Stretch all{info.offset, info.offset + info.size};
        for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket)
            m_states[bucket].weights += overlap(m_buckets[bucket].from, m_buckets[bucket].to, all).size();
        if (sumsNorms && info.replicatedOverTensor())
            m_norms.push_back(all);
    }
    findPieces(countsNorms);
    m_state.makeMoments();
}

void DeviceOptimizer::findPieces(bool countsNorms) {
    for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket) {
        const Stretch mine = own(bucket);
        for (const model::ParameterInfo& info : m_model.layout()) {
            const Stretch part = overlap(mine.from, mine.to, {info.offset, info.offset + info.size});
            if (part.size() > 0)
                m_pieces.push_back({part, info.matrixLike, info.shape.size() > 1, countsNorms || !info.replicatedOverTensor()});
        }
    }
    m_updates.resize(m_pieces.size());
    for (const Piece& piece : m_pieces)
        m_counted.push_back({piece.at.from, piece.at.to, piece.isCounted});
}

Stretch DeviceOptimizer::own(std::size_t bucket) const {
    const std::int64_t from = m_state.ownFrom(bucket), to = m_state.ownTo(bucket);
    return {std::min(from, m_end), std::min(to, m_end)};
}

// ---------------------------------------------------------------- gradients

void DeviceOptimizer::clearGradients() {
    m_state.clearGradients();
    for (Bucket& bucket : m_states)
        bucket.open = bucket.weights;
}

void DeviceOptimizer::done(std::int64_t from, std::int64_t to) {
    for (std::size_t bucket = m_buckets.size(); bucket-- > 0;) { // a backward comes from the end
        const std::int64_t size = overlap(m_buckets[bucket].from, m_buckets[bucket].to, {from, to}).size();
        if (size > 0 && (m_states[bucket].open -= size) == 0)
            start(bucket);
    }
}

void DeviceOptimizer::start(std::size_t bucket) {
    m_states[bucket].open = kStarted;
    const parallel::DeviceBucket& at = m_buckets[bucket];
    sumNorms(at);
    if (m_axes.data == nullptr)
        return;
    follow();
    float* const gradients = m_state.gradientData();
    m_axes.data->reduceScatter(gradients + at.from, gradients + m_state.ownFrom(bucket),
                               static_cast<std::size_t>(at.block(m_axes.data->size())), comm::DeviceType::Float, m_beside);
}

/// The tensor ranks' sums of the norms' gradients in a bucket.
void DeviceOptimizer::sumNorms(const parallel::DeviceBucket& bucket) {
    for (const Stretch& norm : m_norms)
        if (const Stretch part = overlap(bucket.from, bucket.to, norm); part.size() > 0)
            m_axes.tensor->allReduce(m_state.gradientData() + part.from, static_cast<std::size_t>(part.size()),
                                     comm::DeviceType::Float, comm::Reduce::Sum, m_state.stream());
}

/// The data axis's stream goes on when the model's has done what it was given.
void DeviceOptimizer::follow() {
    m_ready.record(m_state.stream());
    m_ready.holdUp(m_beside);
}

void DeviceOptimizer::reduceGradients() {
    for (std::size_t bucket = m_buckets.size(); bucket-- > 0;)
        if (m_states[bucket].open != kStarted)
            start(bucket);
    if (m_axes.data != nullptr)
        m_clock.hold(Meter::CommData, m_clock.mark(m_beside));
}

double DeviceOptimizer::ownSquares() {
    return m_state.countedSquares(m_counted);
}

// ---------------------------------------------------------------- weights

void DeviceOptimizer::update(std::int64_t updates, const optim::Rates& rates, float gradScale) {
    const auto correction = [&](double beta) {
        return static_cast<float>(1.0 / (1.0 - std::pow(beta, static_cast<double>(updates))));
    };
    for (std::size_t i = 0; i < m_pieces.size(); ++i) {
        const Piece& piece = m_pieces[i];
        m_updates[i] = {.from = piece.at.from,
                        .to = piece.at.to,
                        .step = {.rate = static_cast<float>(piece.isMatrixLike ? rates.matrix : rates.vector),
                                 .decay = piece.decays ? static_cast<float>(m_config.weightDecay) : 0.0F,
                                 .beta1 = static_cast<float>(m_config.beta1),
                                 .beta2 = static_cast<float>(m_config.beta2),
                                 .epsilon = static_cast<float>(m_config.epsilon),
                                 .firstCorrection = correction(m_config.beta1),
                                 .secondCorrection = correction(m_config.beta2),
                                 .gradScale = gradScale}};
    }
    m_state.adamw(m_updates, [this](std::size_t bucket) { startGather(bucket); });
}

void DeviceOptimizer::startGather(std::size_t bucket) {
    if (m_axes.data == nullptr)
        return;
    follow(); // its block is up to date, and the last backward has read the others
    const parallel::DeviceBucket& at = m_buckets[bucket];
    kernels::cuda::Bf16* const weights = m_state.weightData();
    m_axes.data->allGather(weights + m_state.ownFrom(bucket), weights + at.from, static_cast<std::size_t>(at.block(m_axes.data->size())),
                           comm::DeviceType::Bf16, m_beside);
    Bucket& state = m_states[bucket];
    state.gathered.record(m_beside);
    m_gathering += state.isOnItsWay ? 0 : 1;
    state.isOnItsWay = true;
    m_state.weightsMoved();
}

void DeviceOptimizer::need(std::int64_t from, std::int64_t to) {
    for (std::size_t bucket = 0; m_gathering > 0 && bucket < m_buckets.size(); ++bucket) {
        Bucket& state = m_states[bucket];
        if (state.isOnItsWay && m_buckets[bucket].from < to && from < m_buckets[bucket].to) {
            m_clock.hold(Meter::CommData, state.gathered);
            state.isOnItsWay = false;
            --m_gathering;
        }
    }
}

// ---------------------------------------------------------------- checkpoints

/// Calls act(buffer, first element, the host's copy) for each own block and buffer.
template <typename Do> void DeviceOptimizer::eachCopy(const Do& act) {
    std::size_t size = 0;
    for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket)
        size += static_cast<std::size_t>(own(bucket).size());
    for (const auto& [buffer, host] :
         {std::pair{Buffer::Parameters, &m_parameters}, {Buffer::FirstMoment, &m_first}, {Buffer::SecondMoment, &m_second}}) {
        host->resize(size);
        std::span<float> rest = *host;
        for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket) {
            const Stretch mine = own(bucket);
            const auto count = static_cast<std::size_t>(mine.size());
            if (count > 0)
                act(buffer, mine.from, rest.first(count));
            rest = rest.subspan(count);
        }
    }
}

std::vector<Shard> DeviceOptimizer::shards() {
    std::vector<Shard> shards;
    std::size_t next = 0;
    eachCopy([&](Buffer buffer, std::int64_t from, std::span<float> host) {
        m_state.download(buffer, from, host);
        if (buffer == Buffer::Parameters) {
            shards.push_back({.from = from, .to = from + std::ssize(host), .parameters = host, .firstMoment = {}, .secondMoment = {}});
            return;
        }
        Shard& shard = shards[next++ % shards.size()];
        (buffer == Buffer::FirstMoment ? shard.firstMoment : shard.secondMoment) = host;
    });
    m_handedOut = true;
    return shards;
}

void DeviceOptimizer::takeShards() {
    if (std::exchange(m_handedOut, false))
        eachCopy([&](Buffer buffer, std::int64_t from, std::span<float> host) { m_state.upload(buffer, from, host); });
    for (std::size_t bucket = 0; bucket < m_buckets.size(); ++bucket)
        startGather(bucket);
    settle();
}

} // namespace telehelm::train
