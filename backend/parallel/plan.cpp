// SPDX-License-Identifier: Apache-2.0
#include "parallel/plan.h"

#include <algorithm>

#include "parallel/plan_memory.h"

namespace telehelm::parallel {
namespace {

/// Backward ÷ forward: two products for each one of the forward, and the forward again where it is recomputed.
double backwardRatio(Recompute mode) {
    return mode == Recompute::Full ? 3.0 : 2.0;
}

/// Costs of a micro-batch in FLOPs of one rank.
ActionCosts actionCosts(const config::RunConfig& config, const std::vector<LayerRange>& parts, int stages, Recompute mode) {
    const PartCosts costs = partCosts(config.model);
    double sum = 0;
    for (const LayerRange& part : parts) {
        sum += costs.of(part);
    }
    const double tokens = static_cast<double>(config.microSequences() * config.model.contextLength);
    ActionCosts out;
    out.forward = sum / stages * tokens / config.parallel.tensor;
    out.backward = backwardRatio(mode) * out.forward;
    const double mean = sum / static_cast<double>(parts.size());
    for (const LayerRange& part : parts) {
        out.parts.push_back(costs.of(part) / mean);
    }
    return out;
}

using Lists = std::vector<std::vector<Action>>;

Result<Lists> listsOf(const config::RunConfig& config, ScheduleKind kind, int chunks) {
    return makeSchedules(kind, config.parallel.pipeline, static_cast<int>(config.microBatches()), chunks);
}

Result<ScheduleReport> runOnPaper(const config::RunConfig& config, const Lists& lists, const std::vector<LayerRange>& parts,
                                  int chunks, Recompute mode) {
    return checkSchedule(lists, static_cast<int>(config.microBatches()), chunks,
                         actionCosts(config, parts, config.parallel.pipeline, mode));
}

/// The other schedules that this mesh could run; one that does not fit is left out.
std::vector<ScheduleOption> scheduleOptions(const config::RunConfig& config, Recompute mode) {
    std::vector<ScheduleOption> options;
    const auto add = [&](ScheduleKind kind, int chunks) {
        config::ParallelConfig parallel = config.parallel;
        parallel.chunks = chunks;
        parallel.layers = chunks == config.parallel.chunks ? config.parallel.layers : std::vector<std::int64_t>();
        const auto parts = partitionLayers(config.model, parallel);
        if (!parts) {
            return;
        }
        const auto report =
            listsOf(config, kind, chunks).and_then([&](const Lists& lists) { return runOnPaper(config, lists, *parts, chunks, mode); });
        if (report) {
            options.push_back({.kind = kind,
                               .chunks = chunks,
                               .bubbleShare = report->bubbleShare,
                               .peakActivations = (report->stages.front().peakActivations + chunks - 1) / chunks});
        }
    };
    if (config.parallel.pipeline > 1) {
        add(ScheduleKind::OneForwardOneBackward, 1);
        for (const int chunks : {2, 4}) {
            add(ScheduleKind::Interleaved, chunks);
        }
        add(ScheduleKind::ZeroBubble, 1);
    }
    return options;
}

StagePlan planStage(const config::RunConfig& config, const std::vector<LayerRange>& parts, int stage, const StageReport& report,
                    std::int64_t gradientBuffers, Recompute mode) {
    const int stages = config.parallel.pipeline;
    StagePlan plan;
    for (std::size_t part = static_cast<std::size_t>(stage); part < parts.size(); part += static_cast<std::size_t>(stages)) {
        plan.parts.push_back(parts[part]);
        const ParameterShare share = parameterShare(config, parts[part]);
        plan.parameters.split += share.split;
        plan.parameters.replicated += share.replicated;
    }
    const ElementBytes bytes = elementBytes(config);
    const std::int64_t held = plan.parameters.total(), shard = shardElements(config, held);
    plan.isOnDevice = config.device == "cuda";
    const std::int64_t room = plan.isOnDevice ? shard * config.parallel.data : held;
    plan.parameterBytes = room * bytes.weight;
    plan.gradientBytes = room * bytes.gradient;
    plan.optimizerBytes = shard * bytes.optimizer;
    plan.checkpointBytes = 3 * shard * static_cast<std::int64_t>(sizeof(float)) * (plan.isOnDevice ? 2 : 1);
    for (const Recompute each : kRecomputeModes) {
        plan.activationBytes[static_cast<std::size_t>(each)] = keptBytes(config, plan.parts, report.peakByChunk, each);
    }
    plan.workBytes = workBytes(config, plan.parts, mode);
    plan.threadBytes = threadBytes(config, plan.parts);
    plan.messageBytes = messageBytes(config, held, plan.parameters.replicated, gradientBuffers);
    plan.peakActivations = report.peakActivations;
    plan.traffic = stageTraffic(config, plan.parts, held, plan.parameters.replicated, mode);
    return plan;
}

} // namespace

Result<Plan> makePlan(const config::RunConfig& config, double flopsPerRank) {
    const auto kind = scheduleKind(config.parallel.schedule);
    if (!kind) {
        return tl::unexpected(kind.error());
    }
    const auto parts = partitionLayers(config.model, config.parallel);
    if (!parts) {
        return tl::unexpected(parts.error());
    }
    constexpr std::int64_t kMostActions = 4'000'000; // what the paper run follows in a few seconds
    if (const std::int64_t actions = 2 * config.microBatches() * static_cast<std::int64_t>(parts->size());
        actions > kMostActions) {
        return fail(ErrorCode::InvalidArgument,
                    std::to_string(config.microBatches()) + " micro-batches of " + std::to_string(parts->size()) +
                        " parts are too many to plan; raise micro_sequences",
                    "[batch] micro_sequences");
    }
    Plan plan;
    plan.recompute = config.parallel.recomputes();
    const auto lists = listsOf(config, *kind, config.parallel.chunks);
    if (!lists) {
        return tl::unexpected(lists.error());
    }
    const auto report = runOnPaper(config, *lists, *parts, config.parallel.chunks, plan.recompute);
    const auto buffers = gradientBuffers(*lists, static_cast<int>(config.microBatches()), config.parallel.chunks);
    if (!report || !buffers) {
        return tl::unexpected(report ? buffers.error() : report.error());
    }
    plan.parameters = config.model.parameterCount();
    plan.tokensPerStep = config.tokensPerStep();
    plan.microBatches = config.microBatches();
    plan.microSequences = config.microSequences();
    plan.flopsPerToken = config.model.flopsPerToken();
    const double layers = partCosts(config.model).layer * static_cast<double>(config.model.layers);
    plan.hardwareFlopsPerToken = plan.flopsPerToken + (plan.recompute == Recompute::Full ? layers : 0.0);
    plan.bubbleShare = report->bubbleShare;
    const double others = config.parallel.pipeline - 1;
    plan.evenBubbleShare = others / (static_cast<double>(config.parallel.chunks * plan.microBatches) + others);
    for (int stage = 0; stage < config.parallel.pipeline; ++stage) {
        const auto at = static_cast<std::size_t>(stage);
        const StageReport& own = report->stages[at];
        plan.stages.push_back(planStage(config, *parts, stage, own, (*buffers)[at], plan.recompute));
        plan.stages.back().idleShare = std::max(0.0, 1.0 - own.busy / report->length);
    }
    plan.options = scheduleOptions(config, plan.recompute);
    plan.flopsPerRank = flopsPerRank;
    if (flopsPerRank > 0) {
        plan.stepSeconds = report->length / flopsPerRank;
        plan.tokensPerSecond = static_cast<double>(plan.tokensPerStep) / plan.stepSeconds;
    }
    return plan;
}

} // namespace telehelm::parallel
