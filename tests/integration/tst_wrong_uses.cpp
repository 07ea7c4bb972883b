// SPDX-License-Identifier: Apache-2.0
// What goes wrong on an operator's first day: each mistake gives one clear error with its remedy and the right exit status,
// and nothing broken stays behind.
#include <QDir>
#include <QDirIterator>
#include <QFile>
#include <QStandardPaths>
#include <QTest>

#undef emit // Qt's macro; the trainer link has a method of this name

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program_rig.h"
#include "telehelm/ipc/control_client.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

constexpr int kPatience = 60'000;

/// Another program's port.
class TakenPort {
public:
    TakenPort() {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const raw = reinterpret_cast<sockaddr*>(&address);
        if (bind(m_socket, raw, size) == 0 && listen(m_socket, 1) == 0 && getsockname(m_socket, raw, &size) == 0)
            m_address = "127.0.0.1:" + QString::number(ntohs(address.sin_port));
    }
    ~TakenPort() { close(m_socket); }
    TakenPort(const TakenPort&) = delete;
    TakenPort& operator=(const TakenPort&) = delete;
    [[nodiscard]] QString address() const { return m_address; }

private:
    int m_socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    QString m_address;
};

} // namespace

class TestWrongUses : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void wrongArguments_data();
    void wrongArguments();
    void aConfigThatIsWrong_data();
    void aConfigThatIsWrong();
    void aConfigThatIsMissing();
    void aCorpusThatIsMissing();
    void noPackagesOffline();
    void tooFewRanks();
    void noDaemon();
    void aPortThatIsTaken();
    void aStateFolderThatCannotBeWritten();
    void aSecondDaemon();
    void anotherProtocol();
    void anUnknownRun();
    void withoutMpi();
    void aDamagedCheckpoint();
    void anAutomaticResumePastADamagedCheckpoint();
    void noSpaceForTheState();
    void noSpaceForACheckpoint();
    void cleanup();
    void cleanupTestCase();

private:
    /// One line on stderr that says all of this.
    void refused(const Said& said, int code, const QStringList& says);
    void damage(const QString& checkpoint);
    bool becomes(const QString& run, const QString& state) {
        return QTest::qWaitFor([&] { return m_place.runState(run) == state; }, kPatience);
    }

    Place m_place;
};

void TestWrongUses::refused(const Said& said, int code, const QStringList& says) {
    QVERIFY2(said.code == code, qPrintable(said.text()));
    const QString all = (said.err + (said.err.isEmpty() ? said.out : QString())).trimmed();
    QVERIFY2(!all.contains('\n'), qPrintable(said.text()));
    for (const QString& part : says)
        QVERIFY2(all.contains(part), qPrintable("no “" + part + "” in: " + said.text()));
}

#define REFUSED(...)                                                                                                                   \
    do {                                                                                                                               \
        refused(__VA_ARGS__);                                                                                                          \
        if (QTest::currentTestFailed())                                                                                                \
            return;                                                                                                                    \
    } while (false)

void TestWrongUses::initTestCase() {
    const Said started = m_place.startDaemon();
    QVERIFY2(started.code == 0, qPrintable(started.text()));
}

void TestWrongUses::wrongArguments_data() {
    QTest::addColumn<QString>("program");
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<QString>("says");
    for (const char* program : {"telehelmd", "telehelm-rank", "telehelmctl", "telehelm-data"})
        QTest::newRow(program) << program << QStringList{"--bogus"} << QString(program) + " --help)";
    QTest::newRow("no config") << "telehelm-rank" << QStringList() << "--config is required";
    QTest::newRow("no subcommand of ctl") << "telehelmctl" << QStringList{"bogus"} << "“bogus”";
    QTest::newRow("no subcommand of data") << "telehelm-data" << QStringList{"bogus"} << "“bogus”";
    QTest::newRow("no reason") << "telehelmctl" << QStringList{"stop", "demo"} << "--reason is required";
}

void TestWrongUses::wrongArguments() {
    QFETCH(QString, program);
    QFETCH(QStringList, arguments);
    QFETCH(QString, says);
    REFUSED(m_place.run(program, arguments), 2, {program, says});
}

void TestWrongUses::aConfigThatIsWrong_data() {
    QTest::addColumn<QString>("from");
    QTest::addColumn<QString>("to");
    QTest::addColumn<QStringList>("says");
    QTest::newRow("unknown key") << "hidden_size = 32" << "hiden_size = 32" << QStringList{"wrong.toml:5", "hiden_size", "hidden_size"};
    QTest::newRow("wrong type") << "layers = 1" << "layers = \"one\"" << QStringList{"wrong.toml:4", "layers", "whole number"};
    QTest::newRow("does not divide") << "attention_heads = 2" << "attention_heads = 3" << QStringList{"wrong.toml:", "attention_heads", "32", "3"};
    QTest::newRow("ranks do not divide") << "data = 1" << "data = 3" << QStringList{"wrong.toml:", "sequences", "3"};
    QTest::newRow("heads and tensor ranks") << "data = 1" << "tensor = 4" << QStringList{"wrong.toml:", "[parallel] tensor", "4 does not divide", "attention_heads (2)"};
    QTest::newRow("more stages than layers") << "data = 1" << "pipeline = 2" << QStringList{"wrong.toml:", "pipeline (2) makes 2 parts", "layers (1)"};
    QTest::newRow("chunks without interleaving") << "data = 1" << "chunks = 2" << QStringList{"wrong.toml:", "[parallel] chunks", "interleaved"};
    QTest::newRow("a fault that never comes") << "keep_last = 100" << "keep_last = 100\n[faults]\ndie_step = 3\ndie_phase = \"comm_tensor\""
                                              << QStringList{"wrong.toml:", "die_phase", "comm_tensor never comes", "[parallel] tensor is 1"};
    QTest::newRow("not TOML") << "layers = 1" << "layers = = 1" << QStringList{"wrong.toml:4"};
    QTest::newRow("mixture") << "Code = 50.0" << "Code = 40.0" << QStringList{"wrong.toml:", "90", "100"};
}

void TestWrongUses::aConfigThatIsWrong() {
    QFETCH(QString, from);
    QFETCH(QString, to);
    QFETCH(QStringList, says);
    const QString config = m_place.config("wrong", 1, from, to);
    REFUSED(m_place.run("telehelm-rank", {"--config", config}), 2, says);
    REFUSED(m_place.ctl({"start", config}), 4, says);
    QVERIFY(!m_place.ctl({"runs", "--names"}).out.contains("wrong"));
    QVERIFY(!QFile::exists(m_place.state() + "/runs/wrong"));
    QVERIFY(!QFile::exists(m_place.path("xdg_state_home/telehelm/runs/wrong")));
}

void TestWrongUses::aConfigThatIsMissing() {
    REFUSED(m_place.run("telehelm-rank", {"--config", "nowhere.toml"}), 2, {"nowhere.toml", "configs/demo_cpu.toml"});
    REFUSED(m_place.ctl({"start", "nowhere.toml"}), 2, {"nowhere.toml", "configs/demo_cpu.toml"});
}

void TestWrongUses::aCorpusThatIsMissing() {
    const QString config = m_place.config("nocorpus", 1, "\"corpus\"", "\"/nowhere/corpus\"");
    REFUSED(m_place.run("telehelm-rank", {"--config", config}), 3, {"/nowhere/corpus", "[data] corpus"});
    REFUSED(m_place.ctl({"start", config}), 4, {"/nowhere/corpus", "[data] corpus"});
    const QString demo = m_place.config("nodemo", 1, "\"corpus\"", "\"\"");
    REFUSED(m_place.run("telehelm-rank", {"--config", demo}), 3, {"corpus/demo", "telehelm-data demo"});
    REFUSED(m_place.ctl({"start", demo}), 4, {"corpus/demo", "telehelm-data demo"});
    QVERIFY(!QFile::exists(m_place.state() + "/runs/nocorpus"));
    const QString domain = m_place.config("nodomain", 1, "Code = 50.0", "Poetry = 50.0");
    REFUSED(m_place.ctl({"start", domain}), 4, {"nodomain.toml", "Poetry", "Code, WebText"});
    REFUSED(m_place.run("telehelm-rank", {"--config", domain}), 2, {"nodomain.toml", "Poetry", "Code, WebText"});
}

void TestWrongUses::noPackagesOffline() {
    REFUSED(m_place.run("telehelm-data", {"demo", "--offline"}), 4, {"offline", "telehelm-data demo"});
    QDirIterator files(m_place.path("xdg_cache_home"), QDir::Files, QDirIterator::Subdirectories);
    while (files.hasNext())
        QCOMPARE(QFileInfo(files.next()).fileName(), QString("lock")); // nothing half made
    REFUSED(m_place.run("telehelm-data", {"info"}), 3, {"no corpus", "telehelm-data demo"});
}

void TestWrongUses::tooFewRanks() {
    const QString config = m_place.config("two", 2);
    REFUSED(m_place.run("telehelm-rank", {"--config", config, "--steps", "5"}), 2, {"two.toml", "2 ranks", "1 was started", "mpirun -np 2 telehelm-rank"});
    QVERIFY(!QFile::exists(m_place.path("xdg_state_home/telehelm/runs/two")));
}

void TestWrongUses::noDaemon() {
    const QString empty = m_place.path("empty");
    for (const QStringList& words : {QStringList{"runs"}, {"pause", "demo"}, {"watch", "demo"}, {"daemon", "stop"}, {"audit"}})
        REFUSED(m_place.run("telehelmctl", QStringList{"--state-dir", empty} + words), 3, {empty, "telehelmctl daemon start"});
    REFUSED(m_place.run("telehelmctl", {"--server", "127.0.0.1:9", "runs"}), 3, {"127.0.0.1:9"});
    QVERIFY(!QFile::exists(empty));
    // A card that a killed daemon left.
    QVERIFY(QDir().mkpath(empty));
    QFile card(empty + "/daemon.json");
    QVERIFY(card.open(QIODevice::WriteOnly));
    card.write(R"({"pid":999999,"control":"127.0.0.1:9"})");
    card.close();
    REFUSED(m_place.run("telehelmctl", {"--state-dir", empty, "runs"}), 3, {empty, "does not answer", "telehelmctl daemon start"});
}

void TestWrongUses::aPortThatIsTaken() {
    const TakenPort port;
    const QString taken = port.address(), state = m_place.path("taken");
    QVERIFY(!taken.isEmpty());
    const QStringList rest = {"--state-dir", state};
    REFUSED(m_place.run("telehelmd", rest + QStringList{"--control", taken, "--live", "tcp://127.0.0.1:*"}), 1, {taken, "taken", "any free one"});
    REFUSED(m_place.run("telehelmd", rest + QStringList{"--control", "127.0.0.1:0", "--live", "tcp://" + taken}), 1, {taken, "taken", "any free one"});
    REFUSED(m_place.run("telehelmd", rest + QStringList{"--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*", "--link", "tcp://" + taken}), 1,
            {taken, "taken", "any free one"});
    REFUSED(m_place.run("telehelmd", rest + QStringList{"--control", "0.0.0.0:0", "--live", "tcp://127.0.0.1:*"}), 1, {"0.0.0.0", "loopback"});
    QVERIFY(!QFile::exists(state + "/daemon.json"));
    // The folder is as good as before.
    const Said started = m_place.run("telehelmctl", {"--state-dir", state, "daemon", "start", "--any-port"});
    QVERIFY2(started.code == 0, qPrintable(started.text()));
    QCOMPARE(m_place.run("telehelmctl", {"--state-dir", state, "daemon", "stop"}).code, 0);
}

void TestWrongUses::aStateFolderThatCannotBeWritten() {
    QFile file(m_place.path("a-file"));
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.close();
    const auto check = [&](const QString& dir) {
        REFUSED(m_place.run("telehelmd", {"--state-dir", dir, "--control", "127.0.0.1:0"}), 1, {dir, "--state-dir"});
        const Said ctl = m_place.run("telehelmctl", {"--state-dir", dir, "daemon", "start", "--any-port"});
        REFUSED(ctl, 4, {dir, "--state-dir"});
    };
    check(file.fileName() + "/state");
    if (QTest::currentTestFailed())
        return;
    const QString dir = m_place.path("read-only");
    std::optional<SmallDisk> disk;
    if (geteuid() == 0) {
        disk.emplace(dir, "ro,size=1m");
        if (!disk->isMounted())
            QSKIP("no read-only folder for root without the right to mount");
    } else {
        QVERIFY(QDir().mkpath(dir));
        QVERIFY(QFile::setPermissions(dir, QFile::ReadOwner | QFile::ExeOwner));
    }
    check(dir);
}

void TestWrongUses::aSecondDaemon() {
    REFUSED(m_place.run("telehelmd", {"--state-dir", m_place.state(), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"}), 1,
            {m_place.state(), "another telehelmd (pid ", "telehelmctl daemon stop", "--state-dir"});
    const Said again = m_place.startDaemon(); // asking for one that runs is no mistake
    QVERIFY2(again.code == 0 && again.out.contains("runs already"), qPrintable(again.text()));
}

void TestWrongUses::anotherProtocol() {
    QFile card(m_place.state() + "/daemon.json");
    QVERIFY(card.open(QIODevice::ReadOnly));
    const QString control = QString::fromUtf8(card.readAll()).section("\"control\": \"", 1).section('"', 0, 0);
    const auto hello = ipc::makeControlClient(control.toStdString(), 10'000)->hello(ipc::kOldestProtocolVersion - 1, "telehelm 0");
    QVERIFY(!hello && hello.error().code == ErrorCode::VersionMismatch);
    const QString text = QString::fromStdString(hello.error().text());
    QVERIFY2(text.contains(QString::number(ipc::kOldestProtocolVersion - 1)) && !text.contains('\n'), qPrintable(text));
}

void TestWrongUses::anUnknownRun() {
    for (const QStringList& words : {QStringList{"show", "nobody"}, {"watch", "nobody"}, {"checkpoints", "nobody"}, {"events", "nobody"},
                                     {"audit", "nobody"}, {"series", "nobody"}, {"series", "nobody", "train/loss"}, {"note", "nobody", "text"}, {"delete", "nobody", "--yes"}})
        REFUSED(m_place.ctl(words), 5, {"nobody"});
    for (const QStringList& words :
         {QStringList{"pause"}, {"resume"}, {"checkpoint"}, {"lr", "0.5"}, {"stop", "--reason", "a reason long enough"},
          {"restart", "--reason", "a reason long enough"}, {"mixture", "Code=100", "--reason", "a reason long enough"}}) {
        QStringList all = words;
        all.insert(1, "nobody");
        REFUSED(m_place.ctl(all), 4, {"nobody"});
    }
}

void TestWrongUses::withoutMpi() {
    const QString state = m_place.path("nompi");
    const QStringList none = {"PATH=" + m_place.path("nothing"), "TELEHELM_PROBE=1"};
    const auto ctl = [&](const QStringList& words) {
        return m_place.run("telehelmctl", QStringList{"--state-dir", state} + words, none, 90'000);
    };
    const Said started = ctl({"daemon", "start", "--any-port"});
    QVERIFY2(started.code == 0, qPrintable(started.text()));
    REFUSED(ctl({"start", m_place.config("pair", 2)}), 5, {"mpirun", "openmpi-bin", "2 ranks"});
    QVERIFY(!QFile::exists(state + "/runs/pair"));
    const Said alone = ctl({"start", m_place.config("alone", 1)});
    QVERIFY2(alone.code == 0, qPrintable(alone.text()));
    const Said watched = ctl({"watch", "alone", "--steps", "3"});
    QVERIFY2(watched.code == 0, qPrintable(watched.text()));
    const Said stopped = ctl({"daemon", "stop", "--stop-jobs"});
    QVERIFY2(stopped.code == 0, qPrintable(stopped.text()));
}

void TestWrongUses::damage(const QString& checkpoint) {
    const QStringList parts = QDir(checkpoint).entryList({"rank-*.bin"});
    QCOMPARE(parts.size(), 1);
    QFile part(checkpoint + "/" + parts.front());
    QVERIFY(part.open(QIODevice::ReadWrite) && part.seek(100));
    QVERIFY(part.write("damaged") == 7);
}

void TestWrongUses::aDamagedCheckpoint() {
    const Said started = m_place.ctl({"start", m_place.config("harm")});
    QVERIFY2(started.code == 0, qPrintable(started.text()));
    QVERIFY(QTest::qWaitFor([&] { return m_place.step("harm") > 5; }, kPatience));
    QCOMPARE(m_place.ctl({"checkpoint", "harm"}).code, 0);
    const QString folder = m_place.state() + "/runs/harm/checkpoints";
    const QStringList saved = QDir(folder).entryList({"a1-*"});
    QCOMPARE(saved.size(), 1);
    damage(folder + "/" + saved.front());
    const QString step = QString::number(saved.front().section('-', -1).toLongLong());
    const Said restart = m_place.ctl({"restart", "harm", "--step", step, "--reason", "to see whether it is refused"});
    REFUSED(restart, 4, {"step " + step, "rank-00000.bin", "checksum"});
    QCOMPARE(m_place.runState("harm"), QString("running")); // it goes on untouched
    const Said stop = m_place.ctl({"stop", "harm", "--no-checkpoint", "--reason", "the test has seen enough"});
    QVERIFY2(stop.code == 0, qPrintable(stop.text()));
    QCOMPARE(m_place.runState("harm"), QString("stopped"));
}

void TestWrongUses::anAutomaticResumePastADamagedCheckpoint() {
    const QString config = m_place.config("again", 1, "every_steps = 0", "every_steps = 5");
    const QStringList words = {"--config", config, "--run-dir", m_place.path("again/attempt-1"), "--offline", "--steps"};
    const Said first = m_place.run("telehelm-rank", words + QStringList{"20"});
    QVERIFY2(first.code == 0, qPrintable(first.text()));
    const QString folder = m_place.path("again/checkpoints/");
    QStringList saved = QDir(folder).entryList({"a1-*"}, QDir::Dirs, QDir::Name);
    QVERIFY(saved.size() >= 2);
    QCOMPARE(saved.back(), QString("a1-step-00000020"));
    damage(folder + saved.back());
    const Said second = m_place.run("telehelm-rank", words + QStringList{"25"});
    QVERIFY2(second.code == 0, qPrintable(second.text()));
    QVERIFY2(second.out.contains("a1-step-00000020 is damaged (") && second.out.contains(": rank-00000.bin, ") && second.out.contains("of " + saved.at(saved.size() - 2)),
             qPrintable(second.text()));
    for (const QString& checkpoint : QDir(folder).entryList({"a1-*"}, QDir::Dirs))
        damage(folder + checkpoint);
    const Said third = m_place.run("telehelm-rank", words + QStringList{"30"});
    QCOMPARE(third.code, 4);
    QVERIFY2(third.out.contains("no sound checkpoint is left") && third.out.contains("remove the damaged ones"), qPrintable(third.text()));
}

void TestWrongUses::noSpaceForTheState() {
    const QString dir = m_place.path("small-state");
    SmallDisk disk(dir, "size=32k");
    if (!disk.isMounted())
        QSKIP("mounting a small file system takes root");
    REFUSED(m_place.run("telehelmd", {"--state-dir", dir, "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"}), 1, {dir, "disk full"});
    QVERIFY(!QFile::exists(dir + "/daemon.json"));
    QVERIFY(disk.remount("size=20m"));
    const auto ctl = [&](const QStringList& words) { return m_place.run("telehelmctl", QStringList{"--state-dir", dir} + words); };
    const Said started = ctl({"daemon", "start", "--any-port"});
    QVERIFY2(started.code == 0, qPrintable(started.text()));
    REFUSED(ctl({"start", m_place.config("toobig")}), 1, {dir, "MB are free", "500 MB", "--state-dir"});
    QVERIFY(!QFile::exists(dir + "/runs/toobig"));
    QCOMPARE(ctl({"daemon", "stop"}).code, 0);
}

void TestWrongUses::noSpaceForACheckpoint() {
    const QString place = m_place.path("small-checkpoints"), folder = m_place.state() + "/runs/crowded";
    SmallDisk disk(place, "size=64k");
    if (!disk.isMounted())
        QSKIP("mounting a small file system takes root");
    QVERIFY(QDir().mkpath(folder) && QFile::link(place, folder + "/checkpoints"));
    const Said started = m_place.ctl({"start", m_place.config("crowded")});
    QVERIFY2(started.code == 0, qPrintable(started.text()));
    QVERIFY(QTest::qWaitFor([&] { return m_place.step("crowded") > 5; }, kPatience));
    REFUSED(m_place.ctl({"checkpoint", "crowded"}), 1, {"No space left on device", "crowded/checkpoints"});
    const Said events = m_place.ctl({"events", "crowded"});
    QVERIFY2(events.out.contains("could not be saved") && events.out.contains("No space left"), qPrintable(events.text()));
    QCOMPARE(QDir(place).entryList(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot), QStringList()); // no half folder
    const qint64 step = m_place.step("crowded");
    QVERIFY(QTest::qWaitFor([&] { return m_place.step("crowded") > step + 50; }, kPatience)); // training goes on
    QVERIFY(disk.remount("size=64m"));
    const Said saved = m_place.ctl({"checkpoint", "crowded"});
    QVERIFY2(saved.code == 0, qPrintable(saved.text()));
    const Said stop = m_place.ctl({"stop", "crowded", "--reason", "the test has seen enough"});
    QVERIFY2(stop.code == 0, qPrintable(stop.text()));
    QCOMPARE(m_place.runState("crowded"), QString("stopped"));
}

// Only the daemon of initTestCase runs between the tests.
void TestWrongUses::cleanup() {
    if (QTest::currentTestFailed())
        return;
    QStringList left;
    (void)QTest::qWaitFor([&] { return (left = m_place.strays()).size() <= 1; }, kPatience);
    QVERIFY2(left.size() <= 1, qPrintable(left.join('\n')));
}

void TestWrongUses::cleanupTestCase() {
    m_place.stopDaemon();
    (void)m_place.run("telehelmctl", {"--state-dir", m_place.path("nompi"), "daemon", "stop", "--stop-jobs"});
    QVERIFY2(QTest::qWaitFor([&] { return m_place.strays().isEmpty(); }, kPatience), qPrintable(m_place.strays().join('\n')));
    QVERIFY(!QFile::exists(m_place.state() + "/daemon.json"));
}

QTEST_GUILESS_MAIN(TestWrongUses)
#include "tst_wrong_uses.moc"
