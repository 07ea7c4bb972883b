// SPDX-License-Identifier: Apache-2.0
// Random series through random interleavings of append, crash and reopen: every bucket of every level, every range on every
// axis and every EMA equals brute force. TELEHELM_SOAK=1: three million points instead of a hundred and fifty thousand.
#include <csignal>
#include <filesystem>

#include <sys/wait.h>
#include <unistd.h>

#include "store/check.h"
#include "store/series_reader.h"
#include "store_rig.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;
namespace fs = std::filesystem;

namespace {

std::size_t wantedPoints() { return qEnvironmentVariableIntValue("TELEHELM_SOAK") != 0 ? 3'000'000 : 150'000; }

std::int64_t place(Axis axis, const Point& p) { return axis == Axis::Step ? p.step : axis == Axis::Tokens ? p.tokens : p.wallUs; }

// As randomPoints(), with steps that also go back, and clocks that do.
std::vector<Point> wildPoints(std::size_t count, unsigned seed) {
    std::vector<Point> points = randomPoints(count, seed);
    std::mt19937 random(seed + 1);
    std::int64_t stepBack = 0, wallBack = 0;
    for (Point& point : points) {
        if (random() % 20'000 == 0)
            stepBack += std::min<std::int64_t>(random() % 5000, point.step - stepBack);
        if (random() % 30'000 == 0)
            wallBack += random() % 60'000'000;
        point.step -= stepBack;
        point.tokens -= stepBack * 4096;
        point.wallUs -= wallBack;
    }
    return points;
}

using Model = std::map<std::string, std::vector<Point>>; // what must be stored

// The next batch, a function of the sequence number alone: so that parent and child of a fork agree on it.
TelemetryBatch nextBatch(const Model& source, std::map<std::string, std::size_t>& at, std::uint64_t sequence) {
    std::mt19937 random(static_cast<unsigned>(sequence) * 7919 + 1);
    TelemetryBatch batch;
    batch.key = {"r", 1};
    batch.sequence = sequence;
    for (const auto& [name, points] : source) {
        if (random() % 4 == 0 || at[name] == points.size())
            continue;
        const std::size_t left = points.size() - at[name], take = std::min<std::size_t>(left, random() % (random() % 16 == 0 ? 6000 : 700));
        const auto from = points.begin() + static_cast<std::ptrdiff_t>(at[name]);
        batch.series.push_back({name, {from, from + static_cast<std::ptrdiff_t>(take)}});
        at[name] += take;
    }
    return batch;
}

// What batches 1 … last hold.
Model storedBy(const Model& source, std::uint64_t last) {
    std::map<std::string, std::size_t> at;
    for (std::uint64_t sequence = 1; sequence <= last; ++sequence)
        (void)nextBatch(source, at, sequence);
    Model stored;
    for (const auto& [name, points] : source)
        if (at[name] > 0)
            stored[name].assign(points.begin(), points.begin() + static_cast<std::ptrdiff_t>(at[name]));
    return stored;
}

void compareStored(store::Store& store, const Model& want, std::mt19937& random) {
    for (const auto& [name, points] : want) {
        for (const std::uint32_t buckets : {0u, 1u, 7u, 300u, 2000u}) {
            const auto segments = query(store, ask({"r", 1}, name, buckets));
            QCOMPARE(segments.size(), std::size_t{1});
            QVERIFY(segments[0].missing.empty());
            compareAll(segments[0], points, buckets);
            if (QTest::currentTestFailed())
                return;
        }
        // Any range, any axis: no extreme is hidden, no point is counted twice.
        for (int round = 0; round < 6; ++round) {
            const Axis axis = std::array{Axis::Step, Axis::Tokens, Axis::WallTime}[random() % 3];
            std::int64_t from = place(axis, points[random() % points.size()]), to = place(axis, points[random() % points.size()]);
            if (from > to)
                std::swap(from, to);
            const auto segments = query(store, ask({"r", 1}, name, std::array{0u, 50u, 2000u}[random() % 3], 0, axis, from, to));
            double low = kInf, high = -kInf, gotLow = kInf, gotHigh = -kInf;
            std::uint64_t inside = 0, nonFinite = 0, got = 0, gotNonFinite = 0;
            for (const Point& point : points) {
                if (place(axis, point) < from || place(axis, point) > to)
                    continue;
                ++inside;
                nonFinite += std::isfinite(point.value) ? 0 : 1;
                if (std::isfinite(point.value)) {
                    low = std::min(low, point.value);
                    high = std::max(high, point.value);
                }
            }
            for (const SeriesSegment& segment : segments)
                for (const Bucket& bucket : segment.buckets) {
                    got += bucket.count;
                    gotNonFinite += bucket.nonFinite;
                    gotLow = std::min(gotLow, bucket.min);
                    gotHigh = std::max(gotHigh, bucket.max);
                }
            const bool isRaw = segments.empty() || segments[0].level == 0;
            QVERIFY(gotLow <= low && gotHigh >= high && got >= inside && gotNonFinite >= nonFinite);
            if (isRaw) // coarser buckets reach over the range's ends
                QVERIFY(gotLow == low && gotHigh == high && got == inside && gotNonFinite == nonFinite);
        }
    }
}

// Every full bucket of every level, not only of those that a query chooses.
void compareEveryLevel(const fs::path& file, const std::string& name, const std::vector<Point>& points) {
    store::Database db(file, store::Database::Mode::ReadOnly);
    store::Rows rows = db.query("SELECT id, points FROM series WHERE name=?", name);
    QVERIFY(rows.next());
    store::SeriesSummary summary;
    summary.id = rows.integer(0);
    summary.points = static_cast<std::uint64_t>(rows.integer(1));
    QCOMPARE(summary.points, points.size());
    store::SeriesReader reader(db, store::viewOf(summary));
    for (int level = 0; level <= 5; ++level) {
        const std::size_t size = store::pointsPerBucket(level), full = points.size() / size;
        const std::vector<Bucket> buckets = reader.fullBuckets(level, 0, full);
        QCOMPARE(buckets.size(), full);
        for (std::size_t i = 0; i < full; ++i) {
            compare(buckets[i], bruteBucket(std::span(points).subspan(i * size, size)));
            if (QTest::currentTestFailed())
                return;
        }
    }
    QVERIFY(reader.takeMissing().empty());
}

} // namespace

class TestStoreProperty : public QObject {
    Q_OBJECT

private slots:
    void appendCrashAndReopenInAnyOrder();
    void copiesOfARunningStoreAreWhole();
    void smoothingEqualsBruteForceWhateverComesBetween();
};

// A child appends and is killed; a child appends and leaves without closing; the store is closed and opened again.
void TestStoreProperty::appendCrashAndReopenInAnyOrder() {
    QTemporaryDir dir;
    const fs::path file = dir.filePath("store.db").toStdString();
    const Model source = {{"a/wild", wildPoints(wantedPoints(), 5)}, {"b/short", wildPoints(3000, 6)}, {"c/mid", wildPoints(wantedPoints() / 8, 7)}};
    { addAttempt(*openStore(dir), {"r", 1}); }
    std::mt19937 random(17);
    std::size_t total = 0;
    for (const auto& [name, points] : source)
        total += points.size();
    for (int round = 0;; ++round) {
        const int how = static_cast<int>(random() % 3);
        const std::uint64_t batches = 5 + random() % 60;
        const auto work = [&](int killed) {
            auto store = openStore(dir);
            std::uint64_t last = must(store->attempt({"r", 1}))->lastSequence;
            std::map<std::string, std::size_t> at;
            for (std::uint64_t sequence = 1; sequence <= last; ++sequence)
                (void)nextBatch(source, at, sequence);
            for (std::uint64_t i = 0; i < batches || killed == 1;) {
                std::vector<TelemetryBatch> some;
                for (std::size_t n = 1 + last % 5; n > 0; --n, ++i)
                    some.push_back(nextBatch(source, at, ++last));
                must(store->ingest(some));
            }
            if (killed == 2)
                _exit(0); // nothing is closed
        };
        if (how == 0) {
            work(0);
        } else {
            const pid_t child = fork();
            if (child == 0) {
                work(how);
                _exit(0);
            }
            if (how == 1) {
                ::usleep(static_cast<useconds_t>(5000 + random() % 60'000));
                ::kill(child, SIGKILL);
            }
            int status = 0;
            QCOMPARE(waitpid(child, &status, 0), child);
            QVERIFY(how == 1 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        }
        auto store = openStore(dir);
        const AttemptInfo now = *must(store->attempt({"r", 1}));
        const Model want = storedBy(source, now.lastSequence);
        const bool isEnd = now.pointsStored == total;
        if (round % 6 == 0 || isEnd)
            compareStored(*store, want, random);
        if (QTest::currentTestFailed())
            return;
        std::uint64_t points = 0;
        for (const SeriesInfo& info : must(store->listSeries({{"r", 1}, {}, {}, 0})).series) {
            QCOMPARE(info.points, want.at(info.name).size());
            points += info.points;
        }
        QCOMPARE(points, now.pointsStored);
        store.reset();
        if (!isEnd)
            continue;
        for (const auto& [name, expected] : want) {
            compareEveryLevel(file, name, expected);
            if (QTest::currentTestFailed())
                return;
        }
        const auto report = must(store::checkStore(file, {}));
        QCOMPARE(report.damages, std::uint64_t{0});
        QCOMPARE(report.points, std::uint64_t{total});
        return;
    }
}

// What a backup takes while points come: database and write-ahead log, at any moment between two commits.
void TestStoreProperty::copiesOfARunningStoreAreWhole() {
    QTemporaryDir dir, copyDir;
    const fs::path file = dir.filePath("store.db").toStdString(), copy = copyDir.filePath("store.db").toStdString();
    const Model source = {{"x", wildPoints(60'000, 11)}, {"y", wildPoints(9000, 12)}};
    auto store = openStore(dir);
    addAttempt(*store, {"r", 1});
    std::mt19937 random(3);
    std::map<std::string, std::size_t> at;
    for (std::uint64_t sequence = 1; at["x"] < source.at("x").size(); ++sequence) {
        std::vector<TelemetryBatch> batch = {nextBatch(source, at, sequence)};
        must(store->ingest(batch));
        if (sequence % 25 != 0)
            continue;
        for (const char* suffix : {"", "-wal"}) // without -shm and mark
            fs::copy_file(file.string() + suffix, copy.string() + suffix, fs::copy_options::overwrite_existing);
        QCOMPARE(must(store::checkStore(copy, {})).damages, std::uint64_t{0});
        {
            auto abandoned = openStore(copyDir);
            compareStored(*abandoned, storedBy(source, sequence), random);
        }
        for (const char* suffix : {"", "-wal", "-shm", "-mark"})
            fs::remove(copy.string() + suffix);
        if (QTest::currentTestFailed())
            return;
    }
}

void TestStoreProperty::smoothingEqualsBruteForceWhateverComesBetween() {
    QTemporaryDir dir;
    const Model source = {{"x", wildPoints(wantedPoints() / 3, 21)}};
    const std::vector<Point>& points = source.at("x");
    const std::vector<double> weights = {0.3, 0.9, 0.999};
    std::map<double, std::vector<double>> want;
    for (const double weight : weights)
        want[weight] = bruteEma(points, weight);
    auto store = openStore(dir);
    addAttempt(*store, {"r", 1});
    std::map<std::string, std::size_t> at;
    std::mt19937 random(9);
    for (std::uint64_t sequence = 1; at["x"] < points.size(); ++sequence) {
        std::vector<TelemetryBatch> batch = {nextBatch(source, at, sequence)};
        must(store->ingest(batch));
        if (random() % 40 == 0)
            store.reset(), store = openStore(dir);
        if (random() % 12 != 0 || at["x"] == 0)
            continue;
        const double weight = weights[random() % weights.size()];
        const std::uint32_t buckets = std::array{1u, 40u, 700u, 5000u}[random() % 4];
        const auto segments = query(*store, ask({"r", 1}, "x", buckets, weight));
        std::size_t end = 0;
        for (const Bucket& bucket : segments.at(0).buckets) {
            end += bucket.count;
            QVERIFY2(close(bucket.smoothed, want[weight][end - 1]), qPrintable(QString("weight %1 at %2").arg(weight).arg(end)));
        }
        QCOMPARE(end, at["x"]);
    }
}

QTEST_GUILESS_MAIN(TestStoreProperty)
#include "tst_store_property.moc"
