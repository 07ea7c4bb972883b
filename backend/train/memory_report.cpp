// SPDX-License-Identifier: Apache-2.0
#include "train/memory_report.h"

#include <array>
#include <cstdio>
#include <fstream>
#include <string>

#include "parallel/plan.h"

namespace telehelm::train {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

/// The largest resident set that this process ever had; 0 where the system does not say.
double peakRssBytes() {
    std::ifstream file("/proc/self/status");
    for (std::string word; file >> word;) {
        if (word == "VmHWM:") {
            double kib = 0;
            file >> kib;
            return kib * 1024;
        }
    }
    return 0;
}

} // namespace

MemoryReport::MemoryReport(const config::RunConfig& config, const parallel::Mesh& mesh, int threads) : m_mesh(mesh) {
    if (const auto plan = parallel::makePlan(config)) {
        const parallel::StagePlan& own = plan->stages[static_cast<std::size_t>(mesh.own().pipeline)];
        m_planned = static_cast<double>(own.totalBytes(plan->recompute) + (threads - 1) * own.threadBytes);
    }
}

void MemoryReport::gather(Telemetry& telemetry, const EngineMemory& memory) {
    std::array<double, 3> most = {m_planned, static_cast<double>(memory.total()), peakRssBytes()};
    m_mesh.world().allReduce(std::span(most), comm::Reduce::Max);
    const auto& [planned, allocated, rss] = most;
    if (planned > 0) {
        telemetry.point("memory/planned_bytes", planned);
    }
    telemetry.point("memory/allocated_bytes", allocated);
    telemetry.point("memory/peak_rss_bytes", rss);
    if (m_isSaid) {
        return;
    }
    m_isSaid = true;
    char text[256];
    std::snprintf(text, sizeof text,
                  "%.1f MiB are allocated on the fullest rank, %.1f MiB as planned; with the program around it %.1f MiB were resident at "
                  "most, %s the first checkpoint's copy.",
                  allocated / kMiB, planned / kMiB, rss / kMiB, m_hasSaved ? "with" : "still without");
    telemetry.event(ipc::EventKind::Note, ipc::Severity::Info, text,
                    {{"memory_planned_bytes", std::to_string(static_cast<std::int64_t>(planned))},
                     {"memory_allocated_bytes", std::to_string(static_cast<std::int64_t>(allocated))},
                     {"memory_peak_rss_bytes", std::to_string(static_cast<std::int64_t>(rss))}});
}

} // namespace telehelm::train
