// SPDX-License-Identifier: Apache-2.0
// Which CUDA devices this process can use. Without CUDA (kernels/no_cuda) there are none and `whyNone` says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace telehelm::kernels {

struct CudaDevice {
    int index = 0;
    std::string name;
    int major = 0, minor = 0; // compute capability
    std::uint64_t memoryBytes = 0;
    std::string id = {}; // the same in whichever process and under whichever index
};

struct CudaReport {
    std::vector<CudaDevice> devices;
    std::string driverVersion, runtimeVersion; // "12.4"; empty when there is none
    std::string whyNone;                       // one sentence; empty when there are devices
};

/// Asks the driver; touches no device's state. Never throws for missing hardware: that is an answer.
[[nodiscard]] CudaReport cudaReport();

} // namespace telehelm::kernels
