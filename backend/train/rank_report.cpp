// SPDX-License-Identifier: Apache-2.0
#include "train/rank_report.h"

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "parallel/partition.h"

namespace telehelm::train {
namespace {

/// Step: the rank's own work. Work and what it was held by (each axis, the bubble, Sync: loss and norm over all ranks) together are
/// the whole step.
enum Column : std::size_t { StepMs, ForwardMs, BackwardMs, CommTensorMs, CommDataMs, CommPipelineMs, BubbleMs, SyncMs, OptimizerMs, DataMs, Memory };
constexpr std::array<const char*, 11> kNames = {"step_ms",          "forward_ms", "backward_ms", "comm_tensor_ms", "comm_data_ms",
                                                "comm_pipeline_ms", "bubble_ms",  "sync_ms",     "optimizer_ms",   "data_ms",
                                                "memory_bytes"};

/// Resident set of this process.
double memoryBytes() {
    std::ifstream file("/proc/self/statm");
    double total = 0;
    double resident = 0;
    file >> total >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

} // namespace

void RankReport::expect(const config::RunConfig& config) {
    const auto parts = parallel::partitionLayers(config.model, config.parallel);
    if (!parts) {
        return;
    }
    parallel::PartCosts costs = parallel::partCosts(config.model);
    if (config.parallel.recomputes() == config::Recompute::Full) {
        costs.layer *= 4.0 / 3.0; // its forward twice, and a backward of two
    }
    const auto stages = static_cast<std::size_t>(m_mesh.shape().size(parallel::Axis::Pipeline));
    std::vector<double> work(stages);
    for (std::size_t part = 0; part < parts->size(); ++part) {
        work[part % stages] += costs.of((*parts)[part]);
    }
    std::vector<RankLoad> loads;
    for (int rank = 0; rank < m_mesh.shape().ranks(); ++rank) {
        const int stage = m_mesh.shape().coordinates(rank).pipeline;
        loads.push_back({.stage = stage, .work = work[static_cast<std::size_t>(stage)]});
    }
    m_stragglers = StragglerWatch(m_rule, std::move(loads));
}

void RankReport::add(const StepWatch& watch) {
    const double forward = watch.alone(Phase::Forward);
    const double backward = watch.alone(Phase::Backward);
    const double optimizer = watch.alone(Phase::Optimizer);
    const double data = watch.alone(Phase::Data);
    m_sums[StepMs] += forward + backward + optimizer + data;
    m_sums[ForwardMs] += forward;
    m_sums[BackwardMs] += backward;
    m_sums[CommTensorMs] += watch.ms(Meter::CommTensor);
    m_sums[CommDataMs] += watch.ms(Meter::CommData);
    m_sums[CommPipelineMs] += watch.ms(Meter::CommPipeline);
    m_sums[BubbleMs] += watch.ms(Meter::Bubble);
    m_sums[SyncMs] += watch.alone(Phase::Reduce) + watch.alone(Phase::Gather);
    m_sums[OptimizerMs] += optimizer;
    m_sums[DataMs] += data;
    ++m_steps;
}

void RankReport::gather(Telemetry& telemetry) {
    comm::Communicator& world = m_mesh.world();
    std::vector<Row> rows(static_cast<std::size_t>(world.size()), Row{});
    Row& own = rows[static_cast<std::size_t>(world.rank())];
    for (std::size_t column = 0; column < kColumns; ++column) {
        own[column] = m_steps > 0 ? m_sums[column] / m_steps : 0;
    }
    own[Memory] = memoryBytes();
    m_sums.fill(0);
    m_steps = 0;
    world.allReduce(std::span(rows.front().data(), rows.size() * kColumns), comm::Reduce::Sum);
    if (telemetry.speaks()) {
        tell(telemetry, rows);
    }
}

void RankReport::tell(Telemetry& telemetry, std::span<const Row> rows) {
    const parallel::MeshShape& shape = m_mesh.shape();
    const auto isThere = [&](std::size_t column) {
        const auto splits = [&](parallel::Axis axis) { return shape.size(axis) > 1; };
        return column == CommTensorMs ? splits(parallel::Axis::Tensor)
               : column == CommDataMs ? splits(parallel::Axis::Data)
               : column == CommPipelineMs || column == BubbleMs ? splits(parallel::Axis::Pipeline)
               : column == SyncMs ? shape.ranks() > 1
                                  : true;
    };
    std::vector<double> work;
    for (std::size_t rank = 0; rank < rows.size(); ++rank) {
        const std::string prefix = "rank/" + std::to_string(rank) + "/";
        for (std::size_t column = 0; column < kColumns; ++column) {
            if (isThere(column)) {
                telemetry.point(prefix + kNames[column], rows[rank][column]);
            }
        }
        work.push_back(rows[rank][StepMs]);
    }
    const std::vector<StragglerWatch::Change> changes = m_stragglers.gathered(work);
    if (shape.ranks() > 1) {
        telemetry.point("perf/rank_skew", m_stragglers.skew());
    }
    for (const StragglerWatch::Change& change : changes) {
        tellStraggler(telemetry, change);
    }
}

void RankReport::tellStraggler(Telemetry& telemetry, const StragglerWatch::Change& change) const {
    char text[200];
    if (change.began) {
        std::snprintf(text, sizeof text, "Rank %d is a straggler: %.1f ms of own work a step, %.1f ms at its peers' pace (%.2f times).", change.rank,
                      change.ms, change.peersMs, change.ratio);
    } else {
        std::snprintf(text, sizeof text, "Rank %d keeps up again: %.1f ms of own work a step, %.1f ms at its peers' pace.", change.rank, change.ms,
                      change.peersMs);
    }
    telemetry.event(ipc::EventKind::Note, change.began ? ipc::Severity::Warning : ipc::Severity::Info, text,
                    {{"straggler", change.began ? "begins" : "over"}, {"rank", std::to_string(change.rank)}, {"ratio", std::to_string(change.ratio)}});
}

} // namespace telehelm::train
