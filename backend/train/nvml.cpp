// SPDX-License-Identifier: Apache-2.0
#include "train/nvml.h"

#include <array>
#include <cstdlib>
#include <sstream>
#include <vector>

#include <dlfcn.h>

namespace telehelm::train {
namespace {

// NVML's binary interface as nvml.h declares it, version 2 of the calls that have one.
using Return = int;
using Device = void*;
constexpr Return kSuccess = 0, kGpuIsLost = 15;
constexpr int kTemperatureGpu = 0;
constexpr int kClockSm = 1, kClockMemory = 2;
constexpr int kEccCorrected = 0, kEccUncorrected = 1, kEccVolatile = 0;
struct Memory {
    unsigned long long total, free, used;
};
struct Utilization {
    unsigned gpu, memory;
};

struct LibraryEnd {
    void operator()(void* handle) const { dlclose(handle); }
};

template <typename Function> Function* symbol(void* library, const char* name) {
    return reinterpret_cast<Function*>(dlsym(library, name));
}

/// The entry of CUDA_VISIBLE_DEVICES that CUDA calls `index`: a number or the beginning of a UUID.
std::string visibleDevice(int index) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    if (visible == nullptr) {
        return std::to_string(index);
    }
    std::istringstream entries(visible);
    std::string entry;
    for (int i = 0; i <= index; ++i) {
        if (!std::getline(entries, entry, ',')) {
            return {};
        }
    }
    return entry;
}

} // namespace

struct NvmlDevice::Api {
    std::unique_ptr<void, LibraryEnd> library;
    Return (*shutdown)() = nullptr;
    const char* (*errorString)(Return) = nullptr;
    Return (*handleByIndex)(unsigned, Device*) = nullptr;
    Return (*handleByUuid)(const char*, Device*) = nullptr;
    Return (*name)(Device, char*, unsigned) = nullptr;
    Return (*driverVersion)(char*, unsigned) = nullptr;
    Return (*temperature)(Device, int, unsigned*) = nullptr;
    Return (*clock)(Device, int, unsigned*) = nullptr;
    Return (*power)(Device, unsigned*) = nullptr;
    Return (*memory)(Device, Memory*) = nullptr;
    Return (*utilization)(Device, Utilization*) = nullptr;
    Return (*eccErrors)(Device, int, int, unsigned long long*) = nullptr;

    void find() {
        void* from = library.get();
        shutdown = symbol<Return()>(from, "nvmlShutdown");
        errorString = symbol<const char*(Return)>(from, "nvmlErrorString");
        handleByIndex = symbol<Return(unsigned, Device*)>(from, "nvmlDeviceGetHandleByIndex_v2");
        handleByUuid = symbol<Return(const char*, Device*)>(from, "nvmlDeviceGetHandleByUUID");
        name = symbol<Return(Device, char*, unsigned)>(from, "nvmlDeviceGetName");
        driverVersion = symbol<Return(char*, unsigned)>(from, "nvmlSystemGetDriverVersion");
        temperature = symbol<Return(Device, int, unsigned*)>(from, "nvmlDeviceGetTemperature");
        clock = symbol<Return(Device, int, unsigned*)>(from, "nvmlDeviceGetClockInfo");
        power = symbol<Return(Device, unsigned*)>(from, "nvmlDeviceGetPowerUsage");
        memory = symbol<Return(Device, Memory*)>(from, "nvmlDeviceGetMemoryInfo");
        utilization = symbol<Return(Device, Utilization*)>(from, "nvmlDeviceGetUtilizationRates");
        eccErrors = symbol<Return(Device, int, int, unsigned long long*)>(from, "nvmlDeviceGetTotalEccErrors");
    }
    [[nodiscard]] std::string words(Return status) const {
        return errorString != nullptr ? errorString(status) : "error " + std::to_string(status);
    }
};

Result<std::unique_ptr<NvmlDevice>> NvmlDevice::open(const std::string& library, int cudaIndex) {
    auto api = std::make_unique<Api>();
    api->library.reset(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL));
    if (!api->library) {
        const char* why = dlerror();
        return fail(ErrorCode::NotFound, why != nullptr ? why : "cannot be loaded", library);
    }
    api->find();
    auto* init = symbol<Return()>(api->library.get(), "nvmlInit_v2");
    if (init == nullptr || api->shutdown == nullptr || api->handleByIndex == nullptr) {
        return fail(ErrorCode::VersionMismatch, "is no NVML: it has no nvmlInit_v2", library);
    }
    if (const Return status = init(); status != kSuccess) {
        return fail(ErrorCode::Unavailable, "nvmlInit_v2: " + api->words(status), library);
    }
    const std::string wanted = visibleDevice(cudaIndex);
    const bool isNumber = !wanted.empty() && wanted.find_first_not_of("0123456789") == std::string::npos;
    Device device = nullptr;
    Return status = kSuccess;
    if (isNumber) {
        status = api->handleByIndex(static_cast<unsigned>(std::atoi(wanted.c_str())), &device);
    } else if (!wanted.empty() && api->handleByUuid != nullptr) {
        status = api->handleByUuid(wanted.c_str(), &device);
    }
    if (device == nullptr) {
        api->shutdown();
        return fail(ErrorCode::NotFound,
                    "NVML knows no GPU “" + wanted + "”" + (status != kSuccess ? ": " + api->words(status) : std::string()),
                    library);
    }
    return std::unique_ptr<NvmlDevice>(new NvmlDevice(std::move(api), device));
}

NvmlDevice::NvmlDevice(std::unique_ptr<Api> api, void* device) : m_api(std::move(api)), m_device(device) {
    std::array<char, 128> name{};
    std::array<char, 128> version{};
    const bool hasName = m_api->name != nullptr && m_api->name(m_device, name.data(), name.size() - 1) == kSuccess;
    const bool hasVersion =
        m_api->driverVersion != nullptr && m_api->driverVersion(version.data(), version.size() - 1) == kSuccess;
    m_text = (hasName ? name.data() : "a GPU without a name") + (hasVersion ? ", driver " + std::string(version.data()) : "");
}

NvmlDevice::~NvmlDevice() {
    m_api->shutdown();
}

GpuReading NvmlDevice::read() const {
    GpuReading reading;
    // Each call may be missing, or unsupported on this GPU: then its number stays NaN.
    const auto got = [&](Return status) {
        reading.isLost |= status == kGpuIsLost;
        return status == kSuccess;
    };
    unsigned value = 0;
    if (m_api->temperature != nullptr && got(m_api->temperature(m_device, kTemperatureGpu, &value))) {
        reading.temperatureC = value;
    }
    if (m_api->clock != nullptr && got(m_api->clock(m_device, kClockSm, &value))) {
        reading.smClockMhz = value;
    }
    if (m_api->clock != nullptr && got(m_api->clock(m_device, kClockMemory, &value))) {
        reading.memoryClockMhz = value;
    }
    if (m_api->power != nullptr && got(m_api->power(m_device, &value))) {
        reading.powerW = value / 1000.0; // told in milliwatts
    }
    if (Memory memory{}; m_api->memory != nullptr && got(m_api->memory(m_device, &memory))) {
        reading.memoryUsedBytes = static_cast<double>(memory.used);
    }
    if (Utilization use{}; m_api->utilization != nullptr && got(m_api->utilization(m_device, &use))) {
        reading.utilisationPercent = use.gpu;
    }
    if (m_api->eccErrors != nullptr) {
        unsigned long long errors = 0;
        if (got(m_api->eccErrors(m_device, kEccCorrected, kEccVolatile, &errors))) {
            reading.eccCorrected = static_cast<double>(errors);
        }
        if (got(m_api->eccErrors(m_device, kEccUncorrected, kEccVolatile, &errors))) {
            reading.eccUncorrected = static_cast<double>(errors);
        }
    }
    return reading;
}

} // namespace telehelm::train
