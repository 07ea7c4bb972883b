// SPDX-License-Identifier: Apache-2.0
// How the data ranks share the optimizer's state of a model on a device: its flat buffers are cut into buckets, and of each bucket
// a rank owns one of D equal blocks. Pure arithmetic; any thread. Sizes in elements.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace telehelm::parallel {

/// Blocks, and with them all that is communicated, begin at multiples of it: 128 bytes in bf16.
inline constexpr std::int64_t kDeviceGrain = 64;

/// Elements [from, to), to − from a multiple of D · kDeviceGrain. Blocks of the buckets before it make up from / D elements.
struct DeviceBucket {
    std::int64_t from = 0, to = 0;
    [[nodiscard]] std::int64_t block(int ranks) const { return (to - from) / ranks; }
};

[[nodiscard]] constexpr std::int64_t upToGrain(std::int64_t elements, std::int64_t grain) {
    return (elements + grain - 1) / grain * grain;
}

/// What weights and gradients have room for: `elements` and the padding of the last bucket, however the buckets are cut.
[[nodiscard]] constexpr std::int64_t deviceRoom(std::int64_t elements, int ranks) {
    return upToGrain(elements, kDeviceGrain * ranks);
}

/// Buckets of at most `bytes` of fp32, but at least one grain for each rank; one data rank has nothing to cut.
[[nodiscard]] inline std::vector<DeviceBucket> deviceBuckets(std::int64_t elements, std::int64_t bytes, int ranks) {
    const std::int64_t room = deviceRoom(elements, ranks), grain = kDeviceGrain * ranks;
    const std::int64_t size = ranks == 1 ? room : std::max<std::int64_t>(bytes / static_cast<std::int64_t>(sizeof(float)) / grain, 1) * grain;
    std::vector<DeviceBucket> buckets;
    for (std::int64_t from = 0; from < room; from += size) {
        buckets.push_back({from, std::min(from + size, room)});
    }
    return buckets;
}

} // namespace telehelm::parallel
