// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace telehelm::app::plots {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Sample {
    double y, lo, hi;
};

Sample sampleAt(const Curve& curve, std::size_t i) {
    const double y = std::isfinite(curve.y[i]) ? curve.y[i] : kNan;
    if (curve.lo.empty())
        return {y, y, y};
    const bool finite = std::isfinite(curve.lo[i]) && std::isfinite(curve.hi[i]);
    return {y, finite ? curve.lo[i] : y, finite ? curve.hi[i] : y};
}

void grow(Column& column, const Sample& sample) {
    if (!std::isnan(sample.y))
        column.y = sample.y;
    if (sample.lo < column.lo || std::isnan(column.lo)) // a NaN sample changes nothing
        column.lo = sample.lo;
    if (sample.hi > column.hi || std::isnan(column.hi))
        column.hi = sample.hi;
}

} // namespace

std::pair<std::size_t, std::size_t> visibleSamples(const Curve& curve, double from, double to) {
    auto first = static_cast<std::size_t>(std::lower_bound(curve.x.begin(), curve.x.end(), from) - curve.x.begin());
    auto last = static_cast<std::size_t>(std::upper_bound(curve.x.begin(), curve.x.end(), to) - curve.x.begin());
    if (first > 0)
        --first;
    if (last < curve.x.size())
        ++last;
    return {first, last};
}

std::vector<Column> toColumns(const Curve& curve, const Frame& frame) {
    const auto [first, last] = visibleSamples(curve, frame.from, frame.to);
    std::vector<Column> columns;
    const auto width = static_cast<std::size_t>(std::max(1.0, frame.rect.width()));
    if (last - first <= width * 2) {
        columns.reserve(last - first);
        for (std::size_t i = first; i < last; ++i) {
            const Sample sample = sampleAt(curve, i);
            columns.push_back({frame.xPx(curve.x[i]), sample.y, sample.lo, sample.hi});
        }
        return columns;
    }
    columns.reserve(width + 2);
    constexpr double kFarPx = 16000;
    const double scale = frame.rect.width() / (frame.to - frame.from), offset = frame.rect.left() - frame.from * scale;
    int current = -1;
    for (std::size_t i = first; i < last; ++i) {
        // Shifted to positive numbers, where a cast rounds down: this loop sees every visible sample.
        const int px = static_cast<int>(std::clamp(curve.x[i] * scale + offset, -kFarPx, kFarPx) + kFarPx);
        if (px != current) {
            columns.push_back({px - kFarPx + 0.5, kNan, kNan, kNan});
            current = px;
        }
        grow(columns.back(), sampleAt(curve, i));
    }
    return columns;
}

std::pair<double, double> valueSpan(const Curve& curve, double from, double to, bool positive) {
    const auto first = std::lower_bound(curve.x.begin(), curve.x.end(), from) - curve.x.begin();
    const auto last = std::upper_bound(curve.x.begin(), curve.x.end(), to) - curve.x.begin();
    double low = kNan, high = kNan;
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(std::max(first, last)); ++i) {
        const Sample sample = sampleAt(curve, i);
        if (positive && !(sample.lo > 0)) {
            if (sample.hi > 0)
                high = std::fmax(high, sample.hi);
            continue;
        }
        for (const double value : {sample.lo, sample.hi, sample.y}) {
            if (value < low || std::isnan(low))
                low = value;
            if (value > high || std::isnan(high))
                high = value;
        }
    }
    if (std::isnan(low) != std::isnan(high))
        low = high;
    return {low, high};
}

std::size_t nearestSample(const std::vector<double>& ascending, double x) {
    if (ascending.empty())
        return 0;
    const auto after = std::lower_bound(ascending.begin(), ascending.end(), x);
    if (after == ascending.begin())
        return 0;
    if (after == ascending.end())
        return ascending.size() - 1;
    const auto index = static_cast<std::size_t>(after - ascending.begin());
    return x - ascending[index - 1] <= ascending[index] - x ? index - 1 : index;
}

} // namespace telehelm::app::plots
