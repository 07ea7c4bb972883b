// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/strip.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "plots/columns.h"

namespace telehelm::app::plots {

namespace {

constexpr double kRoom = 0.06;
constexpr double kReferenceReach = 3.5; // references may stretch the range to this many spans of our own curve

std::pair<double, double> dataSpan(const Strip& strip, double from, double to) {
    double low = NAN, high = NAN;
    for (const Curve& curve : strip.curves) {
        const auto [curveLow, curveHigh] = valueSpan(curve, from, to, strip.spec.logY);
        low = std::fmin(low, curveLow);
        high = std::fmax(high, curveHigh);
    }
    return {low, high};
}

/// Nearest references first, as long as our curve keeps a fair share of the height.
std::pair<double, double> reachOut(const Strip& strip, double low, double high) {
    const double limit = std::max(high - low, 0.03 * std::abs(high)) * kReferenceReach;
    std::vector<double> values;
    for (const ReferenceLine& line : strip.references)
        values.push_back(line.value);
    const double middle = (low + high) / 2;
    std::sort(values.begin(), values.end(), [&](double a, double b) { return std::abs(a - middle) < std::abs(b - middle); });
    for (double value : values) {
        const double newLow = std::min(low, value), newHigh = std::max(high, value);
        if (newHigh - newLow > limit || (strip.spec.logY && value <= 0))
            break;
        low = newLow;
        high = newHigh;
    }
    return {low, high};
}

std::pair<double, double> pad(double low, double high, bool logY) {
    if (logY) {
        const double factor = std::max(std::pow(high / low, kRoom), 1.04);
        return {low / factor, high * factor};
    }
    double room = (high - low) * kRoom;
    if (!(room > 0))
        room = high != 0 ? std::abs(high) * 0.05 : 1; // a constant series stays constant, in the middle
    return {low - room, high + room};
}

} // namespace

bool Strip::empty() const {
    return std::all_of(curves.begin(), curves.end(), [](const Curve& curve) { return curve.x.empty(); });
}

double emphasis(const Look& look, const Curve& curve) {
    const bool other = !look.highlightedRun.isEmpty() && !curve.id.startsWith(look.highlightedRun + QLatin1Char('/'));
    return other ? 0.35 : 1.0;
}

CurveValue readCurve(const Curve& curve, double x) {
    CurveValue value{curve.id, curve.label, x, NAN, NAN, NAN, NAN, std::isnan(x)};
    if (curve.x.empty())
        return value;
    const std::size_t i = std::isnan(x) ? curve.x.size() - 1 : nearestSample(curve.x, x);
    value.x = curve.x[i];
    value.smoothed = curve.y[i];
    value.value = curve.raw.empty() ? curve.y[i] : curve.raw[i];
    value.min = curve.lo.empty() ? value.value : curve.lo[i];
    value.max = curve.hi.empty() ? value.value : curve.hi[i];
    return value;
}

std::pair<double, double> automaticY(const Strip& strip, double from, double to, bool withReferences) {
    auto [low, high] = dataSpan(strip, from, to);
    if (std::isnan(low)) {
        if (withReferences && !strip.references.empty()) {
            low = high = strip.references.front().value;
            for (const ReferenceLine& line : strip.references) {
                low = std::min(low, line.value);
                high = std::max(high, line.value);
            }
            return pad(low, high, strip.spec.logY && low > 0);
        }
        return strip.spec.logY ? std::pair{0.1, 1.0} : std::pair{0.0, 1.0};
    }
    if (withReferences)
        std::tie(low, high) = reachOut(strip, low, high);
    return pad(low, high, strip.spec.logY);
}

} // namespace telehelm::app::plots
