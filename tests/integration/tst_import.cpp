// SPDX-License-Identifier: Apache-2.0
// A run that trained where no daemon was comes into one, by the real programs: whole, once, again, grown, forked, under another name, damaged,
// cut off; and its folder stays as it was.
#include <QCryptographicHash>
#include <QDir>
#include <QDirIterator>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>
#include <QRegularExpression>
#include <QTest>

#include <csignal>
#include <cstring>

#include "must.h"
#include "program_rig.h"
#include "telehelm/ipc/trainer_link.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

constexpr int kPatience = 60'000;
constexpr qint64 kHead = 24, kRecordHead = 20; // bytes; ipc/README.md

/// Names, sizes, times and contents of all files.
QByteArray fingerprint(const QString& folder) {
    QStringList files;
    for (QDirIterator entry(folder, QDir::Files, QDirIterator::Subdirectories); entry.hasNext();)
        files << entry.next();
    files.sort();
    QCryptographicHash hash(QCryptographicHash::Sha256);
    for (const QString& name : files) {
        QFile file(name);
        if (!file.open(QIODevice::ReadOnly) || !hash.addData(&file))
            qFatal("%s cannot be read", qPrintable(name));
        hash.addData((name + QFileInfo(name).lastModified().toString(Qt::ISODateWithMs)).toUtf8());
    }
    return hash.result();
}

void copyFolder(const QString& from, const QString& to) {
    if (QProcess::execute("cp", {"-r", from, to}) != 0)
        qFatal("%s cannot be copied", qPrintable(from));
}

QByteArray readFile(const QString& name) {
    QFile file(name);
    if (!file.open(QIODevice::ReadOnly))
        qFatal("%s cannot be read", qPrintable(name));
    return file.readAll();
}

void writeFile(const QString& name, const QByteArray& bytes) {
    QFile file(name);
    if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size())
        qFatal("%s cannot be written", qPrintable(name));
}

struct Record {
    qint64 offset = 0;
    quint64 sequence = 0;
    quint32 bytes = 0, points = 0;
};

std::vector<Record> recordsOf(const QByteArray& spool) {
    std::vector<Record> all;
    for (qint64 at = kHead; at + kRecordHead <= spool.size();) {
        Record record{at};
        std::memcpy(&record.bytes, spool.constData() + at, 4);
        std::memcpy(&record.sequence, spool.constData() + at + 8, 8);
        std::memcpy(&record.points, spool.constData() + at + 16, 4);
        all.push_back(record);
        at += kRecordHead + record.bytes;
    }
    return all;
}

} // namespace

class TestImport : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void wholeAndOnce();
    void whatHasGrown();
    void aForkOfTwoAttempts();
    void theChildBeforeItsParent();
    void anotherName();
    void commandsAreRefused();
    void aCutOffSpool();
    void aDamagedSpool();
    void wrongUses_data();
    void wrongUses();
    void aRunOfThisDaemon();
    void aDaemonThatOnlyReads();
    void aFullDisk();
    void killedInTheMiddle();
    void cleanupTestCase();

private:
    QString away(const QString& name) const { return m_place.path("away/" + name); }
    /// Points that it says to have emitted; −1: it failed.
    qint64 train(const QString& name, const QString& config, int attempt, int steps);
    QString config(const QString& name) const { return m_place.config(name, 1, "every_steps = 0\n", "every_steps = 5\n"); }
    void daemonStarts() {
        const Said said = m_place.startDaemon();
        QVERIFY2(said.code == 0, qPrintable(said.text()));
    }
    Said import(const QString& folder, const QStringList& more = {}) const { return m_place.ctl(QStringList{"import", folder} + more); }
    QJsonDocument json(const QStringList& words) const { return QJsonDocument::fromJson(m_place.ctl(words + QStringList{"--json"}).out.toUtf8()); }
    QJsonObject attempt(const QString& run, int index = 0) const { return json({"show", run}).object()["attempts"].toArray().at(index).toObject(); }
    qint64 stored(const QString& run, int index = 0) const { return attempt(run, index)["points_stored"].toInteger(-1); }
    qsizetype events(const QString& run) const { return json({"events", run}).array().size(); }
    /// Step by step, as the store gives them, with every bit.
    QString curve(const QString& run, const QString& series) const { return m_place.ctl({"series", run, series, "--csv"}).out.replace(run + ",", "r,"); }

    Place m_place;
    qint64 m_emitted = 0; // by the run "alone", attempt 1
    int m_steps = 20;     // of it
    int m_fork = 0;       // step at which the run "forks" did
};

qint64 TestImport::train(const QString& name, const QString& config, int attempt, int steps) {
    const Said said = m_place.run("telehelm-rank", {"--offline", "--config", config, "--attempt", QString::number(attempt), "--run-dir",
                                                    away(name) + "/attempt-" + QString::number(attempt), "--steps", QString::number(steps), "--threads", "1"});
    const auto told = QRegularExpression("(\\d+) points emitted").match(said.out + said.err);
    if (said.code != 0 || !told.hasMatch())
        qWarning("%s", qPrintable(said.text()));
    return said.code == 0 && told.hasMatch() ? told.captured(1).toLongLong() : -1;
}

void TestImport::initTestCase() {
    QDir().mkpath(away(""));
    const QString spool = away("alone/attempt-1/spool");
    do { // batches go by time: a fast machine needs more steps for some of them
        m_steps *= 2;
        QDir(away("alone")).removeRecursively();
        m_emitted = train("alone", config("alone"), 1, m_steps);
        QVERIFY(m_emitted > 100);
    } while (recordsOf(readFile(spool)).size() < 6 && m_steps < 5000);
    QVERIFY(recordsOf(readFile(spool)).size() >= 6);
    QCOMPARE(readFile(away("alone/attempt-1/config.toml")), readFile(m_place.path("alone.toml"))); // what the import needs is there
    daemonStarts();
}

void TestImport::wholeAndOnce() {
    const QByteArray before = fingerprint(away("alone"));
    const Said first = import(away("alone"), {"--reason", "brought by hand"});
    QVERIFY2(first.code == 0 && first.err.isEmpty(), qPrintable(first.text()));
    QCOMPARE(stored("alone"), m_emitted);
    QCOMPARE(attempt("alone")["points_emitted"].toInteger(), m_emitted);
    QCOMPARE(curve("alone", "train/loss").count('\n'), m_steps + 1);
    QVERIFY(!m_place.ctl({"series", "alone", "rank/0/step_ms", "--csv"}).out.isEmpty());
    QCOMPARE(m_place.runState("alone"), QString("finished")); // as its last event says
    const QJsonObject origin = json({"show", "alone"}).object()["origin"].toObject();
    QCOMPARE(origin["folder"].toString(), away("alone"));
    QCOMPARE(origin["own_name"].toString(), QString("alone"));
    QVERIFY(!origin["author"].toString().isEmpty() && !origin["trained_on"].toString().isEmpty());
    const QJsonObject domain = json({"show", "alone"}).object()["domains"].toArray().at(0).toObject();
    QVERIFY(domain["tokens_seen"].toInteger() > 0);
    QCOMPARE(domain["train_tokens"].toInteger(-1), 0); // of the other machine's corpus: not known here
    const QString told = m_place.ctl({"events", "alone"}).out;
    QVERIFY2(told.contains("Imported by") && told.contains("brought by hand") && told.contains("checkpoint_saved"), qPrintable(told));
    const qint64 points = stored("alone");
    const qsizetype rows = events("alone");
    const Said again = import(away("alone"));
    QVERIFY2(again.code == 0 && again.out.contains("already here") && again.out.contains("nothing new"), qPrintable(again.text()));
    QCOMPARE(stored("alone"), points);
    QCOMPARE(events("alone"), rows);
    const Said one = import(away("alone/attempt-1")); // the attempt's own folder is as good
    QVERIFY2(one.code == 0 && one.out.contains("already here"), qPrintable(one.text()));
    QCOMPARE(fingerprint(away("alone")), before);
}

void TestImport::whatHasGrown() {
    const QString grows = config("grows");
    const qint64 first = train("grows", grows, 1, 20);
    QVERIFY(first > 0);
    QVERIFY(import(away("grows")).code == 0);
    QCOMPARE(stored("grows"), first);
    const qint64 more = train("grows", grows, 1, 30);
    QVERIFY(more > 0);
    const Said again = import(away("grows"));
    QVERIFY2(again.code == 0 && again.out.contains(QString("%1 new points").arg(more)), qPrintable(again.text()));
    QCOMPARE(stored("grows"), first + more);
    QCOMPARE(m_place.step("grows"), 30);
    QVERIFY(m_place.ctl({"events", "grows"}).out.contains("Imported again"));
}

void TestImport::aForkOfTwoAttempts() {
    QVERIFY(train("forks", config("forks"), 1, 20) > 0);
    const QStringList saved = QDir(away("forks/checkpoints")).entryList({"a1-step-*"}, QDir::Dirs, QDir::Name);
    QVERIFY2(saved.size() > 1, qPrintable(saved.join(' '))); // some steps are faster than a save
    m_fork = saved.first().section('-', -1).toInt();
    const QString second = m_place.config("forks", 1, "[checkpoint]", "[resume]\ncheckpoint = \"" + away("forks/checkpoints/" + saved.first()) + "\"\n[checkpoint]");
    QVERIFY(train("forks", second, 2, m_fork + 4) > 0);
    const Said said = import(away("forks"));
    QVERIFY2(said.code == 0, qPrintable(said.text()));
    const QJsonArray branches = json({"lineage", "forks"}).object()["branches"].toArray();
    QCOMPARE(branches.size(), 2);
    QCOMPARE(branches[1].toObject()["parent"].toInt(), 1);
    QCOMPARE(branches[1].toObject()["fork_step"].toInt(), m_fork);
    QCOMPARE(branches[0].toObject()["effective_to"].toInt(), m_fork);
    QCOMPARE(curve("forks", "train/loss").count('\n'), 1 + m_fork + 4); // of the first, then 4 of the second
    QCOMPARE(m_place.step("forks"), m_fork + 4);
}

void TestImport::theChildBeforeItsParent() {
    const Said child = import(away("forks/attempt-2"), {"--as", "family"});
    QVERIFY2(child.code == 1 && child.err.contains(QString("goes on from step %1 of attempt 1, which is not here").arg(m_fork)), qPrintable(child.text()));
    const Said parent = import(away("forks/attempt-1"), {"--as", "family"});
    QVERIFY2(parent.code == 0, qPrintable(parent.text()));
    QCOMPARE(curve("family", "train/loss"), curve("forks", "train/loss"));
}

void TestImport::anotherName() {
    const QString folder = away("elsewhere");
    const qint64 emitted = train("elsewhere", config("alone"), 1, 10); // another run of the same name
    QVERIFY(emitted > 0);
    const qint64 before = stored("alone");
    const Said clash = import(folder);
    QVERIFY2(clash.code == 4 && clash.err.contains("--as") && clash.err.count('\n') == 1, qPrintable(clash.text()));
    QCOMPARE(stored("alone"), before);
    const Said other = import(folder, {"--as", "alone-two"});
    QVERIFY2(other.code == 0, qPrintable(other.text()));
    QCOMPARE(stored("alone-two"), emitted);
    QCOMPARE(json({"show", "alone-two"}).object()["origin"].toObject()["own_name"].toString(), QString("alone"));
    QVERIFY(import(folder, {"--as", "alone-two"}).out.contains("already here"));
    QVERIFY(import(away("forks"), {"--as", "alone-two"}).code == 4);
    QVERIFY(import(folder, {"--as", "../escape"}).code == 4);
}

void TestImport::commandsAreRefused() {
    for (const QStringList& words : {QStringList{"pause", "alone"}, {"lr", "alone", "0.5"}, {"mixture", "alone", "Code=100", "--reason", "all of it is code"}}) {
        const Said said = m_place.ctl(words);
        QVERIFY2(said.code == 4 && (said.out + said.err).contains("was imported from " + away("alone")), qPrintable(said.text()));
    }
    QVERIFY(m_place.ctl({"checkpoints", "alone"}).out.contains("they stay in " + away("alone")));
    const Said restart = m_place.ctl({"restart", "alone", "--reason", "go on where it was"});
    QVERIFY2(restart.code == 4 && (restart.out + restart.err).contains(away("alone/checkpoints/a1-step-") + QString("%1").arg(m_steps, 8, 10, QChar('0'))), qPrintable(restart.text()));
}

void TestImport::aCutOffSpool() {
    copyFolder(away("alone"), away("cut"));
    const QByteArray spool = readFile(away("cut/attempt-1/spool"));
    const auto records = recordsOf(spool);
    writeFile(away("cut/attempt-1/spool"), spool.left(records.back().offset + kRecordHead + 3));
    const QByteArray before = fingerprint(away("cut"));
    const Said said = import(away("cut"), {"--as", "cut"});
    QVERIFY2(said.code == 1 && said.err.contains(QString("It breaks off at byte %1, behind batch %2").arg(records.back().offset).arg(records.back().sequence - 1)),
             qPrintable(said.text()));
    QCOMPARE(stored("cut"), m_emitted - records.back().points);
    QCOMPARE(m_place.runState("cut"), QString("lost")); // its last word was in what is gone
    QVERIFY(attempt("cut")["state_text"].toString().contains("stopped reporting"));
    QCOMPARE(fingerprint(away("cut")), before);
    QCOMPARE(import(away("cut"), {"--as", "cut"}).code, 1); // again, and it says so again
    QCOMPARE(stored("cut"), m_emitted - records.back().points);
}

void TestImport::aDamagedSpool() {
    copyFolder(away("alone"), away("flipped"));
    QByteArray spool = readFile(away("flipped/attempt-1/spool"));
    const auto records = recordsOf(spool);
    const Record payload = records[1], length = records[records.size() - 2];
    spool[payload.offset + kRecordHead + 5] = static_cast<char>(spool[payload.offset + kRecordHead + 5] ^ 1);
    spool[length.offset + 1] = static_cast<char>(spool[length.offset + 1] ^ 64); // where the next one begins is not told any more
    writeFile(away("flipped/attempt-1/spool"), spool);
    const Said said = import(away("flipped"), {"--as", "flipped"});
    QVERIFY2(said.code == 1 && said.err.contains(QString("missing are the batches %1, %2\n").arg(payload.sequence).arg(length.sequence)), qPrintable(said.text()));
    QCOMPARE(stored("flipped"), m_emitted - payload.points - length.points);
    const QString told = m_place.ctl({"events", "flipped", "--json"}).out;
    QVERIFY2(told.contains("Not all of this attempt could be imported"), qPrintable(told));
    const Said sound = import(away("alone"), {"--as", "flipped"}); // a sound copy fills the holes
    QVERIFY2(sound.code == 0, qPrintable(sound.text()));
    QCOMPARE(stored("flipped"), m_emitted);
    QCOMPARE(curve("flipped", "train/loss").split('\n').size(), curve("alone", "train/loss").split('\n').size());
}

void TestImport::wrongUses_data() {
    QTest::addColumn<QString>("folder");
    QTest::addColumn<QString>("says");
    const auto make = [&](const QString& name) {
        copyFolder(away("alone/attempt-1"), away(name));
        return away(name);
    };
    QTest::newRow("none such") << away("nowhere") << "bring the run's folder over first";
    QTest::newRow("a file") << away("alone/attempt-1/spool") << "is not a folder";
    QTest::newRow("no spool") << away("alone/checkpoints") << "there is no spool in it";
    const QString newer = make("newer");
    writeFile(newer + "/spool", readFile(newer + "/spool").replace(0, 8, "THSPOOL2"));
    QTest::newRow("a newer format") << newer << "format 2, written by a newer Telehelm";
    const QString noise = make("noise");
    writeFile(noise + "/spool", QByteArray(5000, 'x'));
    QTest::newRow("no spool at all") << noise << "is no spool";
    const QString empty = make("empty");
    writeFile(empty + "/spool", readFile(empty + "/spool").left(kHead));
    QTest::newRow("an empty spool") << empty << "there is nothing to import";
    const QString bare = make("bare");
    QFile::remove(bare + "/config.toml");
    QTest::newRow("no config") << bare << "config.toml: is missing";
    QTest::newRow("the daemon's own") << m_place.state() + "/runs" << "this daemon's own";
}

void TestImport::wrongUses() {
    QFETCH(QString, folder);
    QFETCH(QString, says);
    if (folder.endsWith("/runs"))
        folder += "/alone", copyFolder(away("alone/attempt-1/spool"), folder + "/attempt-1/spool");
    const Said said = import(folder, {"--as", "wrong"});
    QVERIFY2(said.code != 0 && said.err.contains(says) && said.err.count('\n') == 1, qPrintable(said.text()));
    QVERIFY(m_place.runState("wrong").isEmpty());
    QFile::remove(m_place.state() + "/runs/alone/attempt-1/spool");
}

void TestImport::aRunOfThisDaemon() {
    QVERIFY(m_place.ctl({"start", m_place.config("own")}).code == 0);
    QVERIFY(train("own", m_place.config("own"), 1, 5) > 0);
    const Said said = import(away("own"));
    QVERIFY2(said.code == 4 && said.err.contains("runs here") && said.err.contains("--as"), qPrintable(said.text()));
    QVERIFY(m_place.ctl({"stop", "own", "--no-checkpoint", "--reason", "the test has seen enough"}).code == 0);
}

void TestImport::aDaemonThatOnlyReads() {
    m_place.stopDaemon();
    QVERIFY2(m_place.strays().isEmpty(), qPrintable(m_place.strays().join('\n'))); // “stopped” means that the folder is free
    QProcess daemon;
    daemon.start(qEnvironmentVariable("TELEHELM_BIN", QCoreApplication::applicationDirPath()) + "/telehelmd",
                 {"--read-only", "--state-dir", m_place.state(), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"});
    QByteArray log;
    QRegularExpressionMatch address;
    const auto serves = [&] {
        log += daemon.readAllStandardError();
        return (address = QRegularExpression("telehelmctl --server (127\\.0\\.0\\.1:\\d+)").match(log)).hasMatch();
    };
    QVERIFY2(QTest::qWaitFor(serves, kPatience), log.constData());
    const Said said = m_place.ctl({"--server", address.captured(1), "import", away("alone")});
    QVERIFY2(said.code == 4 && said.err.contains("--read-only"), qPrintable(said.text()));
    daemon.terminate();
    QVERIFY(daemon.waitForFinished());
    daemonStarts();
    QCOMPARE(json({"show", "alone"}).object()["origin"].toObject()["folder"].toString(), away("alone")); // known after a start, too
    QVERIFY(import(away("alone")).out.contains("already here"));
}

void TestImport::aFullDisk() {
    const SmallDisk disk(m_place.path("small"), "size=20m");
    if (!disk.isMounted())
        QSKIP("this user may not mount a file system");
    const auto there = [&](const QStringList& words) { return m_place.run("telehelmctl", QStringList{"--state-dir", m_place.path("small/state")} + words); };
    const Said started = there({"daemon", "start", "--any-port"});
    QVERIFY2(started.code == 0, qPrintable(started.text()));
    const Said said = there({"import", away("alone")});
    QVERIFY2(said.code == 1 && said.err.contains("MB are free") && said.err.contains("free some space") && said.err.contains("small/state"), qPrintable(said.text()));
    QVERIFY(there({"runs"}).out.contains("no runs yet"));
    QCOMPARE(there({"daemon", "stop"}).code, 0);
}

// Enough points that a kill comes in between.
void TestImport::killedInTheMiddle() {
    constexpr int kSteps = 60'000, kSeries = 30;
    const QString folder = away("big/attempt-1");
    QDir().mkpath(folder);
    copyFolder(away("alone/attempt-1/config.toml"), folder + "/config.toml");
    {
        ipc::TrainerLinkOptions options;
        options.key = {"big", 1};
        options.spoolFile = (folder + "/spool").toStdString();
        const auto link = must(ipc::makeOfflineTrainerLink(options));
        for (int step = 1; step <= kSteps; ++step)
            for (int series = 0; series < kSeries; ++series)
                link->emit(("many/" + std::to_string(series)).c_str(), {step, step * 128, ipc::nowUs(), 1.0 / (step + series)});
    }
    QProcess ctl;
    ctl.start(qEnvironmentVariable("TELEHELM_BIN", QCoreApplication::applicationDirPath()) + "/telehelmctl", {"--state-dir", m_place.state(), "import", away("big")});
    QVERIFY(QTest::qWaitFor([&] { return stored("big") > 0; }, kPatience));
    const auto pid = static_cast<pid_t>(QJsonDocument::fromJson(readFile(m_place.state() + "/daemon.json")).object()["pid"].toInteger());
    QVERIFY(pid > 0);
    QCOMPARE(::kill(pid, SIGKILL), 0);
    QVERIFY(ctl.waitForFinished(kPatience));
    QVERIFY2(ctl.exitCode() != 0, "the import was done before the kill");
    daemonStarts();
    QVERIFY2(stored("big") > 0 && stored("big") < kSteps * kSeries, qPrintable(QString::number(stored("big"))));
    QCOMPARE(m_place.runState("big"), QString("lost"));
    QVERIFY(attempt("big")["state_text"].toString().contains("was cut off"));
    const Said again = import(away("big"));
    QVERIFY2(again.code == 0, qPrintable(again.text()));
    QCOMPARE(stored("big"), kSteps * kSeries);
    QVERIFY(import(away("big"), {"--as", "tig"}).code == 0); // undisturbed
    for (const char* series : {"many/0", "many/17", "many/29"}) {
        const QString points = curve("big", series);
        QCOMPARE(points.count('\n'), kSteps + 1);
        QVERIFY2(points == curve("tig", series), series);
    }
}

void TestImport::cleanupTestCase() {
    m_place.stopDaemon();
    QVERIFY2(QTest::qWaitFor([&] { return m_place.strays().isEmpty(); }, kPatience), qPrintable(m_place.strays().join('\n')));
}

QTEST_GUILESS_MAIN(TestImport)
#include "tst_import.moc"
