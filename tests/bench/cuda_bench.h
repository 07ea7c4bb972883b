// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of a device share: random data, times by the device's own marks, the ceilings as measured, JSON lines.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "telehelm/kernels/cuda/bf16.h"
#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::bench {

using Json = nlohmann::ordered_json;

/// One object, one line, at once.
void print(const Json& object);
/// False: there is no device; then a line {"bench": name, "skipped": why} was printed.
[[nodiscard]] bool hasDevice(const char* name);
/// {"bench": "machine", …}: GPU, driver, clocks at this moment, host, date, commit ($TELEHELM_COMMIT).
[[nodiscard]] Json machine();

[[nodiscard]] double median(std::vector<double> values);
/// Median of `rounds` runs of what `work` gives to the stream, each between two marks, after `warmups`.
[[nodiscard]] double medianMs(const kernels::cuda::Stream& stream, const std::function<void()>& work, int rounds = 30,
                              int warmups = 5);

/// Four million normal numbers; longer buffers repeat them.
[[nodiscard]] std::vector<float> normals(float deviation);
/// Normal numbers with that standard deviation, on the device; never zeros, on which multiplications run faster.
[[nodiscard]] kernels::cuda::DeviceBuffer randomBf16(std::int64_t count, float deviation, const kernels::cuda::Stream& stream);
[[nodiscard]] kernels::cuda::DeviceBuffer randomFloats(std::int64_t count, float deviation, const kernels::cuda::Stream& stream);
[[nodiscard]] kernels::cuda::DeviceBuffer randomTokens(std::int64_t count, std::int64_t vocab,
                                                       const kernels::cuda::Stream& stream);
[[nodiscard]] std::vector<std::int32_t> hostTokens(std::int64_t count, std::int64_t vocab, std::uint64_t seed);

/// What this card does at best, measured here.
struct Ceilings {
    double bytesPerS = 0; // a large copy on the device, bytes read and bytes written
    double flopsPerS = 0; // bf16, 8192 × 8192 × 8192, random data
};
[[nodiscard]] Ceilings measureCeilings(const kernels::cuda::Stream& stream);
/// Dense bf16 of the datasheet, by name; 0: not known.
[[nodiscard]] double datasheetFlops(const std::string& gpu);

} // namespace telehelm::bench
