// SPDX-License-Identifier: Apache-2.0
// What the ranks' memory is, beside what the plan says: memory/planned_bytes, memory/allocated_bytes, memory/peak_rss_bytes.
#pragma once

#include "config/run_config.h"
#include "parallel/mesh.h"
#include "train/step_engine.h"
#include "train/telemetry.h"

namespace telehelm::train {

/// Trainer thread only.
class MemoryReport {
public:
    MemoryReport(const config::RunConfig& config, const parallel::Mesh& mesh, int threads);

    /// Collective over the mesh: the fullest rank's figures; the first time in words, too. After a step: then all is allocated.
    void gather(Telemetry& telemetry, const EngineMemory& memory);
    [[nodiscard]] double plannedBytes() const { return m_planned; } // of this rank; 0: the config has no plan

private:
    const parallel::Mesh& m_mesh;
    double m_planned = 0;
    bool m_isSaid = false;
};

} // namespace telehelm::train
