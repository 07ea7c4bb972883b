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

    /// Collective over the mesh: the fullest rank's figures; where isDue(), in words, too. After a step: then all is in use but the
    /// checkpoint's copy.
    void gather(Telemetry& telemetry, const EngineMemory& memory);
    /// After the attempt's first step and after its first save; otherwise with the ranks' times.
    [[nodiscard]] bool isDue() const { return !m_isSaid; }
    /// A save has begun, on all ranks: with the first one the copy becomes resident.
    void saved() {
        m_isSaid = m_isSaid && m_hasSaved;
        m_hasSaved = true;
    }

private:
    const parallel::Mesh& m_mesh;
    double m_planned = 0; // of this rank; 0: the config has no plan
    bool m_isSaid = false, m_hasSaved = false;
};

} // namespace telehelm::train
