// SPDX-License-Identifier: Apache-2.0
// The store against brute force: the pyramid, queries, the EMA, lineage, exactly-once and a writer that is killed.
#include <QTemporaryDir>
#include <QTest>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/check.h"
#include "store/ema.h"
#include "store_rig.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;

class TestStore : public QObject {
    Q_OBJECT

private slots:
    void everyLevelEqualsBruteForce();
    void survivesReopening();
    void rangesOnEveryAxis();
    void backwardStepsAreFound();
    void emaEqualsBruteForce();
    void effectiveCurveFollowsLineage();
    void duplicatesAndGaps();
    void manySeriesThroughTheLog();
    void oneBatchFillsManySeriesTwice();
    void outcomesSettleCommandsOnce();
    void recordsComeBack();
    void killedWriterLosesNothingCommitted();
    void aFullDiskLosesNothing();
    void refusesForeignAndNewerFiles();
};

void TestStore::everyLevelEqualsBruteForce() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const AttemptKey key{"r", 1};
    addAttempt(*store, key);
    const std::vector<Point> points = randomPoints(90'123, 7);
    ingest(*store, key, "train/loss", points);
    QSet<unsigned> levels;
    QSet<std::size_t> sizes;
    for (const std::uint32_t buckets : {0u, 1u, 2u, 20u, 300u, 500u, 1100u, 2000u, 5000u, 7000u, 20'000u, 100'000u}) {
        const auto segments = query(*store, ask(key, "train/loss", buckets));
        QCOMPARE(segments.size(), std::size_t{1});
        levels.insert(segments[0].level);
        sizes.insert(segments[0].buckets.front().count);
        if (buckets != 0 && buckets <= points.size())
            QVERIFY(segments[0].buckets.size() >= buckets && segments[0].buckets.size() <= 2 * buckets);
        compareAll(segments[0], points, buckets);
        if (QTest::currentTestFailed())
            return;
    }
    QVERIFY(levels.size() >= 5);
    QVERIFY(sizes.size() >= 9); // groups of 2, 4 and 8 too
}

void TestStore::survivesReopening() {
    QTemporaryDir dir;
    const AttemptKey key{"r", 1};
    std::vector<Point> points = randomPoints(70'000, 11);
    std::uint64_t sequence = 0;
    std::size_t at = 0;
    // Reopened at lengths around the edges of chunks and of levels.
    for (const std::size_t end : {5ul, 16ul, 1023ul, 1024ul, 1030ul, 4096ul, 16'384ul, 16'400ul, 33'000ul, 65'536ul, 70'000ul}) {
        auto store = openStore(dir);
        if (at == 0)
            addAttempt(*store, key);
        sequence = ingest(*store, key, "x", {points.begin() + static_cast<std::ptrdiff_t>(at), points.begin() + static_cast<std::ptrdiff_t>(end)},
                          sequence, static_cast<unsigned>(end));
        at = end;
    }
    auto store = openStore(dir);
    for (const std::uint32_t buckets : {0u, 1u, 4u, 17u, 250u, 4000u}) {
        const auto segments = query(*store, ask(key, "*", buckets));
        QCOMPARE(segments.size(), std::size_t{1});
        compareAll(segments[0], points, buckets);
        if (QTest::currentTestFailed())
            return;
    }
    const auto info = must(store->listSeries({key, "*", {}, 0})).series;
    QCOMPARE(info.size(), std::size_t{1});
    QCOMPARE(info[0].points, std::uint64_t{70'000});
    QCOMPARE(info[0].firstStep, points.front().step);
    QCOMPARE(info[0].lastStep, points.back().step);
    QCOMPARE(must(store->pointsStored()), std::uint64_t{70'000});
}

void TestStore::rangesOnEveryAxis() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const AttemptKey key{"r", 1};
    addAttempt(*store, key);
    const std::vector<Point> points = randomPoints(40'000, 3);
    ingest(*store, key, "x", points);
    std::mt19937 random(5);
    for (int round = 0; round < 120; ++round) {
        const Axis axis = std::array{Axis::Step, Axis::Tokens, Axis::WallTime}[static_cast<std::size_t>(round) % 3];
        const auto place = [&](const Point& p) { return axis == Axis::Step ? p.step : axis == Axis::Tokens ? p.tokens : p.wallUs; };
        std::int64_t from = place(points[random() % points.size()]) + random() % 3 - 1, to = place(points[random() % points.size()]);
        if (from > to)
            std::swap(from, to);
        const std::uint32_t buckets = std::array{0u, 10u, 200u, 333u, 3000u}[random() % 5];
        std::vector<Point> inside;
        std::size_t first = points.size(), last = 0;
        for (std::size_t i = 0; i < points.size(); ++i)
            if (place(points[i]) >= from && place(points[i]) <= to) {
                inside.push_back(points[i]);
                first = std::min(first, i);
                last = i;
            }
        const auto segments = query(*store, ask(key, "x", buckets, 0, axis, from, to));
        if (inside.empty()) {
            QVERIFY(segments.empty());
            continue;
        }
        QCOMPARE(segments.size(), std::size_t{1});
        const std::size_t size = bruteSize(first, last, buckets);
        QCOMPARE(segments[0].level, levelOf(size));
        if (segments[0].level == 0) {
            QCOMPARE(segments[0].buckets.size(), inside.size());
            for (std::size_t i = 0; i < inside.size(); ++i)
                compare(segments[0].buckets[i], bruteBucket(std::span(&inside[i], 1)));
        } else {
            QCOMPARE(segments[0].buckets.size(), last / size - first / size + 1);
            for (std::size_t i = 0; i < segments[0].buckets.size(); ++i) {
                const std::size_t start = (first / size + i) * size;
                compare(segments[0].buckets[i], bruteBucket(std::span(points).subspan(start, std::min(size, points.size() - start))));
            }
        }
        if (QTest::currentTestFailed())
            return;
    }
    QVERIFY(query(*store, ask(key, "x", 2000, 0, Axis::Step, 1'000'000)).empty());
    QVERIFY(query(*store, ask(key, "none", 10)).empty());
    QVERIFY(!store->querySeries(ask({"unknown", 0}, "x", 10), [](auto&&) { return true; }));
}

void TestStore::backwardStepsAreFound() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const AttemptKey key{"r", 1};
    addAttempt(*store, key);
    std::vector<Point> points;
    for (std::int64_t i = 0; i < 30'000; ++i)
        points.push_back({i % 10'000, i, i, static_cast<double>(i)}); // rolls back twice
    ingest(*store, key, "x", points);
    const auto segments = query(*store, ask(key, "x", 0, 0, Axis::Step, 100, 199));
    QCOMPARE(segments.size(), std::size_t{1});
    QCOMPARE(segments[0].buckets.size(), std::size_t{300});
    QCOMPARE(segments[0].buckets[100].first, 10'100.0);
}

void TestStore::emaEqualsBruteForce() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const AttemptKey key{"r", 1};
    addAttempt(*store, key);
    const std::vector<Point> points = randomPoints(50'000, 23);
    std::uint64_t sequence = 0;
    std::size_t at = 0;
    for (const std::size_t end : {3ul, 1000ul, 20'001ul, 50'000ul}) { // growth between queries must not change anything
        sequence = ingest(*store, key, "x", {points.begin() + static_cast<std::ptrdiff_t>(at), points.begin() + static_cast<std::ptrdiff_t>(end)}, sequence);
        at = end;
        const std::vector<Point> sofar(points.begin(), points.begin() + static_cast<std::ptrdiff_t>(end));
        for (const double weight : {0.6, 0.99}) {
            const std::vector<double> want = bruteEma(sofar, weight);
            for (const std::uint32_t buckets : {0u, 3u, 50u, 1500u}) {
                const auto segments = query(*store, ask(key, "x", buckets, weight));
                std::size_t done = 0;
                for (const Bucket& bucket : segments[0].buckets) {
                    done += bucket.count;
                    QVERIFY2(close(bucket.smoothed, want[done - 1]), qPrintable(QString("at %1").arg(done)));
                }
                QCOMPARE(done, end);
                QVERIFY(close(store::shown(segments[0].ema, weight), want.back()));
            }
        }
    }
    // Zoomed in, it still carries all that came before.
    const std::vector<double> want = bruteEma(points, 0.9);
    const auto zoomed = query(*store, ask(key, "x", 150, 0.9, Axis::WallTime, points[31'111].wallUs, points[31'311].wallUs));
    QCOMPARE(zoomed[0].buckets.size(), std::size_t{201});
    QVERIFY(close(zoomed[0].buckets[77].smoothed, want[31'111 + 77]));
}

void TestStore::effectiveCurveFollowsLineage() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const auto straight = [](std::int64_t from, std::int64_t to, double offset) {
        std::vector<Point> points;
        for (std::int64_t step = from; step <= to; ++step)
            points.push_back({step, step * 10, step * 100, static_cast<double>(step) + offset});
        return points;
    };
    addAttempt(*store, {"r", 1});
    ingest(*store, {"r", 1}, "x", straight(1, 5000, 0));
    addAttempt(*store, {"r", 2}, 1, 4000); // a branch that was given up
    ingest(*store, {"r", 2}, "x", straight(4001, 4500, 0.25));
    addAttempt(*store, {"r", 3}, 1, 3000);
    ingest(*store, {"r", 3}, "x", straight(3001, 6000, 0.5));
    std::vector<Point> effective = straight(1, 3000, 0);
    for (const Point& point : straight(3001, 6000, 0.5))
        effective.push_back(point);
    const std::vector<double> ema = bruteEma(effective, 0.97);

    for (const std::uint32_t buckets : {0u, 100u, 3u}) {
        const auto segments = query(*store, ask({"r", 0}, "x", buckets, 0.97));
        QCOMPARE(segments.size(), std::size_t{2});
        QCOMPARE(segments[0].key.attempt, 1u);
        QCOMPARE(segments[1].key.attempt, 3u);
        QCOMPARE(segments[0].buckets.back().lastStep, std::int64_t{3000}); // the bucket at the fork is cut there
        QCOMPARE(segments[1].buckets.front().firstStep, std::int64_t{3001});
        std::uint64_t count = 0;
        double sum = 0, want = 0;
        for (const SeriesSegment& segment : segments)
            for (const Bucket& bucket : segment.buckets) {
                count += bucket.count;
                sum += bucket.sum;
                QVERIFY(close(bucket.smoothed, ema[count - 1]));
            }
        for (const Point& point : effective)
            want += point.value;
        QCOMPARE(count, std::uint64_t{6000});
        QVERIFY(close(sum, want));
    }
    SeriesQuery withSuperseded = ask({"r", 0}, "x", 50);
    withSuperseded.includeSuperseded = true;
    const auto all = query(*store, withSuperseded);
    std::map<std::pair<std::uint32_t, bool>, std::uint64_t> counts;
    for (const SeriesSegment& segment : all)
        for (const Bucket& bucket : segment.buckets)
            counts[{segment.key.attempt, segment.superseded}] += bucket.count;
    const std::map<std::pair<std::uint32_t, bool>, std::uint64_t> want = {{{1, false}, 3000}, {{1, true}, 2000}, {{2, true}, 500}, {{3, false}, 3000}};
    QCOMPARE(counts, want);
    const auto one = query(*store, ask({"r", 2}, "x", 0));
    QCOMPARE(one.size(), std::size_t{1});
    QVERIFY(one[0].superseded);
    QCOMPARE(one[0].buckets.size(), std::size_t{500});
}

void TestStore::duplicatesAndGaps() {
    QTemporaryDir dir;
    const AttemptKey key{"r", 1};
    const auto send = [&](store::Store& store, std::uint64_t sequence) {
        std::vector<TelemetryBatch> batches = {batchOf(key, sequence, {{"x", {{static_cast<std::int64_t>(sequence), 0, 0, 1.0}}}})};
        return must(store.ingest(batches)).front();
    };
    {
        auto store = openStore(dir);
        addAttempt(*store, key);
        QCOMPARE(send(*store, 1).ack, std::uint64_t{1});
        QCOMPARE(send(*store, 2).ack, std::uint64_t{2});
        QVERIFY(!send(*store, 2).stored);
        QCOMPARE(send(*store, 6).ack, std::uint64_t{2}); // 3, 4, 5 may still come
        QCOMPARE(must(store->gaps(key)), (std::vector<store::SequenceGap>{{3, 5}}));
    }
    auto store = openStore(dir);
    QCOMPARE(must(store->acknowledged(key, 3)), std::uint64_t{2});
    QVERIFY(send(*store, 4).stored);
    QVERIFY(!send(*store, 4).stored);
    QVERIFY(!send(*store, 6).stored);
    QCOMPARE(must(store->gaps(key)), (std::vector<store::SequenceGap>{{3, 3}, {5, 5}}));
    QCOMPARE(must(store->acknowledged(key, 5)), std::uint64_t{4}); // 3 is lost for good, 5 is still held
    QCOMPARE(send(*store, 5).ack, std::uint64_t{6});
    QCOMPARE(must(store->gaps(key)), (std::vector<store::SequenceGap>{{3, 3}}));
    QCOMPARE(must(store->pointsStored()), std::uint64_t{5});
    QCOMPARE(must(store->attempt(key))->lastSequence, std::uint64_t{6});
    std::vector<TelemetryBatch> foreign = {batchOf({"other", 1}, 1, {})};
    QVERIFY(must(store->ingest(foreign)).front().refused.has_value());
}

// Chunks of many series are encoded side by side, and a batch may name a series in several blocks.
void TestStore::oneBatchFillsManySeriesTwice() {
    QTemporaryDir dir;
    const AttemptKey key{"r", 1};
    auto store = openStore(dir);
    addAttempt(*store, key);
    std::vector<std::vector<Point>> want;
    for (unsigned s = 0; s < 40; ++s)
        want.push_back(randomPoints(2600 + 30 * s, s));
    std::vector<SeriesBlock> blocks;
    for (std::size_t part = 0; part < 3; ++part)
        for (std::size_t s = 0; s < want.size(); ++s) {
            const auto at = [&](std::size_t third) { return want[s].begin() + static_cast<std::ptrdiff_t>(want[s].size() * third / 3); };
            blocks.push_back({"s" + std::to_string(s), {at(part), at(part + 1)}});
        }
    std::vector<TelemetryBatch> batches = {batchOf(key, 1, std::move(blocks))};
    must(store->ingest(batches));
    for (std::size_t s = 0; s < want.size(); ++s)
        for (const std::uint32_t buckets : {0u, 40u}) {
            compareAll(query(*store, ask(key, "s" + std::to_string(s), buckets)).at(0), want[s], buckets);
            if (QTest::currentTestFailed())
                return;
        }
    store.reset();
    const auto report = must(store::checkStore(dir.filePath("store.db").toStdString(), {}));
    QCOMPARE(report.damages, std::uint64_t{0});
    QCOMPARE(report.points, std::accumulate(want.begin(), want.end(), std::uint64_t{0}, [](std::uint64_t sum, const auto& points) { return sum + points.size(); }));
}

void TestStore::manySeriesThroughTheLog() {
    // Long enough that the log is folded into snapshots several times; one series grows slowly, one stops.
    QTemporaryDir dir;
    const AttemptKey key{"r", 1};
    std::vector<std::vector<Point>> want(60);
    std::uint64_t sequence = 0;
    for (int part = 0; part < 4; ++part) {
        auto store = openStore(dir);
        if (part == 0)
            addAttempt(*store, key);
        std::vector<TelemetryBatch> batches;
        for (int i = 0; i < 3000; ++i) {
            std::vector<SeriesBlock> blocks;
            const std::int64_t step = part * 3000 + i;
            for (std::size_t s = 0; s < want.size(); ++s) {
                if ((s == 0 && i % 100 != 0) || (s == 1 && part > 1))
                    continue;
                const Point point{step, step * 2, step * 1000 + static_cast<std::int64_t>(s), std::sin(static_cast<double>(step) + static_cast<double>(s))};
                blocks.push_back({"s" + std::to_string(s), {point}});
                want[s].push_back(point);
            }
            batches.push_back(batchOf(key, ++sequence, std::move(blocks)));
        }
        must(store->ingest(batches));
    }
    auto store = openStore(dir);
    for (std::size_t s = 0; s < want.size(); ++s) {
        for (const std::uint32_t buckets : {0u, 40u}) {
            const auto segments = query(*store, ask(key, "s" + std::to_string(s), buckets));
            compareAll(segments.at(0), want[s], buckets);
            if (QTest::currentTestFailed())
                return;
        }
    }
}

void TestStore::outcomesSettleCommandsOnce() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const AttemptKey key{"r", 1};
    addAttempt(*store, key);
    Command command;
    command.id = newUuid();
    command.key = key;
    command.kind = CommandKind::SetMixture;
    command.mixture = {{"Code", 0.25}, {"WebText", 0.75}};
    command.restart.emplace();
    command.restart->checkpointStep = 7;
    command.restart->lrScale = 0.5;
    command.restart->mixture = Mixture{{"Code", 1.0}};
    command.state = CommandState::Accepted;
    command.requestedUs = 5;
    must(store->putCommand(command));
    QVERIFY(must(store->command(command.id)) == command);
    QCOMPARE(must(store->pendingCommands("r")).size(), std::size_t{1});
    std::vector<TelemetryBatch> batches = {batchOf(key, 1, {})};
    batches[0].outcomes = {{command.id, CommandState::Applied, 12, "done"}};
    auto done = must(store->ingest(batches));
    QCOMPARE(done[0].settled.size(), std::size_t{1});
    QCOMPARE(done[0].settled[0].appliedStep, std::int64_t{12});
    QVERIFY(must(store->pendingCommands("r")).empty());
    QVERIFY(!must(store->settleCommand({command.id, CommandState::Failed, -1, "late"})).has_value());
    QVERIFY(must(store->command(command.id))->state == CommandState::Applied);
    QCOMPARE(must(store->commands({"r", 0, 0})).size(), std::size_t{1});
}

void TestStore::recordsComeBack() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    must(store->addRun({"r", "what it is", 42, "uuid"}));
    AttemptInfo attempt;
    attempt.key = {"r", 1};
    attempt.configToml = "name = \"r\"\n";
    attempt.runDir = "/somewhere";
    attempt.startedUs = 9;
    must(store->addAttempt(attempt));
    attempt.state = AttemptState::Failed;
    attempt.stateText = "rank 1 died";
    attempt.pointsEmitted = 77;
    must(store->updateAttempt(attempt));
    const auto back = must(store->attempts("r"));
    QCOMPARE(back.size(), std::size_t{1});
    QVERIFY(back[0].state == AttemptState::Failed && back[0].stateText == "rank 1 died" && back[0].pointsEmitted == 77);
    QCOMPARE(back[0].configToml, attempt.configToml);
    for (int i = 0; i < 5; ++i) {
        Event event;
        event.key = attempt.key;
        event.text = "note " + std::to_string(i);
        event.facts = {{"by", "me"}};
        QCOMPARE(must(store->addEvent(event)).id, std::int64_t{i + 1});
    }
    QCOMPARE(must(store->events({"r", 0, 0})).size(), std::size_t{5});
    const auto newest = must(store->events({"r", 1, 2}));
    QCOMPARE(newest.size(), std::size_t{2});
    QCOMPARE(newest[0].text, std::string("note 3"));
    QCOMPARE(newest[1].facts.at("by"), std::string("me"));
    QVERIFY(must(store->events({"other", 0, 0})).empty());
}

void TestStore::killedWriterLosesNothingCommitted() {
    QTemporaryDir dir;
    const AttemptKey key{"r", 1};
    { addAttempt(*openStore(dir), key); }
    for (int round = 0; round < 4; ++round) {
        int acks[2];
        QCOMPARE(pipe(acks), 0);
        const pid_t child = fork();
        if (child == 0) { // writes until it is killed, and tells what was durable
            auto store = store::Store::open(dir.filePath("store.db").toStdString());
            std::uint64_t sequence = must((*store)->acknowledged(key, 0));
            for (;;) {
                std::vector<TelemetryBatch> batches;
                for (int i = 0; i < 20; ++i) {
                    ++sequence;
                    std::vector<Point> points;
                    for (std::int64_t p = 0; p < 50; ++p) {
                        const auto n = static_cast<std::int64_t>(sequence - 1) * 50 + p;
                        points.push_back({n, n, n, static_cast<double>(n)});
                    }
                    batches.push_back(batchOf(key, sequence, {{"x", std::move(points)}}));
                }
                const std::uint64_t acked = must((*store)->ingest(batches)).back().ack;
                if (write(acks[1], &acked, sizeof acked) != sizeof acked)
                    _exit(1);
            }
        }
        ::close(acks[1]);
        std::uint64_t acked = 0, next = 0;
        for (int i = 0; i < 15 + round * 7 && read(acks[0], &next, sizeof next) == sizeof next; ++i)
            acked = next;
        ::kill(child, SIGKILL);
        while (read(acks[0], &next, sizeof next) == sizeof next)
            acked = next;
        ::close(acks[0]);
        QCOMPARE(waitpid(child, nullptr, 0), child);
        auto store = openStore(dir);
        const std::uint64_t last = must(store->attempt(key))->lastSequence;
        QVERIFY2(acked > 0 && last >= acked, "an acknowledged batch is gone");
        std::vector<Point> want;
        for (std::int64_t n = 0; n < static_cast<std::int64_t>(last) * 50; ++n)
            want.push_back({n, n, n, static_cast<double>(n)});
        for (const std::uint32_t buckets : {0u, 50u}) {
            const auto segments = query(*store, ask(key, "x", buckets));
            compareAll(segments.at(0), want, buckets);
            if (QTest::currentTestFailed())
                return;
        }
    }
}

void TestStore::aFullDiskLosesNothing() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const AttemptKey key{"r", 1};
    addAttempt(*store, key);
    const std::vector<Point> points = randomPoints(30'000, 41);
    // Files may not grow beyond this: to SQLite the disk is full. The signal that comes with it is not wanted.
    const auto before = std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit small{400'000, limit.rlim_max};
    int refusals = 0;
    std::uint64_t sequence = 0;
    for (std::size_t at = 0; at < points.size(); at += 500) {
        std::vector<TelemetryBatch> batches = {
            batchOf(key, ++sequence, {{"x", {points.begin() + static_cast<std::ptrdiff_t>(at), points.begin() + static_cast<std::ptrdiff_t>(at + 500)}}})};
        if (at % 3000 == 1500)
            setrlimit(RLIMIT_FSIZE, &small);
        auto done = store->ingest(batches);
        setrlimit(RLIMIT_FSIZE, &limit);
        if (!done) {
            ++refusals;
            QVERIFY(done.error().code == ErrorCode::ResourceExhausted);
            done = store->ingest(batches); // there is space again
        }
        QVERIFY2(done && done->front().stored, done ? "not stored" : done.error().text().c_str());
    }
    std::signal(SIGXFSZ, before);
    QVERIFY(refusals > 0);
    for (const std::uint32_t buckets : {0u, 100u}) {
        compareAll(query(*store, ask(key, "x", buckets)).at(0), points, buckets);
        if (QTest::currentTestFailed())
            return;
    }
    store = openStore(dir);
    compareAll(query(*store, ask(key, "x", 0)).at(0), points, 0);
}

void TestStore::refusesForeignAndNewerFiles() {
    QTemporaryDir dir;
    { openStore(dir); }
    const std::string path = dir.filePath("store.db").toStdString();
    {
        store::Database db(path, store::Database::Mode::ReadWrite);
        db.execute("PRAGMA user_version=99");
    }
    const auto newer = store::Store::open(path);
    QVERIFY(!newer && newer.error().code == ErrorCode::VersionMismatch);
    QFile foreign(dir.filePath("foreign.db"));
    QVERIFY(foreign.open(QIODevice::WriteOnly));
    foreign.write(QByteArray(10'000, 'x'));
    foreign.close();
    const auto other = store::Store::open(foreign.fileName().toStdString());
    QVERIFY(!other && other.error().code == ErrorCode::DataLoss);
    QVERIFY(!store::Store::open("/proc/nowhere/store.db"));
}

QTEST_GUILESS_MAIN(TestStore)
#include "tst_store.moc"
