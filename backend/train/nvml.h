// SPDX-License-Identifier: Apache-2.0
// What NVIDIA's driver library tells of one GPU, loaded at run time: no build needs it, and a machine without it has no readings.
#pragma once

#include <cmath>
#include <memory>
#include <string>

#include "telehelm/ipc/result.h"

namespace telehelm::train {

/// The library's usual name, found by the loader.
inline constexpr const char* kNvmlLibrary = "libnvidia-ml.so.1";

/// NaN: this GPU does not tell.
struct GpuReading {
    double temperatureC = NAN, smClockMhz = NAN, memoryClockMhz = NAN, powerW = NAN, memoryUsedBytes = NAN,
           utilisationPercent = NAN;
    double eccCorrected = NAN, eccUncorrected = NAN; // since the driver was loaded
    bool isLost = false;                             // fell off the bus: nothing else is told
};

/// One thread at a time.
class NvmlDevice {
public:
    /// `cudaIndex`: as this process' CUDA counts, that is within CUDA_VISIBLE_DEVICES. Fails with one sentence where the library,
    /// a function that nothing goes without, or the device is missing.
    [[nodiscard]] static Result<std::unique_ptr<NvmlDevice>> open(const std::string& library, int cudaIndex);
    ~NvmlDevice();
    NvmlDevice(const NvmlDevice&) = delete;
    NvmlDevice& operator=(const NvmlDevice&) = delete;

    /// "NVIDIA H200, driver 580.159.04"
    [[nodiscard]] const std::string& text() const { return m_text; }
    [[nodiscard]] GpuReading read() const;

private:
    struct Api;
    NvmlDevice(std::unique_ptr<Api> api, void* device);
    std::unique_ptr<Api> m_api;
    void* m_device; // nvmlDevice_t
    std::string m_text;
};

} // namespace telehelm::train
