// SPDX-License-Identifier: Apache-2.0
// A deleted run is gone at once, its rows go in pieces, and whatever dies meanwhile, all others stay as they are.
#include <csignal>
#include <filesystem>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/check.h"
#include "store/sqlite.h"
#include "store_rig.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;
namespace fs = std::filesystem;

namespace {

fs::path fileIn(const QTemporaryDir& dir) { return dir.filePath("store.db").toStdString(); }

DeletedRun deletion(const std::string& run) {
    DeletedRun record;
    record.id = newUuid();
    record.run = run;
    record.deletedUs = nowUs();
    record.author = "tester";
    record.reason = "its disk is needed";
    return record;
}

/// Bit by bit.
bool isStored(store::Store& store, const AttemptKey& key, const std::string& name, std::span<const Point> points) {
    std::size_t at = 0;
    for (const SeriesSegment& segment : query(store, ask(key, name, 0)))
        for (const Bucket& bucket : segment.buckets) {
            const Point got{bucket.firstStep, bucket.firstTokens, bucket.firstWallUs, bucket.first};
            if (at == points.size() || got.step != points[at].step || got.tokens != points[at].tokens || got.wallUs != points[at].wallUs ||
                std::bit_cast<std::uint64_t>(got.value) != std::bit_cast<std::uint64_t>(points[at].value))
                return false;
            ++at;
        }
    return at == points.size();
}

bool isClean(const QTemporaryDir& dir) {
    store::CheckOptions options;
    options.found = [](const store::Damage& damage) { qWarning("%s", damage.text().c_str()); };
    return must(store::checkStore(fileIn(dir), options)).damages == 0;
}

std::int64_t count(const QTemporaryDir& dir, const char* sql) {
    store::Database db(fileIn(dir), store::Database::Mode::ReadOnly);
    store::Rows rows = db.query(sql);
    return rows.next() ? rows.integer(0) : -1;
}

/// What a store holds when nothing of a deleted run is left: rows without an owner.
std::int64_t leftovers(const QTemporaryDir& dir) {
    return count(dir, "SELECT (SELECT count(*) FROM chunks WHERE series NOT IN (SELECT id FROM series)) + "
                      "(SELECT count(*) FROM series WHERE attempt_id NOT IN (SELECT id FROM attempts)) + "
                      "(SELECT count(*) FROM tail_log WHERE attempt_id NOT IN (SELECT id FROM attempts)) + "
                      "(SELECT count(*) FROM tail_open WHERE attempt_id NOT IN (SELECT id FROM attempts)) + "
                      "(SELECT count(*) FROM gaps WHERE attempt_id NOT IN (SELECT id FROM attempts)) + "
                      "(SELECT count(*) FROM events WHERE run NOT IN (SELECT run FROM runs)) + "
                      "(SELECT count(*) FROM commands WHERE run NOT IN (SELECT run FROM runs)) + (SELECT count(*) FROM deleted_attempts)");
}

Event note(const std::string& run, const std::string& text) {
    Event event;
    event.key = {run, 1};
    event.text = text;
    return event;
}

Command order(const std::string& run) {
    Command command;
    command.id = newUuid();
    command.key = {run, 1};
    command.requestedUs = nowUs();
    return command;
}

void purgeAll(store::Store& store) {
    while (must(store.purge())) {
    }
}

} // namespace

class TestStoreDelete : public QObject {
    Q_OBJECT

private slots:
    void aDeletedRunIsGoneAtOnceAndItsNameIsFree();
    void aRunningQueryGoesOnToItsEnd();
    void freedPagesAreUsedAgain();
    void aFullDiskIsNoReasonToRefuse();
    void killedAtAnyMoment_data();
    void killedAtAnyMoment();
};

void TestStoreDelete::aDeletedRunIsGoneAtOnceAndItsNameIsFree() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    const std::vector<Point> before = randomPoints(40'000, 1), other = randomPoints(30'000, 2), after = randomPoints(35'000, 3);
    for (const char* run : {"r", "other"})
        addAttempt(*store, {run, 1});
    addAttempt(*store, {"r", 2}, 1, 100);
    std::uint64_t sequence = ingest(*store, {"r", 1}, "x", before);
    ingest(*store, {"r", 2}, "x", randomPoints(3000, 4));
    ingest(*store, {"other", 1}, "x", other);
    std::vector<TelemetryBatch> late = {batchOf({"r", 1}, sequence + 5, {{"y", randomPoints(10, 5)}})}; // leaves a gap
    must(store->ingest(late));
    for (int i = 0; i < 300; ++i)
        must(store->addEvent(note("r", "before")));
    must(store->addEvent(note("other", "stays")));
    const Command ordered = order("r");
    must(store->putCommand(ordered));
    must(store->putCommand(order("other")));
    query(*store, ask({"r", 0}, "x", 500, 0.9)); // an EMA is remembered

    const DeletedRun record = must(store->deleteRun(deletion("r")));
    QCOMPARE(record.attempts, 2u);
    QCOMPARE(record.points, std::uint64_t{43'010});
    QVERIFY(!store->deleteRun(deletion("r")) && !store->deleteRun(deletion("never there")));
    const auto isGone = [&] {
        late[0].sequence += 1;
        return must(store->runs()).size() == 1 && must(store->attempts("r")).empty() && must(store->events({"r", 0, 0})).empty() &&
               must(store->events({"", 0, 0})).size() == 1 && must(store->commands({})).size() == 1 && !must(store->command(ordered.id)) &&
               !store->listSeries({{"r", 1}, {}, {}, 0}) && !store->lineage("r") && !store->acknowledged({"r", 1}, 1) &&
               !store->querySeries(ask({"r", 1}, "x", 0), [](SeriesSegment&&) { return true; }) &&
               must(store->pointsStored()) == other.size() && must(store->ingest(late)).at(0).refused->code == ErrorCode::NotFound;
    };
    QVERIFY(isGone());
    QVERIFY(isClean(dir));
    QVERIFY(count(dir, "SELECT count(*) FROM events WHERE run='r'") == 300); // hidden, not purged yet
    store.reset();
    store = openStore(dir); // the log of a deleted attempt is nobody's any more
    QVERIFY(isGone());
    QVERIFY(must(store->purge()));

    // The name belongs to another run while rows of the old one are still there; no id is given twice.
    addAttempt(*store, {"r", 1});
    must(store->addEvent(note("r", "after")));
    ingest(*store, {"r", 1}, "x", after);
    const auto isRight = [&] {
        const auto smooth = query(*store, ask({"r", 0}, "x", 400, 0.9));
        return isStored(*store, {"r", 1}, "x", after) && isStored(*store, {"other", 1}, "x", other) && must(store->events({"r", 0, 0})).size() == 1 &&
               close(smooth.at(0).buckets.back().smoothed, bruteEma(after, 0.9).back());
    };
    QVERIFY(isRight());
    while (must(store->purge()))
        QVERIFY(isClean(dir));
    QVERIFY(isRight());
    QCOMPARE(leftovers(dir), std::int64_t{0});
    store.reset();
    QVERIFY(isClean(dir));
    store = openStore(dir);
    QVERIFY(isRight());
    QVERIFY(!must(store->purge()));
    const auto records = must(store->deletedRuns());
    QCOMPARE(records.size(), std::size_t{1});
    QVERIFY(records[0] == record);
}

// It reads the moment at which it began.
void TestStoreDelete::aRunningQueryGoesOnToItsEnd() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    addAttempt(*store, {"r", 1});
    const std::vector<Point> points = randomPoints(30'000, 1);
    ingest(*store, {"r", 1}, "a", points);
    ingest(*store, {"r", 1}, "b", points, 1000);
    SeriesQuery both = ask({"r", 1}, "a", 0);
    both.names.push_back("b");
    std::size_t got = 0;
    must(store->querySeries(both, [&](SeriesSegment&& segment) {
        if (got == 0) {
            must(store->deleteRun(deletion("r")));
            purgeAll(*store);
        }
        got += segment.buckets.size();
        return segment.missing.empty();
    }));
    QCOMPARE(got, 2 * points.size());
    QCOMPARE(leftovers(dir), std::int64_t{0});
}

void TestStoreDelete::freedPagesAreUsedAgain() {
    QTemporaryDir dir;
    std::uintmax_t first = 0;
    for (int round = 0; round < 3; ++round) {
        auto store = openStore(dir);
        addAttempt(*store, {"r", 1});
        ingest(*store, {"r", 1}, "x", randomPoints(200'000, static_cast<unsigned>(round)));
        must(store->deleteRun(deletion("r")));
        purgeAll(*store);
        store.reset();
        QVERIFY(isClean(dir));
        const auto bytes = fs::file_size(fileIn(dir));
        first = first == 0 ? bytes : first;
        QVERIFY2(bytes < first + first / 10, qPrintable(QString("%1 bytes, then %2").arg(first).arg(bytes)));
    }
}

// As tst_store's aFullDiskLosesNothing(): no file may grow beyond the limit, and it is the log that reaches it.
void TestStoreDelete::aFullDiskIsNoReasonToRefuse() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    for (const char* run : {"r", "other"})
        addAttempt(*store, {run, 1});
    const std::vector<Point> points = randomPoints(1000, 1);
    ingest(*store, {"r", 1}, "x", points);
    const auto before = std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit small{500'000, limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    std::uint64_t stored = 0;
    for (bool isFull = false; !isFull && stored < points.size(); stored += isFull ? 0 : 1) {
        std::vector<TelemetryBatch> batch = {batchOf({"other", 1}, stored + 1, {{"x", {points[stored]}}})};
        isFull = !store->ingest(batch);
    }
    const auto deleted = store->deleteRun(deletion("r"));
    setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, before);
    QVERIFY(stored < points.size());
    QVERIFY2(deleted, deleted ? "" : deleted.error().text().c_str());
    purgeAll(*store);
    QVERIFY(isStored(*store, {"other", 1}, "x", std::span(points).first(stored)));
    store.reset();
    QVERIFY(isClean(dir) && leftovers(dir) == 0);
}

void TestStoreDelete::killedAtAnyMoment_data() {
    QTest::addColumn<unsigned>("seed");
    for (unsigned seed = 1; seed <= 3; ++seed)
        QTest::addRow("seed %u", seed) << seed;
}

// A child deletes, purges, and stores points of another run in between, until it is killed.
void TestStoreDelete::killedAtAnyMoment() {
    QFETCH(unsigned, seed);
    std::mt19937 random(seed);
    QTemporaryDir dir;
    const std::vector<Point> kept = randomPoints(60'000, seed), live = randomPoints(400'000, seed + 1), doomed = randomPoints(150'000, seed + 2);
    {
        auto store = openStore(dir);
        for (const char* run : {"kept", "live", "doomed"})
            addAttempt(*store, {run, 1});
        ingest(*store, {"kept", 1}, "x", kept);
        ingest(*store, {"doomed", 1}, "x", doomed);
        std::vector<SeriesBlock> many;
        for (int i = 0; i < 500; ++i)
            many.push_back({"many/" + std::to_string(i), randomPoints(30, static_cast<unsigned>(i))});
        std::vector<TelemetryBatch> batch = {batchOf({"doomed", 1}, 100'000, many)};
        must(store->ingest(batch));
        for (int i = 0; i < 500; ++i)
            must(store->addEvent(note("doomed", "an event")));
    }
    constexpr std::size_t kBatch = 100;
    const auto work = [&] {
        auto store = openStore(dir);
        std::uint64_t last = must(store->attempt({"live", 1}))->lastSequence;
        const auto push = [&] {
            const auto from = live.begin() + static_cast<std::ptrdiff_t>(last * kBatch);
            std::vector<TelemetryBatch> batch = {batchOf({"live", 1}, ++last, {{"x", {from, from + kBatch}}})};
            must(store->ingest(batch));
        };
        push();
        if (!must(store->attempts("doomed")).empty())
            must(store->deleteRun(deletion("doomed")));
        for (bool hasMore = true; hasMore; push())
            hasMore = must(store->purge());
    };
    int rounds = 0, amidst = 0; // of the purge
    for (bool isOver = false; !isOver; ++rounds) {
        const pid_t child = fork();
        if (child == 0) {
            work();
            _exit(0); // not closed either
        }
        ::usleep(static_cast<useconds_t>(random() % 40'000));
        ::kill(child, SIGKILL);
        int status = 0;
        QCOMPARE(waitpid(child, &status, 0), child);
        QVERIFY(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        isOver = WIFEXITED(status);
        QVERIFY(isClean(dir));
        auto store = openStore(dir);
        const std::uint64_t last = must(store->attempt({"live", 1}))->lastSequence;
        QVERIFY(isStored(*store, {"kept", 1}, "x", kept));
        QVERIFY(isStored(*store, {"live", 1}, "x", std::span(live).first(last * kBatch)));
        if (must(store->deletedRuns()).empty()) { // then it is whole
            QVERIFY(isStored(*store, {"doomed", 1}, "x", doomed));
            QCOMPARE(must(store->events({"doomed", 0, 0})).size(), std::size_t{500});
        } else {
            QVERIFY(must(store->attempts("doomed")).empty() && must(store->events({"doomed", 0, 0})).empty());
            amidst += leftovers(dir) > 0 ? 1 : 0;
        }
        QVERIFY(rounds < 1000);
    }
    QCOMPARE(leftovers(dir), std::int64_t{0});
    qInfo("killed %d times, %d of them amidst the purge", rounds - 1, amidst);
}

QTEST_GUILESS_MAIN(TestStoreDelete)
#include "tst_store_delete.moc"
