// SPDX-License-Identifier: GPL-3.0-or-later
// One series of one run as it is known now: what history answered, and the live points that came after it. Every point counts
// exactly once, whatever overtakes what. No Qt, any one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

/// A stretch that is drawn as one line; x ascends, all vectors have its length.
struct CurveData {
    bool superseded = false;
    std::uint32_t attempt = 0; // of a superseded stretch
    std::vector<double> x;     // steps, tokens or microseconds
    std::vector<double> y;     // smoothed
    std::vector<double> raw;   // the value of each sample, of a bucket's last
    std::vector<double> lo, hi;
    std::vector<double> nonFiniteX;
};

/// Goes on with a debiased EMA; values that are not finite leave it alone.
class EmaCursor {
public:
    EmaCursor(ipc::EmaState state, double weight) : m_state(state), m_weight(weight) {}
    double add(double value);

private:
    ipc::EmaState m_state;
    double m_weight;
};

class SeriesTrack {
public:
    struct TailPoint {
        std::uint32_t attempt = 0; // from 1
        ipc::Point point;
        [[nodiscard]] bool before(const TailPoint& other) const {
            return attempt != other.attempt ? attempt < other.attempt : point.step < other.point.step;
        }
    };

    /// An answer of history, oldest stretch first. `openEnd`: it asked for everything up to the newest point.
    void setHistory(std::vector<ipc::SeriesSegment> segments, bool openEnd);
    /// A point of the live stream; one that is known already changes nothing.
    void append(std::uint32_t attempt, const ipc::Point& point);
    /// Forgets live points that no answer has confirmed; the next open answer brings them.
    void dropTail() { m_tail.clear(); }

    [[nodiscard]] std::size_t tailSize() const { return m_tail.size(); }
    [[nodiscard]] bool openEnd() const { return m_openEnd; }
    [[nodiscard]] bool sampled() const; // history came in buckets of several points
    [[nodiscard]] const TailPoint* latest() const { return m_latest.attempt > 0 ? &m_latest : nullptr; }
    /// The effective curve first (always there, maybe empty), then the superseded stretches.
    [[nodiscard]] std::vector<CurveData> curves(ipc::Axis axis, double smoothing) const;

private:
    [[nodiscard]] std::int64_t coveredStep(std::uint32_t attempt) const;
    [[nodiscard]] std::int64_t cutStep(std::uint32_t attempt) const;
    void noteLatest(const TailPoint& point);

    std::vector<ipc::SeriesSegment> m_effective, m_superseded;
    std::vector<TailPoint> m_tail; // ascending by (attempt, step)
    bool m_openEnd = true;         // nothing asked yet: live points are all there is
    TailPoint m_latest;            // attempt 0: none yet
};

} // namespace telehelm::app
