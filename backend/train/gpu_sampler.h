// SPDX-License-Identifier: Apache-2.0
// Reads a GPU's sensors on a thread of its own: a driver call can take milliseconds, and a step must not.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "train/nvml.h"

namespace telehelm::train {

class GpuSampler {
public:
    /// Has a reading when it returns.
    explicit GpuSampler(std::unique_ptr<NvmlDevice> device, std::chrono::milliseconds period = std::chrono::seconds(1));
    ~GpuSampler();
    GpuSampler(const GpuSampler&) = delete;
    GpuSampler& operator=(const GpuSampler&) = delete;

    /// Any thread.
    [[nodiscard]] GpuReading latest() const;
    [[nodiscard]] const std::string& text() const { return m_device->text(); }

private:
    void run();

    // constant after construction
    const std::unique_ptr<NvmlDevice> m_device; // used by m_thread
    const std::chrono::milliseconds m_period;
    // guarded by m_mutex
    mutable std::mutex m_mutex;
    std::condition_variable m_wake;
    GpuReading m_latest;
    bool m_isOver = false;

    std::thread m_thread;
};

} // namespace telehelm::train
