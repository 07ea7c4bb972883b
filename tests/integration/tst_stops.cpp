// SPDX-License-Identifier: Apache-2.0
// Ends of all kinds: of a run that trains or is paused, of the daemon beside it, of the daemon during a restart.
#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTest>

#include <csignal>

#include "program_rig.h"

using namespace telehelm::tests;

namespace {

constexpr int kPatience = 60'000;

} // namespace

class TestStops : public QObject {
    Q_OBJECT

private slots:
    void init();
    void aTrainingRunStops();
    void aPausedRunStops();
    void theDaemonEndsBesideARun();
    void theDaemonEndsBesideAPausedRun();
    void theDaemonEndsDuringARestart_data();
    void theDaemonEndsDuringARestart();
    void cleanup();

private:
    void start(const QString& run);
    void succeeds(const QStringList& words) {
        const Said said = m_place.ctl(words);
        QVERIFY2(said.code == 0, qPrintable(words.join(' ') + ": " + said.text()));
    }
    void endDaemon(); // by SIGTERM
    QStringList checkpoints(const QString& run) const { return QDir(m_place.state() + "/runs/" + run + "/checkpoints").entryList({"a1-*"}); }

    Place m_place;
};

void TestStops::init() {
    const Said started = m_place.startDaemon();
    QVERIFY2(started.code == 0, qPrintable(started.text()));
}

void TestStops::start(const QString& run) {
    succeeds({"start", m_place.config(run)});
    QVERIFY(QTest::qWaitFor([&] { return m_place.step(run) > 5; }, kPatience));
}

void TestStops::endDaemon() {
    QFile card(m_place.state() + "/daemon.json");
    QVERIFY(card.open(QIODevice::ReadOnly));
    const auto pid = static_cast<pid_t>(QJsonDocument::fromJson(card.readAll()).object()["pid"].toInteger());
    QVERIFY(pid > 0);
    QCOMPARE(::kill(pid, SIGTERM), 0);
    QVERIFY(QTest::qWaitFor([&] { return m_place.strays().filter("telehelmd").isEmpty(); }, kPatience));
    QVERIFY(!QFile::exists(card.fileName())); // a clean stop
}

void TestStops::aTrainingRunStops() {
    start("train");
    succeeds({"stop", "train", "--reason", "the test has seen enough"});
    QCOMPARE(m_place.runState("train"), QString("stopped")); // at once: stop waits for it
    QCOMPARE(m_place.strays().filter("telehelm-rank"), QStringList());
    QCOMPARE(checkpoints("train").size(), 1);
}

void TestStops::aPausedRunStops() {
    start("held");
    succeeds({"pause", "held"});
    QCOMPARE(m_place.runState("held"), QString("paused"));
    const qint64 step = m_place.step("held");
    succeeds({"stop", "held", "--reason", "the test has seen enough"});
    QCOMPARE(m_place.runState("held"), QString("stopped"));
    QCOMPARE(m_place.strays().filter("telehelm-rank"), QStringList());
    QCOMPARE(checkpoints("held"), QStringList{QString("a1-step-%1").arg(step, 8, 10, QChar('0'))});
}

void TestStops::theDaemonEndsBesideARun() {
    start("go");
    const qint64 before = m_place.step("go");
    endDaemon();
    QCOMPARE(m_place.strays().size(), 1); // the trainer goes on
    init();
    QCOMPARE(m_place.runState("go"), QString("running"));
    QVERIFY(QTest::qWaitFor([&] { return m_place.step("go") > before + 20; }, kPatience));
    succeeds({"stop", "go", "--reason", "the test has seen enough"});
    QCOMPARE(m_place.runState("go"), QString("stopped"));
}

void TestStops::theDaemonEndsBesideAPausedRun() {
    start("wait");
    succeeds({"pause", "wait"});
    const qint64 step = m_place.step("wait");
    endDaemon();
    init();
    QCOMPARE(m_place.runState("wait"), QString("paused"));
    QCOMPARE(m_place.step("wait"), step);
    succeeds({"resume", "wait"});
    QVERIFY(QTest::qWaitFor([&] { return m_place.step("wait") > step; }, kPatience));
    succeeds({"stop", "wait", "--reason", "the test has seen enough"});
}

void TestStops::theDaemonEndsDuringARestart_data() {
    QTest::addColumn<int>("afterMs");
    QTest::newRow("at once") << 0;
    QTest::newRow("a little later") << 150;
}

// Whatever the restart came to: it has an outcome, the run a state, and at most one attempt lives.
void TestStops::theDaemonEndsDuringARestart() {
    QFETCH(int, afterMs);
    const QString run = "again" + QString::number(afterMs);
    start(run);
    succeeds({"checkpoint", run});
    succeeds({"restart", run, "--no-wait", "--reason", "the daemon ends meanwhile"});
    QTest::qWait(afterMs);
    endDaemon();
    if (QTest::currentTestFailed())
        return;
    init();
    QString state;
    const QStringList settled = {"running", "stopped", "superseded", "failed", "finished"};
    QVERIFY2(QTest::qWaitFor([&] { return settled.contains(state = m_place.runState(run)); }, kPatience), qPrintable(state));
    QVERIFY(QTest::qWaitFor([&] { return m_place.strays().filter("telehelm-rank").size() <= 1; }, kPatience));
    const auto commands = QJsonDocument::fromJson(m_place.ctl({"audit", run, "--json"}).out.toUtf8()).array();
    QVERIFY(!commands.isEmpty());
    for (const QJsonValue& command : commands)
        QVERIFY2(command["state"].toString() == "applied" || command["state"].toString() == "failed",
                 qPrintable(command["kind"].toString() + " " + command["state"].toString()));
    if (state == "running")
        succeeds({"stop", run, "--no-checkpoint", "--reason", "the test has seen enough"});
}

void TestStops::cleanup() {
    m_place.stopDaemon();
    QVERIFY2(QTest::qWaitFor([&] { return m_place.strays().isEmpty(); }, kPatience), qPrintable(m_place.strays().join('\n')));
}

QTEST_GUILESS_MAIN(TestStops)
#include "tst_stops.moc"
