// SPDX-License-Identifier: Apache-2.0
// telehelmd and a run on tensor 2 × pipeline 2 as real processes, steered through every command over gRPC; the daemon is killed once
// in the middle. At the end every emitted point is stored exactly once.
#include <QDir>
#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>
#include <QRegularExpression>
#include <QTemporaryDir>
#include <QTest>

#undef emit // Qt's macro; the trainer link has a method of this name

#include <cmath>
#include <csignal>
#include <map>

#include "data/corpus_writer.h"
#include "must.h"
#include "supervise/job_command.h"
#include "telehelm/ipc/control_client.h"

using namespace telehelm;
using namespace telehelm::ipc;
using telehelm::tests::must;

namespace {

constexpr int kPatience = 90'000;

constexpr const char* kConfig = R"(name = "e2e"
description = "four ranks, a tiny model"
steps = 1_000_000
[model]
layers = 2
hidden_size = 32
attention_heads = 2
ffn_hidden_size = 64
vocab_size = 272
context_length = 64
standard_deviation = 2.0e-2
matrix_standard_deviation = 2.0e-2
[optimizer]
learning_rate = 1.0e-3
matrix_learning_rate = 1.0e-3
[batch]
sequences = 8
micro_sequences = 2
[data]
corpus = "corpus"
[data.mixture]
Code = 50.0
WebText = 50.0
[parallel]
tensor = 2
sequence = true
pipeline = 2
[validation]
every_steps = 100
sequences_per_domain = 2
[checkpoint]
every_steps = 400
keep_last = 100
)";

struct LogFacts {
    std::map<std::int64_t, double> losses;
    qint64 emitted = -1, acked = -1;
};

LogFacts readLog(const QString& file) {
    LogFacts facts;
    QFile in(file);
    if (!in.open(QIODevice::ReadOnly))
        return facts;
    static const QRegularExpression step(R"(step (\d+)/\d+\s+loss ([0-9.]+))"), end(R"((\d+) points emitted, (\d+) acked)");
    for (QByteArray line = in.readLine(); !line.isEmpty(); line = in.readLine()) {
        const QString text = QString::fromUtf8(line);
        if (const auto match = step.match(text); match.hasMatch())
            facts.losses[match.captured(1).toLongLong()] = match.captured(2).toDouble();
        if (const auto match = end.match(text); match.hasMatch()) {
            facts.emitted = match.captured(1).toLongLong();
            facts.acked = match.captured(2).toLongLong();
        }
    }
    return facts;
}

} // namespace

class TestEndToEnd : public QObject {
    Q_OBJECT

private slots:
    void initTestCase();
    void startsAndRuns();
    void aSecondDaemonIsRefused();
    void pausesAndResumes();
    void savesACheckpoint();
    void changesTheMixture();
    void scalesTheLearningRate();
    void survivesTheDaemonsDeath();
    void restartsFromACheckpoint();
    void stops();
    void everyPointIsStoredOnce();
    void theDaemonStopsCleanly();
    void init();
    void cleanup();
    void cleanupTestCase();

private:
    void startDaemon();
    AttemptInfo newest() { return *must(m_client->getRun("e2e")).newest(); }
    bool becomes(AttemptState state) {
        return QTest::qWaitFor([&] { return newest().state == state; }, kPatience);
    }
    bool reaches(std::int64_t step) {
        return QTest::qWaitFor([&] { return newest().step >= step; }, kPatience);
    }
    Command order(CommandKind kind);
    Command carryOut(const Command& command); // waits for its end
    std::vector<Bucket> raw(std::uint32_t attempt, const std::string& name);
    QString attemptDir(std::uint32_t attempt) const { return m_dir.filePath("state/runs/e2e/attempt-" + QString::number(attempt)); }

    QTemporaryDir m_dir;
    QProcess m_daemon;
    std::unique_ptr<ControlApi> m_client;
    std::int64_t m_checkpointStep = 0, m_mixtureStep = 0;
    bool m_hasFailed = false;
};

void TestEndToEnd::initTestCase() {
    if (supervise::findProgram("mpirun").empty())
        QSKIP("mpirun is missing (package openmpi-bin)");
    QVERIFY(m_dir.isValid());
    std::vector<std::string> code, web;
    for (int i = 0; i < 200; ++i) {
        std::string text = "def f" + std::to_string(i) + "(x):\n", words;
        for (int j = 0; j < 20; ++j) {
            text += "    x = x * " + std::to_string(i * j) + " + f" + std::to_string(j) + "(x)\n";
            words += "Page " + std::to_string(i) + " tells about thing " + std::to_string(j * 7 % 13) + ". ";
        }
        code.push_back(text);
        web.push_back(words);
    }
    must(data::writeCorpus(m_dir.filePath("corpus").toStdString(), {{"Code", "code", code}, {"WebText", "en", web}}));
    startDaemon();
}

void TestEndToEnd::startDaemon() {
    const QString card = m_dir.filePath("state/daemon.json");
    QFile::remove(card);
    m_daemon.setProcessChannelMode(QProcess::ForwardedChannels);
    m_daemon.start(qEnvironmentVariable("TELEHELM_BIN", QCoreApplication::applicationDirPath()) + "/telehelmd",
                   {"--state-dir", m_dir.filePath("state"), "--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"});
    QVERIFY(m_daemon.waitForStarted());
    QVERIFY(QTest::qWaitFor([&] { return QFile::exists(card); }, kPatience));
    QFile file(card);
    QVERIFY(file.open(QIODevice::ReadOnly));
    const QJsonObject json = QJsonDocument::fromJson(file.readAll()).object();
    QCOMPARE(json["pid"].toInteger(), m_daemon.processId());
    m_client = makeControlClient(json["control"].toString().toStdString(), 30'000);
    QCOMPARE(must(m_client->hello(kProtocolVersion, "tst_end_to_end")).epoch, json["epoch"].toString().toStdString());
}

Command TestEndToEnd::order(CommandKind kind) {
    Command command;
    command.id = newUuid();
    command.key.run = "e2e";
    command.kind = kind;
    command.author = "test";
    command.reason = "the end-to-end test asks for it";
    return command;
}

Command TestEndToEnd::carryOut(const Command& command) {
    const Command accepted = must(m_client->submit(command));
    if (accepted.state == CommandState::Rejected)
        qWarning("%s", accepted.outcome.c_str());
    Command now = accepted;
    (void)QTest::qWaitFor([&] {
        now = must(m_client->getCommand(command.id));
        return now.state != CommandState::Accepted;
    }, kPatience);
    return now;
}

std::vector<Bucket> TestEndToEnd::raw(std::uint32_t attempt, const std::string& name) {
    SeriesQuery query;
    query.key = {"e2e", attempt};
    query.names = {name};
    query.maxBuckets = 0;
    std::vector<Bucket> points;
    must(m_client->querySeries(query, [&](SeriesSegment&& segment) {
        points.insert(points.end(), segment.buckets.begin(), segment.buckets.end());
        return true;
    }));
    return points;
}

// One step depends on the other: after a failure the rest would only wait.
void TestEndToEnd::init() {
    if (m_hasFailed && qstrcmp(QTest::currentTestFunction(), "theDaemonStopsCleanly") != 0)
        QSKIP("an earlier step failed");
}

void TestEndToEnd::cleanup() {
    if (QTest::currentTestFailed() && !m_hasFailed) {
        m_hasFailed = true;
        qWarning("log of the job: %s", qPrintable(attemptDir(1) + "/log.txt"));
    }
}

void TestEndToEnd::startsAndRuns() {
    StartRequest start;
    start.configToml = kConfig;
    start.configPath = m_dir.filePath("e2e.toml").toStdString(); // the corpus lies beside it
    start.author = "test";
    start.commandId = newUuid();
    const RunInfo run = must(m_client->startRun(start));
    QCOMPARE(run.device, std::string("CPU, 4 ranks"));
    QCOMPARE(must(m_client->startRun(start)).run, run.run);
    QVERIFY(becomes(AttemptState::Running));
    QVERIFY(reaches(30));
    QVERIFY(QTest::qWaitFor([&] { return raw(1, series::kTrainLoss).size() >= 30; }, kPatience));
    const double first = raw(1, series::kTrainLoss).front().first;
    QVERIFY2(std::abs(first - std::log(272)) < 0.5, "an untrained model knows nothing");
}

void TestEndToEnd::aSecondDaemonIsRefused() {
    QProcess second;
    second.start(m_daemon.program(), m_daemon.arguments());
    QVERIFY(second.waitForFinished(kPatience));
    QCOMPARE(second.exitCode(), 1);
    QVERIFY(second.readAllStandardError().contains("another telehelmd (pid " + QByteArray::number(m_daemon.processId()) + ")"));
    QProcess taken;
    const std::string control = must(m_client->hello(kProtocolVersion, "test")).linkEndpoint;
    taken.start(m_daemon.program(), {"--state-dir", m_dir.filePath("other"), "--control", "127.0.0.1:0", "--live", QString::fromStdString(control)});
    QVERIFY(taken.waitForFinished(kPatience));
    QCOMPARE(taken.exitCode(), 1);
}

void TestEndToEnd::pausesAndResumes() {
    const Command pause = carryOut(order(CommandKind::Pause));
    QVERIFY(pause.state == CommandState::Applied);
    QVERIFY(becomes(AttemptState::Paused));
    const std::size_t points = raw(1, series::kTrainLoss).size();
    QCOMPARE(static_cast<std::int64_t>(points), pause.appliedStep - 1);
    QTest::qWait(700);
    QCOMPARE(raw(1, series::kTrainLoss).size(), points); // it really stands
    const Command again = must(m_client->submit(order(CommandKind::Pause)));
    QVERIFY(again.state == CommandState::Rejected && !again.outcome.empty());
    QVERIFY(carryOut(order(CommandKind::Resume)).state == CommandState::Applied);
    QVERIFY(becomes(AttemptState::Running));
    QVERIFY(reaches(pause.appliedStep + 5));
}

void TestEndToEnd::savesACheckpoint() {
    const Command save = carryOut(order(CommandKind::Checkpoint));
    QVERIFY2(save.state == CommandState::Applied, save.outcome.c_str());
    m_checkpointStep = save.appliedStep;
    const auto find = [&] {
        for (CheckpointInfo& checkpoint : must(m_client->listCheckpoints("e2e")))
            if (checkpoint.step == m_checkpointStep)
                return std::optional(std::move(checkpoint));
        return std::optional<CheckpointInfo>();
    };
    QVERIFY(QTest::qWaitFor([&] { const auto found = find(); return found && found->verified; }, kPatience));
    QVERIFY(find()->damage.empty() && find()->bytes > 0);
}

void TestEndToEnd::changesTheMixture() {
    Command mix = order(CommandKind::SetMixture);
    mix.mixture = {{"Code", 1.0}, {"WebText", 0.0}};
    mix.atStep = newest().step + 400;
    const Command done = carryOut(mix);
    QVERIFY2(done.state == CommandState::Applied, done.outcome.c_str());
    QCOMPARE(done.appliedStep, mix.atStep);
    m_mixtureStep = mix.atStep;
    QVERIFY(reaches(m_mixtureStep + 40));
    QVERIFY(QTest::qWaitFor([&] {
        const auto points = raw(1, "mixture/Code/actual");
        return !points.empty() && points.back().firstStep > m_mixtureStep + 20;
    }, kPatience));
    for (const Bucket& point : raw(1, "mixture/Code/actual")) {
        if (point.firstStep >= m_mixtureStep)
            QCOMPARE(point.first, 1.0);
    }
    QCOMPARE(must(m_client->getRun("e2e")).domains.at(0).target, 1.0);
    Command wrong = order(CommandKind::SetMixture);
    wrong.mixture = {{"Poetry", 1.0}};
    QVERIFY(must(m_client->submit(wrong)).state == CommandState::Rejected);
}

void TestEndToEnd::scalesTheLearningRate() {
    Command scale = order(CommandKind::SetLrScale);
    scale.lrScale = 0.25;
    const Command done = carryOut(scale);
    QVERIFY2(done.state == CommandState::Applied, done.outcome.c_str());
    QVERIFY(reaches(done.appliedStep + 5));
    QVERIFY(QTest::qWaitFor([&] { return raw(1, series::kLearningRate).back().firstStep > done.appliedStep; }, kPatience));
    std::map<std::int64_t, double> rates;
    for (const Bucket& point : raw(1, series::kLearningRate))
        rates[point.firstStep] = point.first;
    const double ratio = rates.at(done.appliedStep) / rates.at(done.appliedStep - 1);
    QVERIFY2(std::abs(ratio - 0.25) < 0.01, qPrintable(QString::number(ratio)));
}

void TestEndToEnd::survivesTheDaemonsDeath() {
    const std::int64_t before = newest().step;
    ::kill(static_cast<pid_t>(m_daemon.processId()), SIGKILL);
    QVERIFY(m_daemon.waitForFinished(kPatience));
    QVERIFY(!m_client->getRun("e2e"));
    QTest::qWait(1500); // training goes on meanwhile
    startDaemon();
    QVERIFY(newest().state == AttemptState::Running);
    QVERIFY(reaches(before + 50));
    QVERIFY(carryOut(order(CommandKind::Checkpoint)).state == CommandState::Applied); // the link stands again
}

void TestEndToEnd::restartsFromACheckpoint() {
    Command restart = order(CommandKind::Restart);
    restart.restart.emplace();
    restart.restart->checkpointAttempt = 1;
    for (const CheckpointInfo& checkpoint : must(m_client->listCheckpoints("e2e")))
        restart.restart->checkpointStep = checkpoint.step; // the oldest
    restart.restart->lrScale = 0.5;
    restart.restart->skipBatches = 2;
    const std::int64_t fork = restart.restart->checkpointStep;
    const Command done = carryOut(restart);
    QVERIFY2(done.state == CommandState::Applied, done.outcome.c_str());
    QCOMPARE(done.newAttempt, 2u);
    QVERIFY(!done.diff.empty());
    const RunInfo run = must(m_client->getRun("e2e"));
    QVERIFY(run.attempts.at(0).state == AttemptState::Superseded);
    QCOMPARE(run.attempts.at(1).parent, 1u);
    QCOMPARE(run.attempts.at(1).forkStep, fork);
    QVERIFY(becomes(AttemptState::Running));
    QVERIFY(reaches(fork + 60));
}

void TestEndToEnd::stops() {
    const Command stop = carryOut(order(CommandKind::Stop));
    QVERIFY2(stop.state == CommandState::Applied, stop.outcome.c_str());
    QVERIFY(becomes(AttemptState::Stopped));
    const AttemptInfo ended = newest();
    const CheckpointInfo last = must(m_client->listCheckpoints("e2e")).front();
    QCOMPARE(last.key.attempt, 2u);
    QCOMPARE(last.step, ended.step);
    for (const Command& command : must(m_client->listCommands({})))
        QVERIFY(command.state == CommandState::Applied || command.state == CommandState::Rejected);
}

void TestEndToEnd::everyPointIsStoredOnce() {
    const RunInfo run = must(m_client->getRun("e2e"));
    QCOMPARE(run.attempts.size(), std::size_t{2});
    for (const AttemptInfo& attempt : run.attempts) {
        const LogFacts log = readLog(attemptDir(attempt.key.attempt) + "/log.txt");
        QVERIFY2(log.emitted > 0, "the log does not say how many points were emitted");
        std::uint64_t points = 0;
        for (const SeriesInfo& info : must(listAllSeries(*m_client, attempt.key, "*")))
            points += info.points;
        QCOMPARE(points, static_cast<std::uint64_t>(log.emitted));
        QCOMPARE(attempt.pointsStored, points);
        const std::vector<Bucket> losses = raw(attempt.key.attempt, series::kTrainLoss);
        QCOMPARE(static_cast<std::int64_t>(losses.size()), attempt.step - attempt.forkStep);
        std::size_t compared = 0;
        for (std::size_t i = 0; i < losses.size(); ++i) {
            const std::int64_t step = attempt.forkStep + static_cast<std::int64_t>(i) + 1;
            QCOMPARE(losses[i].firstStep, step); // contiguous, each once
            if (const auto logged = log.losses.find(step); logged != log.losses.end()) {
                ++compared;
                QVERIFY(std::abs(losses[i].first - logged->second) < 1e-4);
            }
        }
        QVERIFY(compared > 3);
    }
}

void TestEndToEnd::theDaemonStopsCleanly() {
    must(m_client->shutdown(false));
    QVERIFY(m_daemon.waitForFinished(kPatience));
    QCOMPARE(m_daemon.exitCode(), 0);
    QVERIFY(!QFile::exists(m_dir.filePath("state/daemon.json")));
}

void TestEndToEnd::cleanupTestCase() {
    if (m_daemon.state() != QProcess::NotRunning) {
        (void)m_client->shutdown(true);
        if (!m_daemon.waitForFinished(kPatience))
            m_daemon.kill();
    }
}

QTEST_GUILESS_MAIN(TestEndToEnd)
#include "tst_end_to_end.moc"
