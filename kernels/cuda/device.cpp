// SPDX-License-Identifier: Apache-2.0
// Host code alone: compiled by the C++ compiler against the CUDA runtime.
#include "telehelm/kernels/device.h"

#include <cuda_runtime_api.h>

namespace telehelm::kernels {

namespace {

/// 12040 ↦ "12.4".
std::string versionText(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

CudaDevice describe(int index) {
    CudaDevice device;
    device.index = index;
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) {
        static_cast<void>(cudaGetLastError()); // another device's first launch must not be blamed for it
        return device;
    }
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.memoryBytes = properties.totalGlobalMem;
    for (const char byte : properties.uuid.bytes) { // of a MIG slice its own
        constexpr const char* kDigits = "0123456789abcdef";
        device.id += {kDigits[(static_cast<unsigned char>(byte) >> 4U)], kDigits[static_cast<unsigned char>(byte) & 15U]};
    }
    return device;
}

} // namespace

CudaReport cudaReport() {
    CudaReport report;
    int driver = 0, runtime = 0, count = 0;
    if (cudaRuntimeGetVersion(&runtime) == cudaSuccess)
        report.runtimeVersion = versionText(runtime);
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0)
        report.driverVersion = versionText(driver);
    if (driver == 0) {
        report.whyNone = "no NVIDIA driver is loaded";
        return report;
    }
    if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
        report.whyNone = std::string("CUDA finds no device: ") + cudaGetErrorString(error);
        return report;
    }
    if (count == 0)
        report.whyNone = "the CUDA driver works but sees no device (CUDA_VISIBLE_DEVICES?)";
    for (int index = 0; index < count; ++index)
        report.devices.push_back(describe(index));
    return report;
}

} // namespace telehelm::kernels
