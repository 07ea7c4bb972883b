// SPDX-License-Identifier: Apache-2.0
// A rank that dies or hangs in any phase of a step: the daemon says which one and why, restarts the run from its last good
// checkpoint by itself, and the curve is the unbroken run's, bit for bit.
#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>

#undef emit // Qt's macro; the trainer link has a method of this name

#include <bit>
#include <map>
#include <set>
#include <utility>

#include "daemon/daemon.h"
#include "daemon/retry.h"
#include "data/corpus_writer.h"
#include "must.h"
#include "supervise/job_command.h"

using namespace telehelm;
using namespace telehelm::ipc;
using telehelm::tests::must;

namespace {

constexpr int kPatience = 90'000;
constexpr std::int64_t kSteps = 40;
const std::string kData = "data = 2\n", kTensor = "tensor = 2\nsequence = true\n", kPipeline = "pipeline = 2\n", kBoth = kTensor + kPipeline;

/// `mesh`: lines of [parallel].
std::string configText(const std::string& name, const std::string& corpus, const std::string& mesh, const std::string& extra) {
    const std::string head = "name = \"" + name + "\"\n[data]\ncorpus = \"" + corpus + "\"\n";
    return "steps = 40\n" + head + R"([data.mixture]
Code = 50.0
WebText = 50.0
[model]
layers = 2
hidden_size = 32
attention_heads = 2
ffn_hidden_size = 64
vocab_size = 272
context_length = 32
standard_deviation = 2.0e-2
matrix_standard_deviation = 2.0e-2
[optimizer]
learning_rate = 1.0e-3
matrix_learning_rate = 1.0e-3
[batch]
sequences = 8
micro_sequences = 2
[validation]
every_steps = 0
[checkpoint]
every_steps = 10
[parallel]
)" + mesh + extra;
}

struct Death {
    const char *name, *phase, *how;
    int rank, step;
    std::string mesh;
    [[nodiscard]] std::string run() const { return QString(name).remove(',').replace(' ', '-').toStdString(); }
};
const Death kDeaths[] = {
    {"data", "data", "signal", 1, 26, kData},
    {"forward", "forward", "exit", 1, 27, kData},
    {"backward", "backward", "signal", 0, 23, kData},
    {"reduce", "reduce", "signal", 1, 35, kData},
    {"optimizer", "optimizer", "exit", 0, 21, kData},
    {"gather", "gather", "signal", 1, 39, kData},
    {"checkpoint", "checkpoint", "signal", 1, 20, kData},
    {"before any checkpoint", "forward", "signal", 1, 4, kData},
    {"between data ranks", "comm_data", "signal", 1, 33, kData},
    {"between tensor ranks", "comm_tensor", "signal", 1, 24, kTensor},
    {"between stages", "comm_pipeline", "exit", 0, 28, kPipeline},
    {"tensor and stages", "backward", "signal", 3, 31, kBoth},
    {"first rank of four, saving", "checkpoint", "signal", 0, 30, kBoth},
};

} // namespace

class TestRecovery : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void aDeathIsMended_data();
    void aDeathIsMended();
    void aHangIsKilledAndMended_data();
    void aHangIsKilledAndMended();
    void retriesAreBounded();
    void aCheckpointThatKillsIsNotTakenAgain();
    void aCheckpointThatKillsLaterIsTakenTwice();
    void stopWinsOverAPendingRestart();
    void aPendingRestartOutlivesTheDaemon();
    void aDamagedCheckpointIsNotUsed();
    void withoutASoundCheckpointItStaysDown();
    void cleanupTestCase();

private:
    void start(const std::string& name, const std::string& extra, const std::string& mesh = kData) {
        StartRequest request;
        request.configToml = configText(name, m_dir.filePath("corpus").toStdString(), mesh, extra);
        request.configPath = m_dir.filePath("config.toml").toStdString();
        request.commandId = newUuid();
        must(m_daemon->startRun(request));
    }
    AttemptInfo newest(const std::string& run) { return *must(m_daemon->getRun(run)).newest(); }
    bool ends(const std::string& run, std::uint32_t attempt, AttemptState state) {
        const bool ended = QTest::qWaitFor([&] { return newest(run).key.attempt == attempt && newest(run).state == state; }, kPatience);
        if (!ended)
            qWarning("%s/%u is %s: %s", run.c_str(), newest(run).key.attempt, name(newest(run).state), newest(run).stateText.c_str());
        return ended;
    }
    std::map<std::int64_t, std::uint64_t> lossBits(const std::string& run) {
        SeriesQuery query;
        query.key = {run, 0};
        query.names = {series::kTrainLoss};
        query.maxBuckets = 0;
        std::map<std::int64_t, std::uint64_t> bits;
        must(m_daemon->querySeries(query, [&](SeriesSegment&& segment) {
            for (const Bucket& bucket : segment.buckets)
                bits[bucket.firstStep] = std::bit_cast<std::uint64_t>(bucket.first);
            return true;
        }));
        return bits;
    }
    std::vector<Event> events(const std::string& run, EventKind kind) {
        std::vector<Event> found;
        for (Event& event : must(m_daemon->listEvents({run, 0, 0})))
            if (event.kind == kind)
                found.push_back(std::move(event));
        return found;
    }
    QString dirOf(const std::string& run) const { return m_dir.filePath("state/runs/" + QString::fromStdString(run)); }
    Command order(const std::string& run, CommandKind kind) {
        Command command;
        command.id = newUuid();
        command.key.run = run;
        command.kind = kind;
        command.author = "tester";
        command.reason = "because the test says so";
        return command;
    }

    void openDaemon() {
        daemon::DaemonOptions options;
        options.stateDir = m_dir.filePath("state").toStdString();
        options.rankProgram = qEnvironmentVariable("TELEHELM_BIN", QCoreApplication::applicationDirPath()).toStdString() + "/telehelm-rank";
        m_daemon = must(daemon::Daemon::open(options));
    }
    [[nodiscard]] QStringList checkpointsOf(const std::string& run) const; // of its first attempt, oldest first
    void damage(const std::string& run, const QString& checkpoint);
    void startDeathsTo(std::size_t end);
    void startWaitingOnes();

    QTemporaryDir m_dir;
    std::size_t m_deathsStarted = 0;
    bool m_waitingOnesStarted = false;
    std::unique_ptr<daemon::Daemon> m_daemon;
    std::map<std::string, std::map<std::int64_t, std::uint64_t>> m_unbroken; // by mesh
};

void TestRecovery::initTestCase() {
    if (supervise::findProgram("mpirun").empty())
        QSKIP("mpirun is missing (package openmpi-bin)");
    std::vector<std::string> code, web;
    for (int i = 0; i < 200; ++i) {
        std::string text = "def f" + std::to_string(i) + "(x):\n", words;
        for (int j = 0; j < 20; ++j) {
            text += "    x = x * " + std::to_string(i * j) + "\n";
            words += "Page " + std::to_string(i) + " tells about thing " + std::to_string(j * 7 % 13) + ". ";
        }
        code.push_back(text);
        web.push_back(words);
    }
    must(data::writeCorpus(m_dir.filePath("corpus").toStdString(), {{"Code", "code", code}, {"WebText", "en", web}}));
    QDir().mkpath(m_dir.filePath("state"));
    openDaemon();
    // All at once: each is small, and starting takes longest.
    const std::map<std::string, std::string> meshes = {{kData, "data"}, {kTensor, "tensor"}, {kPipeline, "pipeline"}, {kBoth, "both"}};
    for (const auto& [mesh, name] : meshes)
        start("unbroken-" + name, "", mesh);
    for (const auto& [mesh, name] : meshes) {
        QVERIFY(ends("unbroken-" + name, 1, AttemptState::Finished));
        m_unbroken[mesh] = lossBits("unbroken-" + name);
        QCOMPARE(static_cast<std::int64_t>(m_unbroken[mesh].size()), kSteps);
    }
}

void TestRecovery::aDeathIsMended_data() {
    QTest::addColumn<int>("row");
    for (std::size_t i = 0; i < std::size(kDeaths); ++i)
        QTest::newRow(kDeaths[i].name) << static_cast<int>(i);
}

/// Starting takes longest: the next few rows' runs are on their way while one is looked at.
void TestRecovery::startDeathsTo(std::size_t end) {
    for (; m_deathsStarted < std::min(end, std::size(kDeaths)); ++m_deathsStarted) {
        const Death& death = kDeaths[m_deathsStarted];
        start(death.run(), "[faults]\nslow_ms = 20\ndie_step = " + std::to_string(death.step) + "\ndie_rank = " + std::to_string(death.rank) +
                               "\ndie_phase = \"" + death.phase + "\"\ndie_how = \"" + death.how + "\"\n[restart_policy]\nbackoff_s = 0.1\n", death.mesh);
    }
}

void TestRecovery::aDeathIsMended() {
    QFETCH(int, row);
    const Death& death = kDeaths[row];
    startDeathsTo(static_cast<std::size_t>(row) + 4);
    const std::string run = death.run();
    QVERIFY(ends(run, 2, AttemptState::Finished));
    const RunInfo info = must(m_daemon->getRun(run));
    QVERIFY(info.attempts[0].state == AttemptState::Failed);
    QVERIFY(info.attempts[1].forkStep <= death.step); // a save that is still busy puts the next one off
    QCOMPARE(info.attempts[1].parent, info.attempts[1].forkStep > 0 ? 1u : 0u); // saves happen beside the training
    QVERIFY(death.step > 10 || info.attempts[1].forkStep == 0);
    const auto failures = events(run, EventKind::RankFailed);
    QCOMPARE(failures.size(), std::size_t{1});
    const std::string& text = failures[0].text;
    QVERIFY2(failures[0].facts.at("rank") == std::to_string(death.rank), text.c_str());
    QVERIFY2(failures[0].facts.at("why").starts_with(death.how == std::string("exit") ? "exit code 70" : "signal 9"), text.c_str());
    QVERIFY2(text.find("rank " + std::to_string(death.rank) + " dies in step " + std::to_string(death.step)) != std::string::npos, text.c_str());
    const auto commands = must(m_daemon->listCommands({}));
    QVERIFY(std::ranges::any_of(commands, [&](const Command& c) {
        return c.key.run == run && c.kind == CommandKind::Restart && c.author == "telehelmd" && c.state == CommandState::Applied && c.newAttempt == 2;
    }));
    QVERIFY(lossBits(run) == m_unbroken.at(death.mesh));
}

/// Those that spend their time waiting do so together.
void TestRecovery::startWaitingOnes() {
    if (std::exchange(m_waitingOnesStarted, true))
        return;
    const auto hang = [](const std::string& phase, int rank) { // starting must take less than hang_s
        return "[faults]\nhang_step = 25\nhang_rank = " + std::to_string(rank) + "\nhang_phase = \"" + phase + "\"\n[restart_policy]\nbackoff_s = 0.1\nhang_s = 15\n";
    };
    start("hang-comm_tensor", hang("comm_tensor", 1), kTensor);
    start("hang-comm_pipeline", hang("comm_pipeline", 2), kBoth);
    // Each attempt makes more than reset_steps steps, but none that was not made before.
    start("doomed", "[faults]\nattempt = 0\nslow_ms = 20\ndie_step = 18\ndie_rank = 1\ndie_phase = \"reduce\"\n[restart_policy]\nbackoff_s = 0.1\nmax_retries = 2\nreset_steps = 6\n");
    // Slow enough for each save to be over before the next one is due.
    start("deadly", "[faults]\nattempt = 0\nslow_ms = 500\nslow_from = 11\ndie_step = 21\ndie_phase = \"optimizer\"\n[restart_policy]\nbackoff_s = 0.2\nmax_retries = 3\n");
    start("deadly-later", "[faults]\nattempt = 0\nslow_ms = 500\nslow_from = 11\ndie_step = 23\ndie_rank = 1\n[restart_policy]\nbackoff_s = 0.1\nmax_retries = 3\n");
}

void TestRecovery::aHangIsKilledAndMended_data() {
    QTest::addColumn<std::string>("mesh");
    QTest::addColumn<QString>("phase");
    QTest::addColumn<int>("rank");
    QTest::newRow("of two tensor ranks") << kTensor << "comm_tensor" << 1;
    QTest::newRow("of two stages of two") << kBoth << "comm_pipeline" << 2;
}

void TestRecovery::aHangIsKilledAndMended() {
    QFETCH(std::string, mesh);
    QFETCH(QString, phase);
    QFETCH(int, rank);
    const std::string run = "hang-" + phase.toStdString();
    startWaitingOnes();
    QVERIFY(ends(run, 2, AttemptState::Finished));
    const auto failures = events(run, EventKind::RankFailed);
    QCOMPARE(failures.size(), std::size_t{1});
    QCOMPARE(failures[0].facts.at("why"), std::string("hang"));
    const std::string hung = std::to_string(rank);
    QVERIFY2(failures[0].facts.contains("rank") && failures[0].facts.at("rank") == hung, failures[0].text.c_str());
    QVERIFY2(failures[0].text.starts_with("Rank " + hung + " hangs: no progress for "), failures[0].text.c_str());
    const QString waits = ", waiting for other ranks)";
    const QStringList lines = QString::fromStdString(failures[0].text).split('\n'); // the first one tells, then one for each rank
    for (int other = 0; other < (mesh == kBoth ? 4 : 2); ++other)
        QVERIFY2(lines[other + 1].startsWith(QString("rank %1 (pid ").arg(other)) && lines[other + 1].endsWith(waits) == (other != rank),
                 failures[0].text.c_str());
    QVERIFY(lossBits(run) == m_unbroken.at(mesh));
}

void TestRecovery::retriesAreBounded() {
    startWaitingOnes();
    QVERIFY(ends("doomed", 3, AttemptState::Failed));
    QTRY_VERIFY(!events("doomed", EventKind::Note).empty() &&
                events("doomed", EventKind::Note).back().text.find("2 times in a row already") != std::string::npos);
    QTest::qWait(1000);
    QCOMPARE(newest("doomed").key.attempt, 3u);
    std::vector<std::string> restarts;
    for (const Event& event : events("doomed", EventKind::Note))
        if (event.facts.contains("restart"))
            restarts.push_back(event.facts.at("restart"));
    QCOMPARE(restarts, (std::vector<std::string>{"1", "2"}));
}

/// Sound to the eye, but nobody gets one step further from it: the one before it is next, and the time between doubles.
void TestRecovery::aCheckpointThatKillsIsNotTakenAgain() {
    startWaitingOnes();
    QVERIFY(ends("deadly", 4, AttemptState::Failed));
    const RunInfo info = must(m_daemon->getRun("deadly"));
    std::set<std::string> deadly; // so far; which checkpoints were whole in time differs from run to run
    for (const AttemptInfo& attempt : info.attempts) {
        const std::string from = must(config::parseRunConfig(attempt.configToml, "")).resume.checkpoint;
        QVERIFY2(!deadly.contains(from), qPrintable(QString("attempt %1 starts where another died at once").arg(attempt.key.attempt)));
        QVERIFY(attempt.forkStep % 10 == 0 && attempt.forkStep <= 20);
        if (attempt.key.attempt > 1 && attempt.step == attempt.forkStep)
            deadly.insert(from);
    }
    QVERIFY(!deadly.empty());
    std::vector<std::string> delays;
    for (const Event& event : events("deadly", EventKind::Note))
        if (event.facts.contains("delay_s"))
            delays.push_back(event.facts.at("delay_s"));
    QCOMPARE(delays, (std::vector<std::string>{"0.2 s", "0.4 s", "0.8 s"}));
}

/// Each attempt from it makes two steps that were made before.
void TestRecovery::aCheckpointThatKillsLaterIsTakenTwice() {
    startWaitingOnes();
    QVERIFY(ends("deadly-later", 4, AttemptState::Failed));
    const auto& attempts = must(m_daemon->getRun("deadly-later")).attempts;
    QCOMPARE(attempts[0].step, std::int64_t{22});
    const std::vector<std::int64_t> forks = {attempts[1].forkStep, attempts[2].forkStep, attempts[3].forkStep};
    QCOMPARE(forks, (std::vector<std::int64_t>{20, 20, 10}));
    const auto commands = must(m_daemon->listCommands({"deadly-later"}));
    const auto last = std::ranges::find(commands, 4u, &Command::newAttempt);
    QVERIFY(last != commands.end());
    QVERIFY2(last->outcome.ends_with("a1-step-00000020: attempts 2 and 3 from it died without coming farther than step 22, which was reached before."),
             last->outcome.c_str());
}

void TestRecovery::stopWinsOverAPendingRestart() {
    start("stopped", "[faults]\ndie_step = 12\n[restart_policy]\nbackoff_s = 3\n");
    QVERIFY(ends("stopped", 1, AttemptState::Failed));
    const Command stop = must(m_daemon->submit(order("stopped", CommandKind::Stop)));
    QVERIFY2(stop.state == CommandState::Accepted, stop.outcome.c_str());
    QVERIFY(must(m_daemon->getCommand(stop.id)).state == CommandState::Applied);
    QTest::qWait(4000);
    QCOMPARE(newest("stopped").key.attempt, 1u);
    QVERIFY(must(m_daemon->submit(order("stopped", CommandKind::Stop))).state == CommandState::Rejected);
}

/// The daemon is stopped while a restart waits for its time: the next daemon makes it, and counts on where the first one was.
void TestRecovery::aPendingRestartOutlivesTheDaemon() {
    start("patient", "[faults]\nattempt = 0\nslow_ms = 60\ndie_step = 15\n[restart_policy]\nbackoff_s = 2\nmax_retries = 2\n");
    QVERIFY(ends("patient", 1, AttemptState::Failed));
    QTRY_VERIFY(must(m_daemon->listCommands({"patient"})).empty() && !events("patient", EventKind::Note).empty());
    m_daemon.reset();
    openDaemon();
    QCOMPARE(newest("patient").key.attempt, 1u);
    QVERIFY(ends("patient", 2, AttemptState::Failed));
    m_daemon.reset();
    openDaemon();
    QVERIFY(ends("patient", 3, AttemptState::Failed));
    QTRY_VERIFY(events("patient", EventKind::Note).back().text.find("2 times in a row already") != std::string::npos);
    m_daemon.reset();
    openDaemon();
    QTest::qWait(1000);
    QCOMPARE(newest("patient").key.attempt, 3u);
    QCOMPARE(daemon::madeByItself(must(m_daemon->listCommands({"patient"}))), (std::set<std::uint32_t>{2, 3}));

    // What was called off stays so.
    start("called-off", "[faults]\ndie_step = 12\n[restart_policy]\nbackoff_s = 3\n");
    QVERIFY(ends("called-off", 1, AttemptState::Failed));
    QVERIFY(must(m_daemon->submit(order("called-off", CommandKind::Stop))).state == CommandState::Accepted);
    m_daemon.reset();
    openDaemon();
    QTest::qWait(4000);
    QCOMPARE(newest("called-off").key.attempt, 1u);
}

QStringList TestRecovery::checkpointsOf(const std::string& run) const {
    return QDir(dirOf(run) + "/checkpoints").entryList({"a1-*"}, QDir::Dirs, QDir::Name);
}

void TestRecovery::damage(const std::string& run, const QString& checkpoint) {
    const QDir folder(dirOf(run) + "/checkpoints/" + checkpoint);
    for (const QString& file : folder.entryList(QDir::Files))
        if (!file.endsWith(".json")) {
            QFile damaged(folder.filePath(file));
            QVERIFY(damaged.open(QIODevice::ReadWrite) && damaged.seek(damaged.size() / 2) && damaged.write("damage") == 6);
        }
}

void TestRecovery::aDamagedCheckpointIsNotUsed() {
    start("damaged", "[faults]\nslow_ms = 40\ndie_step = 35\n[restart_policy]\nbackoff_s = 3\n");
    start("all-damaged", "[faults]\nslow_ms = 40\ndie_step = 25\n[restart_policy]\nbackoff_s = 3\n");
    QVERIFY(ends("all-damaged", 1, AttemptState::Failed));
    for (const QString& checkpoint : checkpointsOf("all-damaged"))
        damage("all-damaged", checkpoint);
    QVERIFY(ends("damaged", 1, AttemptState::Failed));
    const QStringList saved = checkpointsOf("damaged");
    QVERIFY(saved.size() > 1);
    damage("damaged", saved.back());
    QVERIFY(ends("damaged", 2, AttemptState::Finished));
    QCOMPARE(newest("damaged").forkStep, saved[saved.size() - 2].last(8).toLongLong());
    QVERIFY(lossBits("damaged") == m_unbroken.at(kData));
}

/// Going on from step 0 would throw away what was trained, and nobody would know.
void TestRecovery::withoutASoundCheckpointItStaysDown() {
    const auto told = [&] {
        for (const Event& event : events("all-damaged", EventKind::Note))
            if (event.severity == Severity::Critical)
                return event.text;
        return std::string();
    };
    QTRY_VERIFY_WITH_TIMEOUT(!told().empty(), kPatience);
    const QStringList saved = checkpointsOf("all-damaged");
    QVERIFY(!saved.isEmpty());
    for (const QString& checkpoint : saved)
        QVERIFY2(told().find(checkpoint.toStdString() + ": rank-") != std::string::npos, told().c_str());
    QTest::qWait(500);
    QCOMPARE(newest("all-damaged").key.attempt, 1u);
}

void TestRecovery::cleanupTestCase() {
    if (m_daemon)
        m_daemon->stopAllJobs(20'000);
}

QTEST_GUILESS_MAIN(TestRecovery)
#include "tst_recovery.moc"
