// SPDX-License-Identifier: Apache-2.0
// A store that cannot be written or has been damaged, under a daemon that a trainer feeds at full speed: one clear message, everything else
// stays readable, the trainer goes on, and what it could not deliver comes when the trouble is over.
#include <QDir>
#include <QFile>
#include <QTest>

#include <sys/statvfs.h>

#include "crash_rig.h"
#include "program_rig.h"
#include "store/sqlite.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

constexpr int kVictim = 3; // the series whose chunk is damaged

QString megabytesUsed(const QString& folder, double more) {
    struct statvfs info {};
    if (statvfs(qPrintable(folder), &info) != 0)
        qFatal("%s cannot be looked at", qPrintable(folder));
    const double used = static_cast<double>(info.f_blocks - info.f_bfree) * static_cast<double>(info.f_frsize);
    return QString("size=%1k").arg(static_cast<qint64>(used / 1024 + more * 1024));
}

/// The store while no daemon has it.
std::int64_t change(const QString& store, const char* sql, const char* ask = nullptr) {
    store::Database db(store.toStdString(), store::Database::Mode::ReadWrite);
    db.execute(sql);
    if (ask == nullptr)
        return 0;
    store::Rows rows = db.query(ask);
    return rows.next() ? rows.integer(0) : -1;
}

} // namespace

class TestStoreTrouble : public QObject {
    Q_OBJECT

private slots:
    void aFullDisk_data();
    void aFullDisk();
    void aReadOnlyFolder();
    void aCorruptChunk_data();
    void aCorruptChunk();
    void aTruncatedLog();
    void aNewerStore();

private:
    void feedSome(CrashRig& rig, std::uint64_t points = 60'000);
    void goesOn(CrashRig& rig);
    void endsWhole(CrashRig& rig);
    void lacksOnly(CrashRig& rig, int level, std::int64_t chunk);
    void says(const CrashRig& rig, const QStringList& words, int times = 1);
};

#define CHECKED(call)                                                                                                                                \
    do {                                                                                                                                             \
        call;                                                                                                                                        \
        if (QTest::currentTestFailed())                                                                                                              \
            return;                                                                                                                                  \
    } while (false)

void TestStoreTrouble::feedSome(CrashRig& rig, std::uint64_t points) {
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    rig.startRun();
    QVERIFY2(rig.acksMore(points), rig.feed().problem);
}

/// The trainer emits although nobody takes it.
void TestStoreTrouble::goesOn(CrashRig& rig) {
    const std::uint64_t before = rig.feed().emitted;
    QVERIFY2(QTest::qWaitFor([&] { return rig.feed().emitted > before + 5'000; }, kCrashPatience), rig.feed().problem);
}

void TestStoreTrouble::endsWhole(CrashRig& rig) {
    QVERIFY2(rig.finish(), qPrintable(QString(rig.feed().problem) + '\n' + rig.log().join('\n')));
    const QString wrong = rig.compareWithEmitted();
    QVERIFY2(wrong.isEmpty(), qPrintable(wrong + '\n' + rig.log().join('\n')));
}

/// So many lines of the daemon's log have all of the words.
void TestStoreTrouble::says(const CrashRig& rig, const QStringList& words, int times) {
    QStringList lines = rig.log();
    for (const QString& word : words)
        lines = lines.filter(word);
    QVERIFY2(lines.size() == times, qPrintable(QString("%1 lines have “%2” instead of %3:\n%4").arg(lines.size()).arg(words.join("” and “")).arg(times).arg(rig.log().join('\n'))));
}

void TestStoreTrouble::aFullDisk_data() {
    QTest::addColumn<bool>("isSpoolThereToo");
    QTest::newRow("for the store") << false;
    QTest::newRow("for store and spool") << true;
}

void TestStoreTrouble::aFullDisk() {
    QFETCH(bool, isSpoolThereToo);
    CrashRig rig;
    const SmallDisk disk(rig.state(), "size=700m");
    if (!disk.isMounted())
        QSKIP("mounting a small file system takes root");
    if (!isSpoolThereToo)
        QVERIFY(QDir().mkpath(rig.path("runs")) && QFile::link(rig.path("runs"), rig.state() + "/runs"));
    CHECKED(feedSome(rig));
    rig.feed().hold = 1; // the disk may not fill while its size is chosen
    QVERIFY(QTest::qWaitFor([&] { return rig.feed().acked == rig.feed().emitted; }, kCrashPatience));
    QVERIFY(disk.remount(megabytesUsed(rig.state(), 1)));
    rig.feed().hold = 0;
    QVERIFY(QTest::qWaitFor([&] { return !rig.log().filter("cannot be stored").isEmpty(); }, kCrashPatience));
    CHECKED(goesOn(rig));
    for (int series = 0; series < kFeedSeries; ++series) { // what is stored can be read meanwhile
        const QString wrong = rig.compareSeries(series, 1000);
        QVERIFY2(wrong.isEmpty(), qPrintable(wrong));
    }
    QVERIFY(disk.remount("size=700m"));
    CHECKED(endsWhole(rig));
    CHECKED(says(rig, {"telemetry cannot be stored", "the disk is full; free some space", rig.store()}));
    CHECKED(says(rig, {"the store takes telemetry again"}));
}

void TestStoreTrouble::aReadOnlyFolder() {
    CrashRig rig;
    const SmallDisk disk(rig.state(), "size=700m");
    if (!disk.isMounted())
        QSKIP("mounting a small file system takes root");
    QVERIFY(QDir().mkpath(rig.path("runs")) && QFile::link(rig.path("runs"), rig.state() + "/runs"));
    CHECKED(feedSome(rig));
    rig.kill();
    QVERIFY(disk.remount("ro"));
    rig.forgetLog();
    rig.launch();
    QCOMPARE(rig.exitCode(), 1);
    QCOMPARE(rig.log().size(), 1);
    CHECKED(says(rig, {rig.state(), "cannot be written", "Read-only file system", "--state-dir", "--read-only"}));
    CHECKED(goesOn(rig));
    // What is there can be looked at, with the log that the killed daemon has left, and nothing else is possible.
    QVERIFY2(rig.showReadOnly(), qPrintable(rig.log().join('\n')));
    std::uint64_t points = 0;
    QCOMPARE(rig.compareSeries(0, 1, &points), QString());
    QVERIFY(points > 0);
    const auto runs = rig.client().listRuns();
    QVERIFY(runs && runs->size() == 1);
    ipc::Command pause;
    pause.id = ipc::newUuid();
    pause.key = kFedAttempt;
    pause.kind = ipc::CommandKind::Pause;
    const auto refused = rig.client().submit(pause);
    QVERIFY(!refused && refused.error().text().find("--read-only") != std::string::npos);
    QVERIFY(rig.terminate());
    QVERIFY(disk.remount("rw"));
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    CHECKED(endsWhole(rig));
}

void TestStoreTrouble::aCorruptChunk_data() {
    QTest::addColumn<int>("level");
    QTest::addColumn<QString>("which");
    QTest::newRow("the first points") << 0 << "min(idx)";
    QTest::newRow("points in the middle") << 0 << "max(idx) / 2";
    QTest::newRow("the last points") << 0 << "max(idx)";
    QTest::newRow("the last summary") << 1 << "max(idx)";
}

void TestStoreTrouble::aCorruptChunk() {
    QFETCH(int, level);
    QFETCH(QString, which);
    CrashRig rig;
    CHECKED(feedSome(rig, kFeedSeries * 6000));
    QVERIFY(rig.terminate());
    const QString chunks = QString("FROM chunks WHERE level = %1 AND series = (SELECT id FROM series WHERE name = '%2')")
                               .arg(level).arg(QString::fromStdString(feedName(kVictim)));
    const auto index = change(rig.store(), qPrintable("UPDATE chunks SET body = x'0150ff28b52ffd00' WHERE id = (SELECT id " + chunks + " AND idx = (SELECT " + which + " " + chunks + "))"),
                              qPrintable("SELECT " + which + " " + chunks));
    QVERIFY(index >= 0);
    rig.forgetLog();
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    QVERIFY2(rig.acksMore(kFeedSeries * 2000), qPrintable(QString(rig.feed().problem) + '\n' + rig.log().join('\n'))); // the trainer goes on
    QVERIFY2(rig.finish(), rig.feed().problem);
    CHECKED(lacksOnly(rig, level, index));
    QString said;
    QCOMPARE(rig.check(&said), 1);
    QVERIFY2(said.contains(QString::fromStdString(feedName(kVictim))) && said.contains(QString("chunk %1").arg(index)), qPrintable(said));
    for (int series = 0; series < kFeedSeries; ++series) { // everything else
        const QString wrong = series == kVictim ? QString() : rig.compareSeries(series, rig.feed().emitted / kFeedSeries);
        QVERIFY2(wrong.isEmpty(), qPrintable(wrong));
    }
}

/// Of the victim: points of a damaged chunk are named as missing, a damaged summary is made again from the points.
void TestStoreTrouble::lacksOnly(CrashRig& rig, int level, std::int64_t chunk) {
    const std::uint64_t emitted = rig.feed().emitted / kFeedSeries;
    for (const std::uint32_t buckets : {0u, 200u}) {
        const auto answer = rig.query(kVictim, buckets);
        QVERIFY2(answer, answer ? "" : answer.error().text().c_str());
        std::uint64_t points = 0, missing = 0;
        for (const ipc::SeriesSegment& segment : *answer) {
            for (const ipc::Bucket& bucket : segment.buckets)
                points += buckets == 0 && bucket.count != 1 ? 0 : bucket.count; // a summary may stand in for raw points
            for (const ipc::MissingPoints& part : segment.missing) {
                missing += part.points;
                const QString what = QString::fromStdString(part.what);
                QVERIFY2(what.contains(QString("level %1").arg(level)) && what.contains(QString("chunk %1").arg(chunk)), qPrintable(what));
            }
        }
        if (buckets == 0)
            QCOMPARE(points + missing, emitted);
        else // a summary may tell of points that cannot be read themselves any more
            QVERIFY(points <= emitted && points + missing >= emitted);
        QCOMPARE(missing, level == 0 && (buckets == 0 || missing > 0) ? std::uint64_t{1024} : std::uint64_t{0});
    }
}

// The end of SQLite's log is gone, and with it what was acked last: that is said, with numbers, and all the rest is there.
void TestStoreTrouble::aTruncatedLog() {
    CrashRig rig;
    CHECKED(feedSome(rig));
    QVERIFY(rig.terminate()); // the log is folded into the store
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    QVERIFY2(rig.acksMore(20'000), rig.feed().problem);
    rig.feed().hold = 1; // so that it is not folded again
    QVERIFY(QTest::qWaitFor([&] { return rig.feed().acked == rig.feed().emitted; }, kCrashPatience));
    rig.kill();
    QFile log(rig.store() + "-wal");
    QVERIFY(log.size() > 100'000);
    QVERIFY(log.resize(log.size() / 2));
    rig.forgetLog();
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    rig.feed().hold = 0;
    QVERIFY2(rig.acksMore(20'000), rig.feed().problem);
    QVERIFY2(rig.finish(), rig.feed().problem);
    CHECKED(says(rig, {"fed/1", "are missing in the store although they were acknowledged"}));
    const auto events = rig.client().listEvents({kFedAttempt.run, 0, 0});
    QVERIFY(events && std::any_of(events->begin(), events->end(), [](const ipc::Event& event) {
                return event.severity == ipc::Severity::Critical && event.text.find("missing in the store") != std::string::npos;
            }));
    const std::uint64_t emitted = rig.feed().emitted / kFeedSeries;
    for (int series = 0; series < kFeedSeries; ++series) { // one hole, around it every point
        const auto raw = rig.query(series, 0);
        QVERIFY2(raw, raw ? "" : raw.error().text().c_str());
        std::int64_t index = 0;
        int holes = 0;
        for (const ipc::SeriesSegment& segment : *raw)
            for (const ipc::Bucket& bucket : segment.buckets) {
                const std::int64_t at = (bucket.firstWallUs - feedPoint(series, 0).wallUs + 600) / 1500;
                holes += at == index ? 0 : 1;
                QCOMPARE(bucket.firstWallUs, feedPoint(series, at).wallUs);
                index = at + 1;
            }
        QCOMPARE(index, static_cast<std::int64_t>(emitted));
        QVERIFY(holes <= 1);
    }
}

void TestStoreTrouble::aNewerStore() {
    CrashRig rig;
    CHECKED(feedSome(rig));
    QVERIFY(rig.terminate());
    const auto version = change(rig.store(), "SELECT 1", "PRAGMA user_version");
    (void)change(rig.store(), "PRAGMA user_version=99");
    rig.forgetLog();
    rig.launch();
    QCOMPARE(rig.exitCode(), 1);
    QCOMPARE(rig.log().size(), 1);
    CHECKED(says(rig, {rig.store(), "version 99", "newer Telehelm", "--state-dir"}));
    CHECKED(goesOn(rig));
    (void)change(rig.store(), qPrintable(QString("PRAGMA user_version=%1").arg(version)));
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    CHECKED(endsWhole(rig));
}

int main(int argc, char** argv) {
    if (const std::vector<std::string> words(argv + 1, argv + argc); isFeeder(words))
        return feed(words);
    QCoreApplication app(argc, argv);
    TestStoreTrouble test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_store_trouble.moc"
