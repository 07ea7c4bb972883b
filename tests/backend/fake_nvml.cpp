// SPDX-License-Identifier: Apache-2.0
// Two GPUs as NVML tells of them, for tests: a shared library that stands where the driver's would.
#include "fake_nvml.h"

#include <cstring>

namespace {

FakeNvml fake;
int gpus[2];

} // namespace

extern "C" {
FakeNvml* fakeNvml() {
    return &fake;
}
int nvmlInit_v2() {
    fake.users += fake.initStatus == 0 ? 1 : 0;
    return fake.initStatus;
}
int nvmlShutdown() {
    --fake.users;
    return 0;
}
const char* nvmlErrorString(int status) {
    return status == 15 ? "GPU is lost" : status == 9 ? "Driver Not Loaded" : status == 2 ? "Invalid Argument" : "Unknown Error";
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
    if (index > 1) {
        return 2;
    }
    fake.opened = static_cast<int>(index);
    *device = &gpus[index];
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
    return std::strcmp(uuid, "GPU-b") == 0 ? nvmlDeviceGetHandleByIndex_v2(1, device) : 6;
}
int nvmlDeviceGetName(void*, char* name, unsigned size) {
    std::strncpy(name, "NVIDIA H200", size);
    return 0;
}
int nvmlSystemGetDriverVersion(char* version, unsigned size) {
    std::strncpy(version, "580.159.04", size);
    return 0;
}
int nvmlDeviceGetTemperature(void*, int sensor, unsigned* value) {
    ++fake.reads;
    *value = fake.temperature;
    return sensor == 0 ? fake.status.load() : 2;
}
int nvmlDeviceGetClockInfo(void*, int clock, unsigned* value) {
    *value = clock == 1 ? fake.smClock.load() : clock == 2 ? fake.memoryClock.load() : 0;
    return fake.status;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* value) {
    *value = fake.milliwatts;
    return fake.status;
}
int nvmlDeviceGetMemoryInfo(void*, unsigned long long* memory) { // total, free, used
    memory[0] = 150'000'000'000;
    memory[1] = memory[0] - fake.usedBytes;
    memory[2] = fake.usedBytes;
    return fake.status;
}
int nvmlDeviceGetUtilizationRates(void*, unsigned* rates) { // GPU, memory
    rates[0] = fake.busyPercent;
    rates[1] = 1;
    return fake.status;
}
int nvmlDeviceGetTotalEccErrors(void*, int type, int counter, unsigned long long* errors) {
    *errors = type == 0 ? fake.corrected.load() : fake.uncorrected.load();
    return counter == 0 ? (fake.status != 0 ? fake.status.load() : fake.eccStatus.load()) : 2;
}
}
