// SPDX-License-Identifier: Apache-2.0
#include "train/step_engine.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "optim/gradient_norm.h"
#include "train/bad_step.h"

namespace telehelm::train {
namespace {

std::int64_t shardSizeOf(std::size_t parameters, int ranks) {
    constexpr std::int64_t kGrain = 16; // a cache line
    const std::int64_t share = (static_cast<std::int64_t>(parameters) + ranks - 1) / ranks;
    return (share + kGrain - 1) / kGrain * kGrain;
}

std::size_t at(std::int64_t value) {
    return static_cast<std::size_t>(value);
}

} // namespace

StepEngine::StepEngine(const config::RunConfig& config, model::Model& model, data::Sampler& sampler, const parallel::Mesh& mesh,
                       int threads)
    : m_model(model), m_sampler(sampler), m_mesh(mesh), m_ranks(mesh.data()), m_layers(config.model.layers),
      m_sequences(config.batch.sequences),
      m_own(m_sequences / m_ranks.size()), m_micro(config.batch.microSequences > 0 ? config.batch.microSequences : m_own),
      m_contextLength(config.model.contextLength), m_shardSize(shardSizeOf(model.parameters().size(), m_ranks.size())),
      m_threads(threads),
      m_runner(config, model, mesh),
      m_optimizer(model.layout(), m_shardSize * m_ranks.rank(), m_shardSize * (m_ranks.rank() + 1), config.optimizer, threads) {
    const std::size_t padded = at(m_shardSize * m_ranks.size());
    if (padded != model.parameters().size()) {
        m_paddedParameters.resize(padded);
        m_paddedGradients.resize(padded);
    }
    if (m_ranks.size() > 1 || padded != model.parameters().size()) {
        m_gradientShard.resize(at(m_shardSize));
    }
    m_sumsNorms = config.parallel.sequence && config.parallel.tensor > 1;
    std::int64_t norms = 0;
    for (const model::ParameterInfo& info : model.layout()) {
        norms += info.replicatedOverTensor() ? info.size : 0;
    }
    m_norms.resize(at(norms));
    m_inputs.resize(at(m_own * m_contextLength));
    m_targets.resize(m_inputs.size());
}

void StepEngine::setWatch(StepWatch* watch) {
    m_watch = watch;
    m_model.onBackward([this] { enter(Phase::Backward); });
}

std::span<float> StepEngine::fullParameters() {
    return m_paddedParameters.empty() ? m_model.parameters() : std::span<float>(m_paddedParameters);
}

Shard StepEngine::shard() {
    return {.from = m_optimizer.from(),
            .to = m_optimizer.to(),
            .parameters = fullParameters().subspan(at(m_optimizer.from()), at(m_shardSize)),
            .firstMoment = m_optimizer.firstMoment(),
            .secondMoment = m_optimizer.secondMoment()};
}

void StepEngine::adoptParameters() {
    if (!m_paddedParameters.empty()) {
        std::copy(m_model.parameters().begin(), m_model.parameters().end(), m_paddedParameters.begin());
    }
}

void StepEngine::gatherParameters() {
    const std::span<float> full = fullParameters();
    m_ranks.allGather(shard().parameters, full);
    if (!m_paddedParameters.empty()) {
        std::copy_n(full.begin(), m_model.parameters().size(), m_model.parameters().begin());
    }
}

double StepEngine::forwardAndBackward(std::int64_t step) {
    std::ranges::fill(m_model.gradients(), 0.0F);
    const auto gradScale = static_cast<float>(1.0 / static_cast<double>(m_sequences * m_contextLength));
    const std::int64_t first = m_own * m_ranks.rank();
    enter(Phase::Data);
    for (std::int64_t b = 0; b < m_own; ++b) {
        m_sampler.fill(step, first + b, std::span(m_inputs).subspan(at(b * m_contextLength), at(m_contextLength)),
                       std::span(m_targets).subspan(at(b * m_contextLength), at(m_contextLength)));
    }
    return m_runner.run(m_inputs, m_targets, gradScale, [this](parallel::ActionKind kind) {
        enter(kind == parallel::ActionKind::Forward ? Phase::Forward : Phase::Backward);
    });
}

/// Under sequence parallelism each tensor rank has its rows' share of the norms' gradients.
void StepEngine::sumNormGradients() {
    if (!m_sumsNorms || m_norms.empty()) {
        return;
    }
    std::size_t next = 0;
    for (const model::ParameterInfo& info : m_model.layout()) {
        if (info.replicatedOverTensor()) {
            std::copy_n(m_model.gradients().begin() + info.offset, info.size, m_norms.begin() + static_cast<std::ptrdiff_t>(next));
            next += at(info.size);
        }
    }
    m_mesh.tensor().allReduce(std::span(m_norms), comm::Reduce::Sum);
    next = 0;
    for (const model::ParameterInfo& info : m_model.layout()) {
        if (info.replicatedOverTensor()) {
            std::copy_n(m_norms.begin() + static_cast<std::ptrdiff_t>(next), info.size, m_model.gradients().begin() + info.offset);
            next += at(info.size);
        }
    }
}

bool StepEngine::replicasAgree() {
    std::vector<float> most;
    for (const model::ParameterInfo& info : m_model.layout()) {
        if (info.replicatedOverTensor()) {
            const auto values = m_model.parameters().subspan(at(info.offset), at(info.size));
            most.insert(most.end(), values.begin(), values.end());
        }
    }
    std::vector<float> least = most;
    m_mesh.tensor().allReduce(std::span(most), comm::Reduce::Max);
    m_mesh.tensor().allReduce(std::span(least), comm::Reduce::Min);
    return most == least;
}

/// Σ squares of what this rank counts: weights that all tensor ranks hold are the first one's.
double StepEngine::ownSquares(std::span<const float> gradients) const {
    if (m_mesh.own().tensor == 0) {
        return optim::sumOfSquares(gradients, m_threads);
    }
    double sum = 0;
    const std::int64_t from = m_optimizer.from();
    for (const model::ParameterInfo& info : m_model.layout()) {
        const std::int64_t begin = std::max(info.offset, from);
        const std::int64_t end = std::min(info.offset + info.size, m_optimizer.to());
        if (begin < end && !info.replicatedOverTensor()) {
            sum += optim::sumOfSquares(gradients.subspan(at(begin - from), at(end - begin)), m_threads);
        }
    }
    return sum;
}

std::span<const float> StepEngine::reduceGradients() {
    sumNormGradients();
    if (m_gradientShard.empty()) {
        return m_model.gradients();
    }
    std::span<const float> all = m_model.gradients();
    if (!m_paddedGradients.empty()) {
        std::copy(all.begin(), all.end(), m_paddedGradients.begin());
        all = m_paddedGradients;
    }
    m_ranks.reduceScatter(all, m_gradientShard);
    return m_gradientShard;
}

StepOutcome StepEngine::run(std::int64_t step, const optim::Rates& rates, double clip) {
    const auto began = std::chrono::steady_clock::now();
    const double nats = forwardAndBackward(step);
    StepOutcome outcome;
    outcome.computeMs = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();

    enter(Phase::Reduce);
    const std::span<const float> gradients = reduceGradients();
    std::array<double, 2> sums = {m_mesh.own().tensor == 0 ? nats : 0.0, ownSquares(gradients)}; // each counted once
    m_mesh.world().allReduce(std::span(sums), comm::Reduce::Sum);
    outcome.loss = sums[0] / static_cast<double>(m_sequences * m_contextLength);
    outcome.gradNorm = std::sqrt(sums[1]);
    if (!std::isfinite(outcome.loss) || !std::isfinite(outcome.gradNorm)) {
        outcome.skipped = true;
        findOrigin(step, outcome);
        return outcome;
    }
    enter(Phase::Optimizer);
    const auto factor = static_cast<float>(optim::clipFactor(outcome.gradNorm, clip));
    m_optimizer.step(++m_updates, rates, shard().parameters, gradients, factor);
    enter(Phase::Gather);
    gatherParameters();
    return outcome;
}

/// The gradients are lost anyhow: the step is run again, looked at at each turn.
void StepEngine::findOrigin(std::int64_t step, StepOutcome& outcome) {
    OriginFinder finder(m_model, m_layers);
    StepWatch turns([&finder](std::int64_t, Phase phase) { finder.turn(phase); });
    StepWatch* const watch = std::exchange(m_watch, &turns);
    m_model.onBackward({}); // in the midst of a micro-batch the team's threads still write
    const double nats = forwardAndBackward(step);
    finder.turn(Phase::Reduce);
    setWatch(watch);
    Provenance origin = finder.origin(m_mesh, nats);
    outcome.blame = std::move(origin.text);
    outcome.blameFacts = std::move(origin.facts);
}

} // namespace telehelm::train
