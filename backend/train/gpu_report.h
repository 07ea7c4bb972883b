// SPDX-License-Identifier: Apache-2.0
// Every rank's GPU, brought to rank 0 and told: rank/<r>/gpu_temperature_c, …; uncorrected memory errors and lost devices are
// events.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "train/gpu_sampler.h"
#include "train/telemetry.h"

namespace telehelm::train {

/// Trainer thread only.
class GpuReport {
public:
    /// `library`: NVML's, the same on all ranks; empty: nothing is read and gather() must not be called.
    GpuReport(const std::string& library, int cudaIndex);

    [[nodiscard]] bool isOn() const { return m_isOn; }
    /// "NVIDIA H200, driver 580.159.04", or why this rank has no readings.
    [[nodiscard]] const std::string& text() const { return m_text; }
    /// Collective over `world`: the latest readings, also where only some ranks have any.
    void gather(comm::Communicator& world, Telemetry& telemetry);

private:
    static constexpr std::size_t kColumns = 10;
    using Row = std::array<double, kColumns>;
    struct Known {
        double eccUncorrected = 0;
        bool isLost = false, isFirst = true;
    };
    void tell(Telemetry& telemetry, std::size_t rank, const Row& row);

    bool m_isOn;
    std::string m_text;
    std::unique_ptr<GpuSampler> m_sampler; // null: no readings here
    std::vector<Known> m_known;            // rank 0: by rank
};

} // namespace telehelm::train
