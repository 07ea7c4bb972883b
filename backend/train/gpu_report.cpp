// SPDX-License-Identifier: Apache-2.0
#include "train/gpu_report.h"

#include <cmath>
#include <utility>

namespace telehelm::train {
namespace {

// The columns of a row: first the named ones, then what is not a series.
constexpr std::array<const char*, 8> kNames = {"gpu_temperature_c", "gpu_sm_clock_mhz",   "gpu_memory_clock_mhz",
                                               "gpu_power_w",       "gpu_memory_bytes",   "gpu_utilisation_pct",
                                               "gpu_ecc_corrected", "gpu_ecc_uncorrected"};
enum Column : std::size_t { EccUncorrected = 7, IsLost = 8, IsThere = 9 };

} // namespace

GpuReport::GpuReport(const std::string& library, int cudaIndex) : m_isOn(!library.empty()) {
    if (!m_isOn) {
        return;
    }
    auto device = NvmlDevice::open(library, cudaIndex);
    if (!device) {
        m_text = "none: " + device.error().text();
        return;
    }
    m_sampler = std::make_unique<GpuSampler>(std::move(*device));
    m_text = m_sampler->text();
}

void GpuReport::gather(comm::Communicator& world, Telemetry& telemetry) {
    std::vector<Row> rows(static_cast<std::size_t>(world.size()), Row{});
    if (m_sampler) {
        const GpuReading r = m_sampler->latest();
        rows[static_cast<std::size_t>(world.rank())] = {
            r.temperatureC, r.smClockMhz,     r.memoryClockMhz,     r.powerW, r.memoryUsedBytes, r.utilisationPercent,
            r.eccCorrected, r.eccUncorrected, r.isLost ? 1.0 : 0.0, 1.0};
    }
    // A row is zeros everywhere but on its own rank, where NaN may stand: the sum is the row.
    world.allReduce(std::span(rows.front().data(), rows.size() * kColumns), comm::Reduce::Sum);
    m_known.resize(rows.size());
    for (std::size_t rank = 0; telemetry.speaks() && rank < rows.size(); ++rank) {
        if (rows[rank][IsThere] != 0) {
            tell(telemetry, rank, rows[rank]);
        }
    }
}

void GpuReport::tell(Telemetry& telemetry, std::size_t rank, const Row& row) {
    const std::string number = std::to_string(rank);
    for (std::size_t column = 0; column < kNames.size(); ++column) {
        if (!std::isnan(row[column])) {
            telemetry.point("rank/" + number + "/" + kNames[column], row[column]);
        }
    }
    Known& known = m_known[rank];
    if (row[IsLost] != 0 && !std::exchange(known.isLost, true)) {
        telemetry.event(ipc::EventKind::Note, ipc::Severity::Critical,
                        "The GPU of rank " + number +
                            " is lost: it fell off the bus. The machine must be restarted; restart the run elsewhere.",
                        {{"rank", number}, {"gpu", "lost"}});
    }
    if (!std::isnan(row[EccUncorrected])) {
        if (const double more = row[EccUncorrected] - known.eccUncorrected; more > 0 && !known.isFirst) {
            telemetry.event(ipc::EventKind::Note, ipc::Severity::Warning,
                            "The GPU of rank " + number + " had " + std::to_string(static_cast<long long>(more)) +
                                " uncorrected memory errors since the last report: its results may be wrong.",
                            {{"rank", number}, {"gpu", "ecc"}, {"errors", std::to_string(static_cast<long long>(more))}});
        }
        known.eccUncorrected = row[EccUncorrected];
        known.isFirst = false;
    }
}

} // namespace telehelm::train
