// SPDX-License-Identifier: Apache-2.0
#include "train/step_engine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "optim/gradient_norm.h"
#include "train/bad_step.h"
#include "train/file_io.h"

namespace telehelm::train {
namespace {

std::size_t at(std::int64_t value) {
    return static_cast<std::size_t>(value);
}

} // namespace

StepEngine::StepEngine(const config::RunConfig& config, model::Model& model, data::Sampler& sampler, const parallel::Mesh& mesh,
                       int threads, const DeviceAxes& axes)
    : m_model(model), m_sampler(sampler), m_mesh(mesh), m_ranks(mesh.data()), m_layers(config.model.layers),
      m_lastChunk(config.parallel.chunks - 1), m_trainsWhole(config.parallel.pipeline * config.parallel.chunks == 1),
      m_sequences(config.batch.sequences), m_own(m_sequences / m_ranks.size()), m_contextLength(config.model.contextLength),
      m_threads(threads), m_clock(model.device() != nullptr ? std::optional<DeviceClock>(std::in_place, model.device()->stream()) : std::nullopt),
      m_runner(config, model, mesh, axes.pipeline, m_clock ? &*m_clock : nullptr) {
    const bool sumsNorms = config.parallel.sequence && config.parallel.tensor > 1;
    if (model.device() != nullptr) {
        model.device()->keepNats(true);
        m_device = std::make_unique<DeviceOptimizer>(model, axes, config.optimizer, sumsNorms, mesh.own().tensor == 0, *m_clock);
    } else {
        m_buckets = std::make_unique<Buckets>(model, mesh, config.parallel.bucketBytesOn("cpu"), sumsNorms);
    }
    for (std::size_t bucket = 0; m_device == nullptr && bucket < m_buckets->count(); ++bucket) {
        const Stretch own = m_buckets->own(bucket);
        m_optimizers.emplace_back(model.layout(), own.from, own.to, config.optimizer, threads);
    }
    m_inputs.resize(at(m_own * m_contextLength));
    m_targets.resize(m_inputs.size());
    listen();
}

/// The model outlives its engine and must not call it any more.
StepEngine::~StepEngine() {
    m_model.onWeights({});
    m_model.onBackward({});
    if (m_device != nullptr) {
        m_model.device()->keepNats(false);
    }
}

/// One data rank has nothing to do beside its work.
void StepEngine::listen() {
    if (m_ranks.size() == 1) {
        return;
    }
    if (m_device != nullptr) { // at each turn
        m_tellsWeights = true;
        return;
    }
    m_tellsWeights = m_model.onWeights({.needed = [this](std::int64_t from, std::int64_t to) { m_buckets->need(from, to); },
                                        .done = [this](std::int64_t from, std::int64_t to) {
                                            if (m_completes) {
                                                m_buckets->done(from, to);
                                            }
                                        }});
}

/// It plays in pieces only where somebody wants to hear of them.
void StepEngine::listenToDevice() {
    model::WeightTurns turns;
    if (!m_device->isSettled()) {
        turns.needed = [this](std::int64_t from, std::int64_t to) { m_device->need(from, to); };
    }
    if (m_completes) {
        turns.done = [this](std::int64_t from, std::int64_t to) { m_device->done(from, to); };
    }
    m_model.onWeights(std::move(turns));
}

void StepEngine::setWatch(StepWatch* watch) {
    m_watch = watch;
    if (m_watch != nullptr && m_device != nullptr) {
        m_watch->leaveToDevice();
    }
    m_model.onBackward([this] { enter(Phase::Backward); });
}

std::vector<Shard> StepEngine::shards() {
    if (m_device != nullptr) {
        return m_device->shards();
    }
    std::vector<Shard> shards;
    for (std::size_t bucket = 0; bucket < m_buckets->count(); ++bucket) {
        optim::AdamW& optimizer = m_optimizers[bucket];
        shards.push_back({.from = optimizer.from(),
                          .to = optimizer.to(),
                          .parameters = m_buckets->ownParameters(bucket),
                          .firstMoment = optimizer.firstMoment(),
                          .secondMoment = optimizer.secondMoment()});
    }
    return shards;
}

EngineMemory StepEngine::memory() {
    if (m_device != nullptr) {
        const model::DeviceState& state = *m_model.device();
        return {.parameters = state.weightBytes(),
                .gradients = state.gradientBytes(),
                .optimizer = state.shardBytes(),
                .activations = m_model.activationBytes(),
                .messages = m_runner.bytes() + m_ranks.bytes()};
    }
    EngineMemory memory{.parameters = m_model.parameters().size_bytes(),
                        .gradients = m_model.gradients().size_bytes(),
                        .activations = m_model.activationBytes(),
                        .messages = m_buckets->bytes() + m_runner.bytes() + m_ranks.bytes()};
    for (optim::AdamW& optimizer : m_optimizers) {
        memory.optimizer += optimizer.firstMoment().size_bytes() + optimizer.secondMoment().size_bytes();
    }
    return memory;
}

void StepEngine::gatherParameters() {
    if (m_device != nullptr) {
        m_device->takeShards();
        return;
    }
    for (std::size_t bucket = 0; bucket < m_buckets->count(); ++bucket) {
        m_buckets->startGather(bucket);
    }
    settle();
}

void StepEngine::evaluate(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets, std::span<float> nats) {
    if (!m_tellsWeights || m_device != nullptr) {
        settle();
    }
    m_runner.evaluate(inputs, targets, nats);
    if (m_clock) {
        m_clock->forget();
    }
}

/// `reduces`: gradients go to their owners as they become complete.
double StepEngine::forwardAndBackward(std::int64_t step, bool reduces) {
    enter(Phase::Data);
    if (m_device != nullptr) {
        m_device->clearGradients();
    } else {
        std::ranges::fill(m_model.gradients(), 0.0F);
    }
    const auto gradScale = static_cast<float>(1.0 / static_cast<double>(m_sequences * m_contextLength));
    const std::int64_t first = m_own * m_ranks.rank();
    for (std::int64_t b = 0; b < m_own; ++b) {
        m_sampler.fill(step, first + b, std::span(m_inputs).subspan(at(b * m_contextLength), at(m_contextLength)),
                       std::span(m_targets).subspan(at(b * m_contextLength), at(m_contextLength)));
    }
    if (!m_tellsWeights) {
        settle();
    }
    const double nats = m_runner.run(m_inputs, m_targets, gradScale, [this, reduces](const parallel::Action& action, bool isLast) {
        m_completes = reduces && isLast;
        progress();
        if (m_device != nullptr && m_tellsWeights) {
            listenToDevice();
        }
        if (m_finder != nullptr) {
            m_finder->turn(action.microBatch);
        }
        if (m_onBackward && action.chunk == m_lastChunk && (m_trainsWhole || action.kind == parallel::ActionKind::Backward)) {
            m_onBackward(action.microBatch);
        }
        enter(action.kind == parallel::ActionKind::Forward ? Phase::Forward : Phase::Backward);
    });
    m_completes = false;
    if (m_device != nullptr) {
        m_model.onWeights({});
    }
    return nats;
}

std::uint64_t StepEngine::hashOf(const model::ParameterInfo& weight) {
    if (model::DeviceState* device = m_model.device()) {
        std::vector<float> values(at(weight.size));
        device->download(model::DeviceState::Buffer::Parameters, weight.offset, values);
        return xxh3(std::as_bytes(std::span(values)));
    }
    return xxh3(std::as_bytes(m_model.parameters().subspan(at(weight.offset), at(weight.size))));
}

/// Bitwise: equal NaNs agree, and −0 is not 0.
std::string StepEngine::replicaFault() {
    settle();
    std::vector<const model::ParameterInfo*> replicas;
    std::vector<double> own;
    for (const model::ParameterInfo& info : m_model.layout()) {
        if (info.replicatedOverTensor()) {
            const std::uint64_t hash = hashOf(info);
            replicas.push_back(&info);
            own.push_back(static_cast<double>(hash >> 32U)); // 32 bits are exact in a double
            own.push_back(static_cast<double>(hash & 0xFFFFFFFFU));
        }
    }
    const auto ranks = static_cast<std::size_t>(m_mesh.tensor().size());
    std::vector<double> all(own.size() * ranks);
    m_mesh.tensor().allGather(std::span<const double>(own), std::span(all));
    for (std::size_t i = 0; i < replicas.size(); ++i) {
        for (std::size_t rank = 1; rank < ranks; ++rank) {
            if (!std::equal(&all[2 * i], &all[2 * i] + 2, &all[rank * own.size() + 2 * i])) {
                const std::vector<int> group = m_mesh.shape().group(m_mesh.world().rank(), parallel::Axis::Tensor);
                return replicas[i]->name + " is not the same on rank " + std::to_string(group[0]) + " (tensor 0) and rank " +
                       std::to_string(group[rank]) + " (tensor " + std::to_string(rank) + ")";
            }
        }
    }
    return {};
}

/// Σ squares of what this rank counts: weights that all tensor ranks hold are the first one's, but nobody may update them with
/// what is not finite.
double StepEngine::ownSquares(std::size_t bucket) const {
    const std::span<const float> gradients = m_buckets->ownGradients(bucket);
    if (m_mesh.own().tensor == 0) {
        return optim::sumOfSquares(gradients, m_threads);
    }
    double sum = 0;
    const Stretch own = m_buckets->own(bucket);
    for (const model::ParameterInfo& info : m_model.layout()) {
        const std::int64_t begin = std::max(info.offset, own.from);
        const std::int64_t end = std::min(info.offset + info.size, own.to);
        if (begin < end) {
            const double squares = optim::sumOfSquares(gradients.subspan(at(begin - own.from), at(end - begin)), m_threads);
            sum += info.replicatedOverTensor() ? 0 * squares : squares;
        }
    }
    return sum;
}

/// Brings the gradients to their owners.
double StepEngine::reducedSquares() {
    if (m_device != nullptr) {
        m_device->reduceGradients();
        return m_device->ownSquares();
    }
    m_buckets->finishGradients();
    double sum = 0;
    for (std::size_t bucket = 0; bucket < m_buckets->count(); ++bucket) {
        sum += ownSquares(bucket);
    }
    return sum;
}

StepOutcome StepEngine::run(std::int64_t step, const optim::Rates& rates, double clip) {
    if (m_buckets != nullptr) {
        m_buckets->beginStep();
    }
    double nats = forwardAndBackward(step, true);
    StepOutcome outcome;

    enter(Phase::Reduce);
    const double squares = reducedSquares();
    if (m_device != nullptr) { // the one place in a step where the host waits for its device
        nats = m_model.device()->takeNats();
        account();
    }
    std::array<double, 2> sums = {m_mesh.own().tensor == 0 ? nats : 0.0, squares}; // each counted once
    m_mesh.world().allReduce(std::span(sums), comm::Reduce::Sum);
    outcome.loss = sums[0] / static_cast<double>(m_sequences * m_contextLength);
    outcome.gradNorm = std::sqrt(sums[1]);
    if (!std::isfinite(outcome.loss) || !std::isfinite(outcome.gradNorm)) {
        outcome.skipped = true;
        findOrigin(step, outcome);
    } else {
        update(rates, optim::clipFactor(outcome.gradNorm, clip));
    }
    if (m_clock) {
        m_clock->leave();
    }
    return outcome;
}

/// A device's times up to here.
void StepEngine::account() {
    const StepTimes times = m_clock->take();
    if (m_watch != nullptr) {
        m_watch->account(times);
    }
}

/// Each bucket goes out as soon as its block is up to date; the embedding, which the next forward needs first, is the first.
void StepEngine::update(const optim::Rates& rates, double factor) {
    enter(Phase::Optimizer);
    ++m_updates;
    if (m_device != nullptr) {
        m_device->update(m_updates, rates, static_cast<float>(factor));
        return;
    }
    for (std::size_t bucket = 0; bucket < m_buckets->count(); ++bucket) {
        m_optimizers[bucket].step(m_updates, rates, m_buckets->ownParameters(bucket), m_buckets->ownGradients(bucket),
                                  static_cast<float>(factor));
        m_buckets->startGather(bucket);
    }
    enter(Phase::Gather);
    progress();
}

/// The gradients are lost anyhow: the step is run again, looked at at each turn.
void StepEngine::findOrigin(std::int64_t step, StepOutcome& outcome) {
    OriginFinder finder(m_model, m_layers);
    m_finder = &finder;
    StepWatch* const watch = std::exchange(m_watch, nullptr);
    m_model.onBackward({}); // in the midst of a micro-batch the team's threads still write
    double nats = forwardAndBackward(step, false);
    m_finder = nullptr;
    finder.look();
    if (m_device != nullptr) {
        nats = m_model.device()->takeNats();
        m_clock->forget();
    }
    setWatch(watch);
    Provenance origin = finder.origin(m_mesh, nats);
    outcome.blame = std::move(origin.text);
    outcome.blameFacts = std::move(origin.facts);
}

} // namespace telehelm::train
