// SPDX-License-Identifier: Apache-2.0
// What the tests of the store share: random series, ingest in batches, and the answers of plain loops.
#pragma once

#include <QTemporaryDir>
#include <QTest>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "must.h"
#include "store/store.h"

namespace telehelm::test {

using namespace telehelm::ipc;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

using tests::must;

inline std::unique_ptr<store::Store> openStore(const QTemporaryDir& dir) {
    return must(store::Store::open(dir.filePath("store.db").toStdString()));
}

inline void addAttempt(store::Store& store, const AttemptKey& key, std::uint32_t parent = 0, std::int64_t forkStep = 0) {
    if (key.attempt == 1)
        must(store.addRun({key.run, "test", nowUs(), ""}));
    AttemptInfo attempt;
    attempt.key = key;
    attempt.parent = parent;
    attempt.forkStep = forkStep;
    attempt.state = AttemptState::Running;
    must(store.addAttempt(attempt));
}

// Spikes, NaN runs, infinities, repeated values; repeated steps.
inline std::vector<Point> randomPoints(std::size_t count, unsigned seed, std::int64_t firstStep = 1) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> noise(-1, 1);
    std::vector<Point> points;
    std::int64_t step = firstStep, wall = 1'700'000'000'000'000;
    std::size_t nanRun = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const auto dice = random() % 1000;
        double value = 3 + noise(random);
        if (dice == 0)
            value = 1e30;
        else if (dice == 1)
            value = kInf;
        else if (dice == 2)
            value = -kInf;
        else if (dice == 3)
            nanRun = random() % 700;
        else if (dice < 50 && !points.empty())
            value = points.back().value;
        if (nanRun > 0 && nanRun--)
            value = kNaN;
        wall += 1000 + random() % 5000;
        points.push_back({step, step * 4096, wall, value});
        step += random() % 10 == 0 ? 0 : 1;
    }
    return points;
}

inline TelemetryBatch batchOf(const AttemptKey& key, std::uint64_t sequence, std::vector<SeriesBlock> series) {
    TelemetryBatch batch;
    batch.key = key;
    batch.sequence = sequence;
    batch.series = std::move(series);
    return batch;
}

// In batches of random length.
inline std::uint64_t ingest(store::Store& store, const AttemptKey& key, const std::string& name, const std::vector<Point>& points,
                     std::uint64_t sequence = 0, unsigned seed = 1) {
    std::mt19937 random(seed);
    std::vector<TelemetryBatch> batches;
    for (std::size_t at = 0; at < points.size();) {
        const std::size_t end = std::min(points.size(), at + 1 + random() % 900);
        batches.push_back(batchOf(key, ++sequence,
                                  {{name, {points.begin() + static_cast<std::ptrdiff_t>(at), points.begin() + static_cast<std::ptrdiff_t>(end)}}}));
        at = end;
    }
    for (const store::IngestedBatch& done : must(store.ingest(batches)))
        if (!done.stored)
            qFatal("a batch was taken for a duplicate");
    return sequence;
}

// A query with its range; the axis is the step's unless told.
inline SeriesQuery ask(const AttemptKey& key, const std::string& name, std::uint32_t maxBuckets, double smoothing = 0, Axis axis = Axis::Step,
                std::int64_t from = 0, std::int64_t to = INT64_MAX) {
    SeriesQuery query;
    query.key = key;
    query.names = {name};
    query.maxBuckets = maxBuckets;
    query.smoothing = smoothing;
    query.axis = axis;
    query.from = from;
    query.to = to;
    return query;
}

inline std::vector<SeriesSegment> query(store::Store& store, const SeriesQuery& query) {
    std::vector<SeriesSegment> segments;
    must(store.querySeries(query, [&](SeriesSegment&& segment) {
        segments.push_back(std::move(segment));
        return true;
    }));
    return segments;
}

inline bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }
inline bool close(double a, double b) { return same(a, b) || std::abs(a - b) <= 1e-9 * std::max({1.0, std::abs(a), std::abs(b)}); }

inline Bucket bruteBucket(std::span<const Point> points) {
    Bucket b{points.front().step, points.back().step, points.front().tokens, points.back().tokens, points.front().wallUs,
             points.back().wallUs, points.front().value, points.back().value, kInf, -kInf, 0, points.size(), 0, 0};
    for (const Point& point : points) {
        if (!std::isfinite(point.value)) {
            ++b.nonFinite;
            continue;
        }
        b.min = std::min(b.min, point.value);
        b.max = std::max(b.max, point.value);
        b.sum += point.value;
    }
    return b;
}

inline void compare(const Bucket& got, const Bucket& want) {
    QCOMPARE(got.firstStep, want.firstStep);
    QCOMPARE(got.lastStep, want.lastStep);
    QCOMPARE(got.firstTokens, want.firstTokens);
    QCOMPARE(got.lastTokens, want.lastTokens);
    QCOMPARE(got.firstWallUs, want.firstWallUs);
    QCOMPARE(got.lastWallUs, want.lastWallUs);
    QVERIFY(same(got.first, want.first) && same(got.last, want.last));
    QCOMPARE(got.min, want.min);
    QCOMPARE(got.max, want.max);
    QVERIFY2(close(got.sum, want.sum), qPrintable(QString("%1 != %2").arg(got.sum).arg(want.sum)));
    QCOMPARE(got.count, want.count);
    QCOMPARE(got.nonFinite, want.nonFinite);
}

// Points a bucket: the largest power of two that leaves at least maxBuckets aligned buckets for the points first … last.
inline std::size_t bruteSize(std::size_t first, std::size_t last, std::uint32_t maxBuckets) {
    std::size_t size = 1;
    while (maxBuckets > 0 && size < (std::size_t{1} << 51) && last / (2 * size) - first / (2 * size) + 1 >= maxBuckets)
        size *= 2;
    return size;
}

// The smallest level whose buckets have at least that many points.
inline unsigned levelOf(std::size_t size) {
    unsigned level = 0;
    while ((std::size_t{1} << (4 * level)) < size)
        ++level;
    return level;
}

// The expected answer of a whole-range query.
inline void compareAll(const SeriesSegment& segment, const std::vector<Point>& points, std::uint32_t maxBuckets) {
    const std::size_t size = bruteSize(0, points.size() - 1, maxBuckets);
    QCOMPARE(segment.level, levelOf(size));
    QCOMPARE(segment.buckets.size(), (points.size() + size - 1) / size);
    for (std::size_t i = 0; i < segment.buckets.size(); ++i) {
        compare(segment.buckets[i], bruteBucket(std::span(points).subspan(i * size, std::min(size, points.size() - i * size))));
        if (QTest::currentTestFailed())
            return;
    }
}

inline std::vector<double> bruteEma(const std::vector<Point>& points, double weight) {
    std::vector<double> shown;
    EmaState state;
    for (const Point& point : points) {
        if (std::isfinite(point.value)) {
            state.last = state.last * weight + (1 - weight) * point.value;
            ++state.n;
        }
        shown.push_back(state.n ? state.last / (1 - std::pow(weight, static_cast<double>(state.n))) : kNaN);
    }
    return shown;
}

} // namespace telehelm::test
