// SPDX-License-Identifier: GPL-3.0-or-later
// Down-sampling to pixel columns that loses nothing: min, max and the last value of each column (design.md, section 6).
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "plots/frame.h"
#include "plots/plot_types.h"

namespace telehelm::app::plots {

/// What is drawn at one x: a sample, or a pixel column of several.
struct Column {
    double px = 0;         // canvas pixels
    double y = 0;          // of the column's last finite sample; NaN where there is none (the line breaks)
    double lo = 0, hi = 0; // over every sample in it; NaN when none is finite
};

/// Indices [first, last) of the samples in the range and one beyond at each side, so that lines run to the border.
[[nodiscard]] std::pair<std::size_t, std::size_t> visibleSamples(const Curve& curve, double from, double to);

/// At most about four columns a pixel; with fewer samples than that, every sample for itself.
[[nodiscard]] std::vector<Column> toColumns(const Curve& curve, const Frame& frame);

/// Smallest and largest finite value in the range, {NaN, NaN} when there is none; only values > 0 if `positive`.
[[nodiscard]] std::pair<double, double> valueSpan(const Curve& curve, double from, double to, bool positive);

/// Sample nearest to x; x.size() when the curve is empty.
[[nodiscard]] std::size_t nearestSample(const std::vector<double>& ascending, double x);

} // namespace telehelm::app::plots
