// SPDX-License-Identifier: Apache-2.0
// Damage of every kind: what `check` says, what it mends, and that everything else stays readable. Besides: an old store,
// passes, several runs, and what branches cost.
#include <filesystem>
#include <fstream>

#include <sys/wait.h>
#include <unistd.h>

#include "store/check.h"
#include "store/ema.h"
#include "store/sqlite.h"
#include "store_rig.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;
namespace fs = std::filesystem;

namespace {

const AttemptKey kKey{"r", 1};

struct Checked {
    store::CheckReport report;
    std::vector<store::Damage> damage;
};

Checked check(const fs::path& file, bool repair = false) {
    Checked checked;
    store::CheckOptions options;
    options.repair = repair;
    options.found = [&](const store::Damage& damage) { checked.damage.push_back(damage); };
    checked.report = must(store::checkStore(file, options));
    return checked;
}

fs::path fileIn(const QTemporaryDir& dir) { return dir.filePath("store.db").toStdString(); }

// 20,000 points of x (19 chunks and an open end), 500 of y.
std::vector<Point> fill(const QTemporaryDir& dir) {
    auto store = openStore(dir);
    addAttempt(*store, kKey);
    const std::vector<Point> points = randomPoints(20'000, 3);
    const std::uint64_t last = ingest(*store, kKey, "x", points);
    ingest(*store, kKey, "y", randomPoints(500, 4), last);
    return points;
}

// One byte in the middle of a chunk's BLOB turns.
void damageChunk(const fs::path& file, int level, int chunk, const std::string& table = "chunks", const std::string& where = {}) {
    store::Database db(file, store::Database::Mode::ReadWrite);
    const std::string condition =
        where.empty() ? "series=1 AND level=" + std::to_string(level) + " AND idx=" + std::to_string(chunk) : where;
    std::string body;
    for (store::Rows rows = db.query(("SELECT body FROM " + table + " WHERE " + condition).c_str()); rows.next();)
        body = rows.blob(0);
    QVERIFY(!body.empty());
    body[body.size() / 2] = static_cast<char>(body[body.size() / 2] ^ 0x5a);
    db.run(("UPDATE " + table + " SET body=? WHERE " + condition).c_str(), store::Blob{body});
}

} // namespace

class TestStoreCheck : public QObject {
    Q_OBJECT

private slots:
    void aWholeStoreIsClean();
    void aDamagedChunkCostsOnlyItself();
    void damagedSummariesAreMadeAgain();
    void aMissingSummaryIsMadeAgain();
    void aDamagedLogRowIsNamedAndTheRestGoesOn();
    void aDamagedTailIsNamedAndTheRestGoesOn();
    void aCutWriteAheadLogIsNoticed();
    void damagedPagesAreToldInOneSentence();
    void refusesWhatItCannotRead();
    void anOlderStoreIsMigrated_data();
    void anOlderStoreIsMigrated();
    void passesGoFromCoarseToFine();
    void severalRunsInOneQuery();
    void branchesTellWhatTheyCost();
    void smoothingStaysWithinItsMemory();
};

void TestStoreCheck::aWholeStoreIsClean() {
    QTemporaryDir dir;
    fill(dir);
    const Checked checked = check(fileIn(dir));
    QVERIFY2(checked.damage.empty(), checked.damage.empty() ? "" : checked.damage[0].text().c_str());
    QCOMPARE(checked.report.points, std::uint64_t{20'500});
    QCOMPARE(checked.report.chunks, std::uint64_t{19});
    QCOMPARE(checked.report.series, std::uint64_t{2});
    auto store = openStore(dir); // beside a daemon, with points in the log only
    ingest(*store, kKey, "z", randomPoints(700, 5), must(store->attempt(kKey))->lastSequence);
    QCOMPARE(check(fileIn(dir)).report.points, std::uint64_t{21'200});
    QCOMPARE(check(fileIn(dir)).report.damages, std::uint64_t{0});
}

void TestStoreCheck::aDamagedChunkCostsOnlyItself() {
    QTemporaryDir dir;
    const std::vector<Point> points = fill(dir);
    damageChunk(fileIn(dir), 0, 7);
    const Checked found = check(fileIn(dir));
    QCOMPARE(found.damage.size(), std::size_t{1});
    const store::Damage& damage = found.damage[0];
    QVERIFY(damage.run == "r" && damage.attempt == 1 && damage.series == "x" && damage.level == 0 && damage.chunk == 7);
    QVERIFY(damage.pointsLost == 1024 && damage.firstStep == points[7 * 1024].step && damage.lastStep == points[8 * 1024 - 1].step);
    QVERIFY2(damage.text().find("run “r”, attempt 1, series “x”, level 0, chunk 7: ") == 0, damage.text().c_str());

    auto store = openStore(dir);
    // Raw: the rest comes point by point, the damaged chunk as its summary by 16, and the answer says so.
    const auto raw = query(*store, ask(kKey, "x", 0)).at(0);
    QCOMPARE(raw.buckets.size(), std::size_t{20'000 - 1024 + 64});
    QCOMPARE(raw.missing.size(), std::size_t{1});
    QVERIFY(raw.missing[0].points == 1024 && raw.missing[0].firstStep == points[7 * 1024].step);
    for (std::size_t i = 0; i < 64; ++i)
        compare(raw.buckets[7 * 1024 + i], bruteBucket(std::span(points).subspan(7 * 1024 + i * 16, 16)));
    compare(raw.buckets.back(), bruteBucket(std::span(points).last(1)));
    // Coarser: nothing is missing at all.
    const auto coarse = query(*store, ask(kKey, "x", 300, 0.9)).at(0);
    QVERIFY(coarse.missing.empty());
    compareAll(coarse, points, 300);
    // With its summary gone too, what is left is right, and what is not is named.
    store.reset();
    damageChunk(fileIn(dir), 1, 7);
    store = openStore(dir);
    const auto both = query(*store, ask(kKey, "x", 0)).at(0);
    QCOMPARE(both.buckets.size(), std::size_t{20'000 - 1024});
    QCOMPARE(both.missing.at(0).points, std::uint64_t{1024});
    QCOMPARE(query(*store, ask(kKey, "x", 0, 0.9)).at(0).buckets.size(), both.buckets.size());
    compareAll(query(*store, ask(kKey, "x", 1)).at(0), points, 1); // level 2 knows them still
    if (QTest::currentTestFailed())
        return;
    store.reset();

    const Checked repaired = check(fileIn(dir), true);
    QCOMPARE(repaired.report.damages, repaired.report.mended);
    const Checked after = check(fileIn(dir));
    QVERIFY2(after.damage.empty(), after.damage.empty() ? "" : after.damage[0].text().c_str());
    QCOMPARE(after.report.knownPointsLost, std::uint64_t{1024});
    store = openStore(dir);
    QCOMPARE(query(*store, ask(kKey, "x", 0)).at(0).missing.at(0).points, std::uint64_t{1024});
    ingest(*store, kKey, "x", randomPoints(5000, 9), must(store->attempt(kKey))->lastSequence); // and it grows on
    QCOMPARE(check(fileIn(dir)).report.damages, std::uint64_t{0});
}

void TestStoreCheck::damagedSummariesAreMadeAgain() {
    QTemporaryDir dir;
    const std::vector<Point> points = fill(dir);
    damageChunk(fileIn(dir), 1, 4);
    damageChunk(fileIn(dir), 2, 0);
    {
        auto store = openStore(dir); // chunks 1/4 and 2/0 are made again while it answers
        for (const std::uint32_t buckets : {1u, 20u, 70u})
            compareAll(query(*store, ask(kKey, "x", buckets)).at(0), points, buckets);
        if (QTest::currentTestFailed())
            return;
    }
    { // a summary that says something else, with a right checksum
        store::Database db(fileIn(dir), store::Database::Mode::ReadWrite);
        db.execute("UPDATE chunks SET body=(SELECT body FROM chunks WHERE series=1 AND level=1 AND idx=9) WHERE series=1 AND level=1 AND idx=10");
    }
    const Checked found = check(fileIn(dir));
    QCOMPARE(found.damage.size(), std::size_t{3});
    QCOMPARE(found.report.pointsLost, std::uint64_t{0});
    const Checked repaired = check(fileIn(dir), true);
    QVERIFY(repaired.report.damages == 3 && repaired.report.mended == 3);
    QCOMPARE(check(fileIn(dir)).report.damages, std::uint64_t{0});
    auto store = openStore(dir);
    for (const std::uint32_t buckets : {1u, 20u, 300u, 1200u})
        compareAll(query(*store, ask(kKey, "x", buckets)).at(0), points, buckets);
}

void TestStoreCheck::aMissingSummaryIsMadeAgain() {
    QTemporaryDir dir;
    const std::vector<Point> points = fill(dir);
    {
        store::Database db(fileIn(dir), store::Database::Mode::ReadWrite);
        db.execute("DELETE FROM chunks WHERE level>0");
    }
    QCOMPARE(check(fileIn(dir)).report.damages, std::uint64_t{19 + 1});
    QCOMPARE(check(fileIn(dir), true).report.mended, std::uint64_t{20});
    QCOMPARE(check(fileIn(dir)).report.damages, std::uint64_t{0});
    auto store = openStore(dir);
    compareAll(query(*store, ask(kKey, "x", 100)).at(0), points, 100);
}

void TestStoreCheck::aDamagedLogRowIsNamedAndTheRestGoesOn() {
    QTemporaryDir dir;
    const std::vector<Point> points = randomPoints(3000, 8);
    const auto part = [&](std::size_t from, std::size_t to) {
        return std::vector<Point>(points.begin() + static_cast<std::ptrdiff_t>(from), points.begin() + static_cast<std::ptrdiff_t>(to));
    };
    if (const pid_t child = fork(); child == 0) { // ends without folding: its points are in the log
        auto store = openStore(dir);
        addAttempt(*store, kKey);
        for (std::uint64_t i = 0; i < 6; ++i) {
            std::vector<TelemetryBatch> batch = {batchOf(kKey, i + 1, {{"x", part(i * 500, i * 500 + 500)}})};
            must(store->ingest(batch));
        }
        _exit(0);
    } else
        QCOMPARE(waitpid(child, nullptr, 0), child);
    damageChunk(fileIn(dir), 0, 0, "tail_log", "id=5"); // points 2000 … 2499; chunks have the first 2048
    const Checked found = check(fileIn(dir));
    QVERIFY(!found.damage.empty());
    QVERIFY2(found.damage[0].text().find("log row 5") != std::string::npos && found.damage[0].pointsLost == 500, found.damage[0].text().c_str());
    std::vector<Point> want = part(0, 2048);
    for (const Point& point : part(2500, 3000))
        want.push_back(point);
    auto store = openStore(dir); // folds: what can be read becomes the series, the row goes aside
    compareAll(query(*store, ask(kKey, "x", 0)).at(0), want, 0);
    if (QTest::currentTestFailed())
        return;
    const std::vector<Point> more = randomPoints(2000, 10);
    ingest(*store, kKey, "x", more, 6);
    want.insert(want.end(), more.begin(), more.end());
    store.reset();
    store = openStore(dir);
    for (const std::uint32_t buckets : {0u, 40u})
        compareAll(query(*store, ask(kKey, "x", buckets)).at(0), want, buckets);
}

void TestStoreCheck::aDamagedTailIsNamedAndTheRestGoesOn() {
    QTemporaryDir dir;
    std::vector<Point> want = fill(dir); // closed: the open ends are in tail_open
    damageChunk(fileIn(dir), 0, 0, "tail_open", "series=1");
    const Checked found = check(fileIn(dir));
    QCOMPARE(found.damage.size(), std::size_t{1});
    QCOMPARE(found.damage[0].pointsLost, std::uint64_t{20'000 % 1024});
    auto store = openStore(dir);
    const auto raw = query(*store, ask(kKey, "x", 0)).at(0);
    QVERIFY(raw.buckets.size() == 19 * 1024 && raw.missing.at(0).points == 20'000 % 1024);
    QCOMPARE(query(*store, ask(kKey, "y", 0)).at(0).buckets.size(), std::size_t{500});
    want.resize(19 * 1024);
    std::uint64_t sequence = must(store->attempt(kKey))->lastSequence;
    for (unsigned round = 0; round < 8; ++round) { // new points go on behind what is left, and survive crashes
        const std::vector<Point> more = randomPoints(300, 30 + round);
        store.reset();
        const pid_t child = fork();
        if (child == 0) {
            std::vector<TelemetryBatch> batch = {batchOf(kKey, sequence + 1, {{"x", more}})};
            auto mine = openStore(dir);
            must(mine->ingest(batch));
            _exit(0);
        }
        QCOMPARE(waitpid(child, nullptr, 0), child);
        ++sequence;
        want.insert(want.end(), more.begin(), more.end());
        store = openStore(dir);
        compareAll(query(*store, ask(kKey, "x", 0)).at(0), want, 0);
        if (QTest::currentTestFailed())
            return;
    }
    const Checked after = check(fileIn(dir));
    QVERIFY2(after.damage.empty(), after.damage.empty() ? "" : after.damage[0].text().c_str());
    QCOMPARE(after.report.knownPointsLost, std::uint64_t{20'000 % 1024});
}

void TestStoreCheck::aCutWriteAheadLogIsNoticed() {
    QTemporaryDir dir, copy;
    fill(dir);
    auto store = openStore(dir);
    std::uint64_t sequence = must(store->attempt(kKey))->lastSequence;
    for (int i = 0; i < 10; ++i)
        sequence = ingest(*store, kKey, "x", randomPoints(100, 40), sequence);
    for (const char* suffix : {"", "-wal", "-mark"})
        fs::copy_file(fileIn(dir).string() + suffix, fileIn(copy).string() + suffix);
    fs::resize_file(fileIn(copy).string() + "-wal", fs::file_size(fileIn(copy).string() + "-wal") / 2);
    const Checked found = check(fileIn(copy));
    QVERIFY(!found.damage.empty());
    QVERIFY2(found.damage[0].text().find("transactions are gone: store.db-wal was cut off") != std::string::npos, found.damage[0].text().c_str());
    auto cut = openStore(copy);
    QCOMPARE(cut->notices().size(), std::size_t{1});
    QVERIFY(cut->notices()[0].find("has lost its last") != std::string::npos);
    QVERIFY(query(*cut, ask(kKey, "x", 0)).at(0).buckets.size() >= 20'000); // the rest is there
    cut.reset();
    QCOMPARE(check(fileIn(copy)).report.damages, std::uint64_t{0}); // told once, then known
    QVERIFY(openStore(copy)->notices().empty());
}

// Zeros over some pages of the file, as a failing disk leaves them.
void TestStoreCheck::damagedPagesAreToldInOneSentence() {
    QTemporaryDir dir;
    const std::vector<Point> points = fill(dir);
    int answered = 0;
    const auto size = static_cast<std::streamoff>(fs::file_size(fileIn(dir)));
    for (std::streamoff page = 20; page < size / 4096; page += 9) {
        QTemporaryDir copyDir;
        fs::copy_file(fileIn(dir), fileIn(copyDir));
        {
            std::fstream file(fileIn(copyDir), std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(page * 4096);
            file.write(std::string(4096, '\0').data(), 4096);
        }
        const auto report = store::checkStore(fileIn(copyDir), {});
        QVERIFY(report || report.error().code == ErrorCode::DataLoss);
        const bool isClean = report && report->damages == 0; // the page was free
        auto store = store::Store::open(fileIn(copyDir));
        if (!store)
            continue;
        std::size_t got = 0;
        std::size_t missing = 0;
        const auto done = (*store)->querySeries(ask(kKey, "x", 0), [&](SeriesSegment&& segment) {
            for (const Bucket& bucket : segment.buckets)
                got += bucket.count;
            missing += segment.missing.size();
            return true;
        });
        QVERIFY(!isClean || (done && got == points.size() && missing == 0));
        if (done && got >= points.size() - 2048)
            ++answered;
        else if (!done)
            QVERIFY2(done.error().text().find("telehelmd check") != std::string::npos, done.error().text().c_str());
    }
    QVERIFY2(answered > 10, qPrintable(QString::number(answered)));
}

void TestStoreCheck::refusesWhatItCannotRead() {
    QTemporaryDir dir;
    QVERIFY(store::checkStore(fileIn(dir), {}).error().code == ErrorCode::NotFound);
    fill(dir);
    {
        store::Database db(fileIn(dir), store::Database::Mode::ReadWrite);
        db.execute("PRAGMA user_version=99");
    }
    const auto newer = store::checkStore(fileIn(dir), {});
    QVERIFY(!newer && newer.error().code == ErrorCode::VersionMismatch);
    QVERIFY(newer.error().text().find("newer Telehelm") != std::string::npos);
}

void TestStoreCheck::anOlderStoreIsMigrated_data() {
    QTest::addColumn<int>("version");
    for (const int version : {1, 2})
        QTest::addRow("version %d", version) << version;
}

void TestStoreCheck::anOlderStoreIsMigrated() {
    QFETCH(int, version);
    QTemporaryDir dir;
    QFile golden(QString::fromLocal8Bit(qgetenv("TELEHELM_SOURCE")) + QString("/tests/golden/store_v%1.qz").arg(version));
    QVERIFY2(golden.open(QIODevice::ReadOnly), qPrintable(golden.fileName()));
    QFile old(dir.filePath("store.db"));
    QVERIFY(old.open(QIODevice::WriteOnly));
    old.write(qUncompress(golden.readAll()));
    old.close();
    const auto before = store::checkStore(fileIn(dir), {});
    QVERIFY(!before && before.error().text().find("older version " + std::to_string(version)) != std::string::npos);
    auto store = openStore(dir);
    const AttemptKey key{"old", 1};
    const auto point = [](std::int64_t n) { return Point{n, n * 10, n * 100, n % 997 == 5 ? kNaN : static_cast<double>(n % 64) * 0.25}; };
    std::vector<Point> x, y;
    for (std::int64_t n = 0; n < 9000; ++n)
        x.push_back(point(n));
    for (std::int64_t n = 0; n < 700; ++n)
        y.push_back({n, n * 10, n * 100, -static_cast<double>(n)});
    for (const std::uint32_t buckets : {0u, 5u, 500u}) {
        compareAll(query(*store, ask(key, "x", buckets)).at(0), x, buckets);
        compareAll(query(*store, ask(key, "y", buckets)).at(0), y, buckets);
        if (QTest::currentTestFailed())
            return;
    }
    QCOMPARE(must(store->listSeries({key, "*", {}, 0})).series.at(0).points, std::uint64_t{50}); // "late"
    QCOMPARE(must(store->events({"old", 0, 0})).at(0).text, std::string("a note"));
    for (std::int64_t n = 9000; n < 12'000; ++n)
        x.push_back(point(n));
    ingest(*store, key, "x", {x.begin() + 9000, x.end()}, must(store->attempt(key))->lastSequence);
    compareAll(query(*store, ask(key, "x", 0)).at(0), x, 0);
    if (version == 2) { // has a second run, which must not notice that the first one goes
        DeletedRun record;
        record.id = newUuid();
        record.run = "old";
        must(store->deleteRun(record));
        while (must(store->purge())) {
        }
        x.resize(9000);
        compareAll(query(*store, ask({"other", 1}, "x", 0)).at(0), x, 0);
        QVERIFY(must(store->events({"old", 0, 0})).empty() && must(store->commands({})).size() == 1);
        QCOMPARE(must(store->gaps({"other", 1})), std::vector<store::SequenceGap>({{2, 2}}));
    }
    store.reset();
    const Checked after = check(fileIn(dir));
    QVERIFY2(after.damage.empty(), after.damage.empty() ? "" : after.damage[0].text().c_str());
}

void TestStoreCheck::passesGoFromCoarseToFine() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    addAttempt(*store, kKey);
    const std::vector<Point> points = randomPoints(100'000, 3);
    ingest(*store, kKey, "x", points);
    SeriesQuery wanted = ask(kKey, "x", 4000, 0.9);
    wanted.firstBuckets = 30;
    const auto segments = query(*store, wanted);
    QCOMPARE(segments.size(), std::size_t{3}); // 30, 480, 4000
    for (std::size_t pass = 0; pass < 3; ++pass) {
        QCOMPARE(segments[pass].pass, static_cast<std::uint32_t>(pass));
        QCOMPARE(segments[pass].isLastPass, pass == 2);
        compareAll(segments[pass], points, std::array{30u, 480u, 4000u}[pass]);
        if (QTest::currentTestFailed())
            return;
    }
    QVERIFY(std::isnan(segments[0].buckets.back().smoothed)); // nobody has gone through all points yet
    const std::vector<double> ema = bruteEma(points, 0.9);
    QVERIFY(close(segments[2].buckets.back().smoothed, ema.back()));
    QVERIFY(close(query(*store, wanted)[0].buckets.back().smoothed, ema.back())); // now it is known
    wanted.maxBuckets = 0;
    const auto raw = query(*store, wanted);
    QVERIFY(raw.size() == 4 && raw.back().isLastPass && raw.back().buckets.size() == points.size());
    wanted.maxBuckets = 100; // hardly finer: one pass
    QCOMPARE(query(*store, wanted).size(), std::size_t{1});
}

void TestStoreCheck::severalRunsInOneQuery() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    SeriesQuery wanted = ask({"a", 0}, "x", 50);
    for (const char* run : {"a", "b", "c"}) {
        addAttempt(*store, {run, 1});
        ingest(*store, {run, 1}, "x", randomPoints(5000, static_cast<unsigned>(run[0])));
        ingest(*store, {run, 1}, "y", randomPoints(50, 1), 100);
        if (run[0] != 'a')
            wanted.also.push_back({run, 0});
    }
    wanted.names.push_back("y");
    const auto segments = query(*store, wanted);
    QCOMPARE(segments.size(), std::size_t{6});
    for (std::size_t i = 0; i < 6; ++i) {
        QCOMPARE(segments[i].key.run, std::string(1, static_cast<char>('a' + i / 2)));
        if (i % 2 == 0)
            compareAll(segments[i], randomPoints(5000, static_cast<unsigned>('a' + i / 2)), 50);
    }
    wanted.also.push_back({"none", 0});
    QVERIFY(!store->querySeries(wanted, [](SeriesSegment&&) { return true; }));
}

void TestStoreCheck::branchesTellWhatTheyCost() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    // Attempt, parent, fork step, steps that it has points of; a step takes 1 s and 100 tokens.
    const std::int64_t us = 1'000'000;
    const auto launch = [&](std::uint32_t number, std::uint32_t parent, std::int64_t fork, std::int64_t to, std::int64_t startS) {
        const AttemptKey key{"r", number};
        if (number == 1)
            must(store->addRun({"r", "", 1, ""}));
        AttemptInfo info;
        info.key = key;
        info.parent = parent;
        info.forkStep = fork;
        info.startedUs = startS * us;
        must(store->addAttempt(info));
        std::vector<Point> points;
        for (std::int64_t step = fork + 1; step <= to; ++step)
            points.push_back({step, step * 100, (startS + step - fork) * us, 1.0});
        ingest(*store, key, "train/loss", points);
        AttemptInfo ended = *must(store->attempt(key));
        ended.endedUs = (startS + to - fork + 5) * us; // five seconds to die
        must(store->updateAttempt(ended));
    };
    launch(1, 0, 0, 3000, 0);        // 2001 … 3000 are given up for attempt 3
    launch(2, 1, 2500, 2600, 4000);  // never became the curve
    launch(3, 1, 2000, 5000, 5000);  // 4501 … 5000 are given up for attempt 4
    launch(4, 3, 4500, 4700, 9000);
    const LineageInfo lineage = must(store->lineage("r"));
    QCOMPARE(lineage.branches.size(), std::size_t{4});
    const LineageBranch &first = lineage.branches[0], &second = lineage.branches[1], &third = lineage.branches[2], &last = lineage.branches[3];
    QVERIFY(first.isEffective && first.effectiveTo == 2000 && first.cutBy == 3 && first.abandonedFrom == 2001 && first.abandonedTo == 3000);
    QVERIFY(first.lostSteps == 1000 && first.lostTokens == 100'000 && first.lostWallUs == 1005 * us);
    QVERIFY(!second.isEffective && second.abandonedFrom == 2501 && second.abandonedTo == 2600);
    QVERIFY(second.lostSteps == 100 && second.lostTokens == 10'000 && second.lostWallUs == 105 * us);
    QVERIFY(third.isEffective && third.cutBy == 4 && third.effectiveTo == 4500 && third.lostSteps == 500 && third.lostTokens == 50'000);
    QVERIFY(last.isEffective && last.cutBy == 0 && last.effectiveTo == 4700 && last.lostSteps == 0 && last.lostWallUs == 0);
    QVERIFY(lineage.lostSteps == 1600 && lineage.lostTokens == 160'000);
    QVERIFY(!store->lineage("none"));
}

void TestStoreCheck::smoothingStaysWithinItsMemory() {
    QTemporaryDir dir;
    fill(dir);
    store::Database db(fileIn(dir), store::Database::Mode::ReadOnly);
    store::EmaCache cache(10'000); // bytes; one curve of 20,000 points takes 1,264
    for (int i = 1; i <= 200; ++i) {
        store::SeriesReader reader(db, {1, 20'000, 20'000, {}});
        const std::uint64_t end = reader.size();
        QCOMPARE(cache.at(reader, i / 201.0, {}, std::span(&end, 1)).size(), std::size_t{1});
        QVERIFY(cache.bytes() <= 10'000);
    }
    QVERIFY(cache.bytes() > 5000);
}

QTEST_GUILESS_MAIN(TestStoreCheck)
#include "tst_store_check.moc"
