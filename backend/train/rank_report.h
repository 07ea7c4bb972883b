// SPDX-License-Identifier: Apache-2.0
// What every rank did with its time since the last gather, brought to rank 0 and told: rank/<r>/forward_ms, …, stragglers.
#pragma once

#include <array>

#include "config/run_config.h"
#include "parallel/mesh.h"
#include "train/step_watch.h"
#include "train/straggler_watch.h"
#include "train/telemetry.h"

namespace telehelm::train {

/// Trainer thread only.
class RankReport {
public:
    RankReport(const config::TelemetryConfig& rule, const parallel::Mesh& mesh) : m_rule(rule), m_mesh(mesh), m_stragglers(rule) {}

    /// Before the first gather: what each rank's layers are planned to cost. Unless told, all cost alike.
    void expect(const config::RunConfig& config);
    /// After each step, with the watch ended.
    void add(const StepWatch& watch);
    [[nodiscard]] bool isDue(std::int64_t step) const { return step == 1 || step % m_rule.rankEverySteps == 0; }
    /// Collective over the mesh: means over the steps since the last gather.
    void gather(Telemetry& telemetry);

private:
    static constexpr std::size_t kColumns = 11;
    using Row = std::array<double, kColumns>;
    void tell(Telemetry& telemetry, std::span<const Row> rows);
    void tellStraggler(Telemetry& telemetry, const StragglerWatch::Change& change) const;

    const config::TelemetryConfig m_rule;
    const parallel::Mesh& m_mesh;
    StragglerWatch m_stragglers; // rank 0's counts
    Row m_sums{};
    int m_steps = 0;
};

} // namespace telehelm::train
