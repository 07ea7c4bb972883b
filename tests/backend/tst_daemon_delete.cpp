// SPDX-License-Identifier: Apache-2.0
// Runs are deleted through the daemon: refused in time, gone everywhere, files and rows by and by, whatever comes between.
#include <mutex>
#include <thread>

#include "daemon_rig.h"
#include "store/check.h"
#include "store/sqlite.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;

namespace {

DeleteRequest deletion(const std::string& run = "r", bool keepCheckpoints = false) {
    return {run, keepCheckpoints, false, "tester", "here", "its disk is needed"};
}

QString whyNot(Place& place, const DeleteRequest& request = deletion()) {
    const auto deleted = place.daemon->deleteRun(request);
    if (!deleted && deleted.error().code != ErrorCode::FailedPrecondition)
        qWarning("%s", deleted.error().text().c_str());
    return deleted ? QString("deleted") : QString::fromStdString(deleted.error().text());
}

/// A run with points and a checkpoint, ended.
void train(Place& place, int steps = 50) {
    must(place.daemon->startRun(place.request()));
    {
        FakeTrainer trainer(place);
        QVERIFY(place.becomes(AttemptState::Running));
        QVERIFY(whyNot(place).contains("is running; end it first: telehelmctl stop r"));
        trainer.steps(steps);
        writeCheckpoint(place, 1, 20);
        trainer.end("finished", "all steps are done");
        QVERIFY(trainer.link().flush(kPatience));
    }
    place.endJob();
    QVERIFY(place.becomes(AttemptState::Finished));
}

QStringList folders(const Place& place) {
    return QDir(place.dir.filePath("state/runs")).entryList(QDir::Dirs | QDir::Hidden | QDir::NoDotAndDotDot);
}

std::int64_t count(const Place& place, const char* sql) {
    store::Database db(place.dir.filePath("state/telehelm.db").toStdString(), store::Database::Mode::ReadOnly);
    store::Rows rows = db.query(sql);
    return rows.next() ? rows.integer(0) : -1;
}

bool isPurged(const Place& place) {
    return count(place, "SELECT count(*) FROM deleted_runs WHERE is_purged=0") == 0 && folders(place).filter(".deleted-").isEmpty();
}

bool isClean(const Place& place) {
    return must(store::checkStore(place.dir.filePath("state/telehelm.db").toStdString(), {})).damages == 0;
}

} // namespace

class TestDaemonDelete : public QObject {
    Q_OBJECT

private slots:
    void onlyAnEndedRunGoes();
    void aPendingRestartIsCalledOffFirst();
    void itIsGoneEverywhereAndItsNameIsFree();
    void checkpointsMayStay();
    void checkpointsThatOthersBeganAtStay();
    void aDeletionThatWasCutOffIsUndoneOrFinished();
};

void TestDaemonDelete::onlyAnEndedRunGoes() {
    Place place;
    const auto unknown = place.daemon->deleteRun(deletion("nobody"));
    QVERIFY(!unknown && unknown.error().code == ErrorCode::NotFound);
    must(place.daemon->startRun(place.request()));
    QVERIFY2(whyNot(place).contains("attempt 1 of run “r” is starting; end it first: telehelmctl stop r"), qPrintable(whyNot(place)));
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    const Command pause = must(place.daemon->submit(place.order(CommandKind::Pause)));
    trainer.answer(*trainer.take());
    QVERIFY(place.becomes(AttemptState::Paused));
    QVERIFY(whyNot(place).contains("is paused; end it first"));
    QCOMPARE(must(place.daemon->listRuns()).size(), std::size_t{1});
    place.endJob();
    QVERIFY(place.becomes(AttemptState::Stopped));
    DeleteRequest look = deletion();
    look.onlyLook = true;
    QTRY_VERIFY_WITH_TIMEOUT(place.daemon->deleteRun(look).has_value(), kPatience);
    QCOMPARE(must(place.daemon->listRuns()).size(), std::size_t{1});
    must(place.daemon->deleteRun(deletion()));
    QVERIFY(must(place.daemon->listRuns()).empty());
}

void TestDaemonDelete::aPendingRestartIsCalledOffFirst() {
    Place place;
    StartRequest request = place.request();
    request.configToml += "[restart_policy]\nmax_retries = 2\nbackoff_s = 600.0\n";
    must(place.daemon->startRun(request));
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    place.endJob(1, 1);
    QVERIFY(place.becomes(AttemptState::Failed));
    QTRY_VERIFY_WITH_TIMEOUT(whyNot(place).contains("a restart of run “r” is pending; call it off first: telehelmctl stop r"), kPatience);
    must(place.daemon->submit(place.order(CommandKind::Stop)));
    must(place.daemon->deleteRun(deletion()));
}

void TestDaemonDelete::itIsGoneEverywhereAndItsNameIsFree() {
    Place place;
    train(place, 5000);
    std::mutex mutex;
    std::optional<DeletedRun> heard;
    bool hasSeen = false, isOver = false;
    std::thread watcher([&] {
        (void)place.daemon->watch("", [&](WatchUpdate&& update) {
            const std::lock_guard lock(mutex);
            hasSeen = hasSeen || update.run;
            if (update.deleted)
                heard = update.deleted;
            return !isOver;
        });
    });
    (void)QTest::qWaitFor([&] { const std::lock_guard lock(mutex); return hasSeen; }, kPatience);
    const DeletedRun gone = must(place.daemon->deleteRun(deletion()));
    QVERIFY(gone.attempts == 1 && gone.points == 6000 && gone.checkpoints == 1 && gone.checkpointBytes == 5000 && gone.keptIn.empty());
    QVERIFY(gone.author == "tester" && gone.reason == "its disk is needed" && gone.deletedUs > 0);
    const auto again = place.daemon->deleteRun(deletion());
    QVERIFY(!again && again.error().code == ErrorCode::NotFound);
    QVERIFY(must(place.daemon->listRuns()).empty() && !place.daemon->getRun("r") && !place.daemon->listEvents({"r", 0, 0}));
    QVERIFY(must(place.daemon->listEvents({})).empty() && must(place.daemon->listCommands({})).empty() && !place.daemon->listCheckpoints("r"));
    QVERIFY(must(place.daemon->listDeletedRuns()) == std::vector{gone});
    QVERIFY(!place.daemon->listSeries({{"r", 1}, {}, {}, 0}) && !place.daemon->lineage("r") && must(place.daemon->status()).runs.empty());
    QCOMPARE(must(place.daemon->hello(kProtocolVersion, "test")).pointsStored, std::uint64_t{0});
    const bool hasHeard = QTest::qWaitFor([&] { const std::lock_guard lock(mutex); return heard == gone; }, kPatience);
    {
        const std::lock_guard lock(mutex);
        isOver = true;
    }
    watcher.join();
    QVERIFY(hasHeard);
    place.close(); // amidst the purge, as it may be
    place.open();
    QVERIFY(must(place.daemon->listRuns()).empty());
    train(place);
    QCOMPARE(must(place.daemon->listRuns()).at(0).run, std::string("r"));
    QCOMPARE(place.stored(1, 50), std::uint64_t{50});
    QVERIFY(isClean(place));
    QTRY_VERIFY_WITH_TIMEOUT(isPurged(place), kPatience);
    QCOMPARE(folders(place), QStringList{"r"});
    QCOMPARE(place.stored(1, 50), std::uint64_t{50});
    QCOMPARE(count(place, "SELECT count(*) FROM series WHERE attempt_id NOT IN (SELECT id FROM attempts)"), std::int64_t{0});
    QCOMPARE(count(place, "SELECT points FROM deleted_runs WHERE run='r' AND author='tester'"), std::int64_t{6000});
    const RunCounters counters = must(place.daemon->status()).runs.at(0);
    QVERIFY(counters.stored == 60 && counters.acked == 60 && counters.lost == 0 && counters.published == counters.storedSinceStart);
    QVERIFY(isClean(place));
}

void TestDaemonDelete::checkpointsMayStay() {
    Place place;
    train(place);
    const std::string path = must(place.daemon->listCheckpoints("r")).at(0).path;
    const DeletedRun gone = must(place.daemon->deleteRun(deletion("r", true)));
    QVERIFY(gone.checkpoints == 0 && path.starts_with(gone.keptIn) && QFile::exists(QString::fromStdString(path) + "/rank-0.bin"));
    QTRY_VERIFY_WITH_TIMEOUT(isPurged(place), kPatience);
    QVERIFY(!QDir(place.attemptDir()).exists() && QFile::exists(QString::fromStdString(path) + "/rank-0.bin"));
    // A new run of that name must not take them for its own, and is found again.
    must(place.daemon->startRun(place.request()));
    QVERIFY(QDir(place.attemptDir(1, "r-2")).exists());
    QVERIFY(must(place.daemon->listCheckpoints("r")).empty());
    QCOMPARE(must(place.daemon->startRun(place.request())).run, std::string("r-2")); // whose folder is another's
    QVERIFY(QDir(place.attemptDir(1, "r-2-2")).exists());
    place.close();
    place.open();
    QVERIFY(must(place.daemon->listCheckpoints("r")).empty());
    QCOMPARE(must(place.daemon->getRun("r")).newest()->runDir, place.attemptDir(1, "r-2").toStdString());
}

void TestDaemonDelete::checkpointsThatOthersBeganAtStay() {
    Place place;
    train(place);
    const std::string path = must(place.daemon->listCheckpoints("r")).at(0).path;
    StartRequest fork = place.request();
    fork.name = "fork";
    fork.configToml += "[resume]\ncheckpoint = \"" + path + "\"\n";
    must(place.daemon->startRun(fork));
    const QString why = whyNot(place);
    QVERIFY2(why.contains("attempt 1 of run “fork” began at a checkpoint of run “r” (a1-step-00000020); keep the checkpoints (--keep-checkpoints)"), qPrintable(why));
    QVERIFY(QFile::exists(QString::fromStdString(path)));
    const DeletedRun gone = must(place.daemon->deleteRun(deletion("r", true)));
    QVERIFY(!gone.keptIn.empty() && QFile::exists(QString::fromStdString(path)));
}

// The daemon dies after the folder was set aside: before the store has forgotten the run, and after.
void TestDaemonDelete::aDeletionThatWasCutOffIsUndoneOrFinished() {
    Place place;
    train(place);
    const QString runs = place.dir.filePath("state/runs/");
    place.close();
    QVERIFY(QDir().rename(runs + "r", runs + ".deleted-" + QString::fromStdString(newUuid()) + "-r"));
    place.open();
    QCOMPARE(folders(place), QStringList{"r"});
    QCOMPARE(must(place.daemon->listCheckpoints("r")).size(), std::size_t{1});
    QCOMPARE(place.stored(1, 50), std::uint64_t{50});
    const DeletedRun gone = must(place.daemon->deleteRun(deletion()));
    QTRY_VERIFY_WITH_TIMEOUT(isPurged(place), kPatience);
    place.close();
    writeFile(runs + ".deleted-" + QString::fromStdString(gone.id) + "-r/checkpoints/a1-step-1/rank-0.bin", "left");
    place.open();
    QTRY_VERIFY_WITH_TIMEOUT(isPurged(place), kPatience);
    QVERIFY(folders(place).isEmpty());
}

QTEST_GUILESS_MAIN(TestDaemonDelete)
#include "tst_daemon_delete.moc"
