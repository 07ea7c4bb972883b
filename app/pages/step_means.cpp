// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/step_means.h"

namespace telehelm::app {

MeanPair meansAround(const std::vector<ipc::SeriesSegment>& segments, const char* series, std::int64_t step, std::int64_t window) {
    double sums[2] = {0, 0};
    std::uint64_t counts[2] = {0, 0};
    for (const auto& segment : segments) {
        if (segment.superseded || segment.name != series) {
            continue;
        }
        for (const auto& bucket : segment.buckets) {
            const bool before = bucket.lastStep < step && bucket.firstStep >= step - window;
            const bool after = bucket.firstStep >= step && bucket.lastStep < step + window;
            if (before || after) { // a bucket across the step belongs to neither
                sums[after] += bucket.sum;
                counts[after] += bucket.count - bucket.nonFinite;
            }
        }
    }
    MeanPair means;
    if (counts[0] > 0) {
        means.before = sums[0] / double(counts[0]);
    }
    if (counts[1] > 0) {
        means.after = sums[1] / double(counts[1]);
    }
    return means;
}

} // namespace telehelm::app
