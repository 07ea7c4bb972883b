// SPDX-License-Identifier: GPL-3.0-or-later
#include "data/series_track.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace telehelm::app {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double along(ipc::Axis axis, std::int64_t step, std::int64_t tokens, std::int64_t wallUs) {
    return static_cast<double>(axis == ipc::Axis::Step ? step : axis == ipc::Axis::Tokens ? tokens : wallUs);
}

void addBucket(CurveData& curve, const ipc::Bucket& bucket, ipc::Axis axis) {
    const double x = along(axis, bucket.lastStep, bucket.lastTokens, bucket.lastWallUs);
    const bool finite = bucket.min <= bucket.max;
    curve.x.push_back(x);
    curve.y.push_back(bucket.smoothed);
    curve.raw.push_back(bucket.last);
    curve.lo.push_back(finite ? bucket.min : kNan);
    curve.hi.push_back(finite ? bucket.max : kNan);
    if (bucket.nonFinite > 0)
        curve.nonFiniteX.push_back(x);
}

void addPoint(CurveData& curve, const ipc::Point& point, ipc::Axis axis, double smoothed) {
    const double x = along(axis, point.step, point.tokens, point.wallUs);
    const double bound = std::isfinite(point.value) ? point.value : kNan;
    curve.x.push_back(x);
    curve.y.push_back(smoothed);
    curve.raw.push_back(point.value);
    curve.lo.push_back(bound);
    curve.hi.push_back(bound);
    if (!std::isfinite(point.value))
        curve.nonFiniteX.push_back(x);
}

} // namespace

double EmaCursor::add(double value) {
    if (std::isfinite(value)) {
        m_state.last = m_state.last * m_weight + (1 - m_weight) * value;
        ++m_state.n;
    }
    return m_state.n == 0 ? kNan : m_state.last / (1 - std::pow(m_weight, static_cast<double>(m_state.n)));
}

void SeriesTrack::setHistory(std::vector<ipc::SeriesSegment> segments, bool openEnd) {
    m_effective.clear();
    m_superseded.clear();
    m_openEnd = openEnd;
    for (ipc::SeriesSegment& segment : segments) {
        if (segment.buckets.empty())
            continue;
        const ipc::Bucket& last = segment.buckets.back();
        if (!segment.superseded)
            noteLatest({segment.key.attempt, {last.lastStep, last.lastTokens, last.lastWallUs, last.last}});
        (segment.superseded ? m_superseded : m_effective).push_back(std::move(segment));
    }
    std::erase_if(m_tail, [this](const TailPoint& tail) { return tail.point.step <= coveredStep(tail.attempt); });
}

void SeriesTrack::append(std::uint32_t attempt, const ipc::Point& point) {
    if (point.step <= coveredStep(attempt))
        return;
    if (!m_tail.empty() && !m_tail.back().before({attempt, point}))
        return; // an attempt that was replaced meanwhile, or a repeat
    if (!m_effective.empty() && attempt < m_effective.back().key.attempt)
        return;
    m_tail.push_back({attempt, point});
    noteLatest(m_tail.back());
}

bool SeriesTrack::sampled() const {
    return std::any_of(m_effective.begin(), m_effective.end(),
                       [](const ipc::SeriesSegment& segment) { return segment.level > 0; });
}

/// Last step of an attempt that history has told; −1 for none.
std::int64_t SeriesTrack::coveredStep(std::uint32_t attempt) const {
    std::int64_t step = -1;
    for (const auto* segments : {&m_effective, &m_superseded})
        for (const ipc::SeriesSegment& segment : *segments)
            if (segment.key.attempt == attempt)
                step = std::max(step, segment.buckets.back().lastStep);
    return step;
}

/// A newer attempt that is live already replaces older ones from its first step on, before history says so.
std::int64_t SeriesTrack::cutStep(std::uint32_t attempt) const {
    for (const TailPoint& tail : m_tail)
        if (tail.attempt > attempt)
            return tail.point.step;
    return std::numeric_limits<std::int64_t>::max();
}

void SeriesTrack::noteLatest(const TailPoint& point) {
    if (!point.before(m_latest))
        m_latest = point;
}

std::vector<CurveData> SeriesTrack::curves(ipc::Axis axis, double smoothing) const {
    std::vector<CurveData> curves(1);
    ipc::EmaState state;
    for (const ipc::SeriesSegment& segment : m_effective) {
        const std::int64_t cut = cutStep(segment.key.attempt);
        for (const ipc::Bucket& bucket : segment.buckets)
            if (bucket.lastStep < cut)
                addBucket(curves.front(), bucket, axis);
        state = segment.ema;
    }
    EmaCursor ema(state, smoothing);
    for (const TailPoint& tail : m_tail)
        if (m_openEnd && tail.point.step < cutStep(tail.attempt))
            addPoint(curves.front(), tail.point, axis, ema.add(tail.point.value));
    for (const ipc::SeriesSegment& segment : m_superseded) {
        CurveData& old = curves.emplace_back();
        old.superseded = true;
        old.attempt = segment.key.attempt;
        for (const ipc::Bucket& bucket : segment.buckets)
            addBucket(old, bucket, axis);
    }
    return curves;
}

} // namespace telehelm::app
