// SPDX-License-Identifier: Apache-2.0
#include "cuda_bench.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>

#include <unistd.h>

#include "telehelm/kernels/cuda/gemm.h"
#include "telehelm/kernels/device.h"
#include "train/nvml.h"

namespace telehelm::bench {

using kernels::cuda::Bf16;
using kernels::cuda::DeviceBuffer;
using kernels::cuda::Event;
using kernels::cuda::Stream;

namespace {

DeviceBuffer repeated(const void* pattern, std::size_t patternBytes, std::size_t bytes, const Stream& stream) {
    DeviceBuffer buffer(bytes);
    for (std::size_t from = 0; from < bytes; from += patternBytes) {
        kernels::cuda::copyToDevice(buffer.data() + from, pattern, std::min(patternBytes, bytes - from), stream);
    }
    stream.synchronize();
    return buffer;
}

std::string today() {
    const std::time_t now = std::time(nullptr);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
    return text.data();
}

} // namespace

void print(const Json& object) {
    std::printf("%s\n", object.dump().c_str());
    std::fflush(stdout);
}

bool hasDevice(const char* name) {
    const kernels::CudaReport report = kernels::cudaReport();
    if (report.devices.empty()) {
        print({{"bench", name}, {"skipped", report.whyNone}});
    }
    return !report.devices.empty();
}

Json machine() {
    const kernels::CudaReport report = kernels::cudaReport();
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    const char* commit = std::getenv("TELEHELM_COMMIT");
    Json line = {{"bench", "machine"},
                 {"gpu", report.devices.empty() ? "none" : report.devices.front().name},
                 {"cuda_driver", report.driverVersion},
                 {"cuda_runtime", report.runtimeVersion}};
    if (const auto nvml = train::NvmlDevice::open(train::kNvmlLibrary, 0)) {
        const train::GpuReading reading = (*nvml)->read();
        line["nvml"] = (*nvml)->text();
        line["sm_clock_mhz"] = reading.smClockMhz;
        line["memory_clock_mhz"] = reading.memoryClockMhz;
        line["temperature_c"] = reading.temperatureC;
        line["power_w"] = reading.powerW;
    }
    line["host"] = host.data();
    line["date"] = today();
    line["commit"] = commit != nullptr ? commit : "unknown";
    return line;
}

std::vector<float> normals(float deviation) {
    constexpr std::size_t kCount = 1 << 22;
    std::mt19937_64 random(17);
    std::normal_distribution<float> normal(0.0F, deviation);
    std::vector<float> values(kCount);
    std::ranges::generate(values, [&] { return normal(random); });
    return values;
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

double medianMs(const Stream& stream, const std::function<void()>& work, int rounds, int warmups) {
    for (int i = 0; i < warmups; ++i) {
        work();
    }
    stream.synchronize();
    std::vector<double> times;
    for (int i = 0; i < rounds; ++i) {
        Event begin, end;
        begin.record(stream);
        work();
        end.record(stream);
        end.synchronize();
        times.push_back(end.msSince(begin));
    }
    return median(std::move(times));
}

DeviceBuffer randomBf16(std::int64_t count, float deviation, const Stream& stream) {
    const std::vector<float> values = normals(deviation);
    std::vector<Bf16> rounded(values.size());
    std::ranges::transform(values, rounded.begin(), [](float value) { return kernels::cuda::toBf16(value); });
    return repeated(rounded.data(), rounded.size() * sizeof(Bf16), static_cast<std::size_t>(count) * sizeof(Bf16), stream);
}

DeviceBuffer randomFloats(std::int64_t count, float deviation, const Stream& stream) {
    const std::vector<float> values = normals(deviation);
    return repeated(values.data(), values.size() * sizeof(float), static_cast<std::size_t>(count) * sizeof(float), stream);
}

std::vector<std::int32_t> hostTokens(std::int64_t count, std::int64_t vocab, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::uniform_int_distribution<std::int32_t> token(0, static_cast<std::int32_t>(vocab - 1));
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
    std::ranges::generate(tokens, [&] { return token(random); });
    return tokens;
}

DeviceBuffer randomTokens(std::int64_t count, std::int64_t vocab, const Stream& stream) {
    const std::vector<std::int32_t> tokens = hostTokens(count, vocab, 5);
    return repeated(tokens.data(), tokens.size() * sizeof(std::int32_t), tokens.size() * sizeof(std::int32_t), stream);
}

Ceilings measureCeilings(const Stream& stream) {
    Ceilings best;
    {
        constexpr std::int64_t kCount = std::int64_t{1} << 31; // 4 GiB of bf16, far beyond any cache
        const DeviceBuffer from = randomBf16(kCount, 1.0F, stream);
        const DeviceBuffer to(from.bytes());
        const double ms = medianMs(stream, [&] { kernels::cuda::copyOnDevice(to.data(), from.data(), from.bytes(), stream); });
        best.bytesPerS = 2.0 * static_cast<double>(from.bytes()) / (ms * 1e-3);
    }
    constexpr std::int64_t kSide = 8192;
    const DeviceBuffer x = randomBf16(kSide * kSide, 1.0F, stream);
    const DeviceBuffer w = randomBf16(kSide * kSide, 0.02F, stream);
    const DeviceBuffer y(x.bytes());
    kernels::cuda::Gemm gemm;
    gemm.measureCandidates(true);
    const double ms = medianMs(stream, [&] {
        gemm.forward(y.as<Bf16>(), x.as<Bf16>(), w.as<Bf16>(), nullptr, {kSide, kSide, kSide}, 1.0F, stream);
    });
    best.flopsPerS = 2.0 * static_cast<double>(kSide) * kSide * kSide / (ms * 1e-3);
    return best;
}

double datasheetFlops(const std::string& gpu) {
    const auto is = [&](const char* part) { return gpu.find(part) != std::string::npos; };
    if (is("H200") || (is("H100") && !is("PCIe") && !is("NVL"))) {
        return 989.4e12;
    }
    return is("A100") || is("A800") ? 312e12 : 0;
}

} // namespace telehelm::bench
