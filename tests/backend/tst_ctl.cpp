// SPDX-License-Identifier: Apache-2.0
// telehelmctl's subcommands against a fake daemon behind a real gRPC server and a real live stream.
#include <atomic>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTemporaryDir>
#include <QtEndian>
#include <QTest>

#include "ctl/cli.h"
#include "ctl/format.h"
#include "ctl/step_table.h"
#include "ctl/tf_events.h"
#include "telehelm/ipc/control_server.h"
#include "telehelm/ipc/live.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

class FakeDaemon : public ControlApi {
public:
    FakeDaemon() {
        run.run = "demo";
        run.device = "CPU, 2 ranks";
        run.totalSteps = 100;
        run.domains = {{"WebText", "en", 1000, 10, 0.4}, {"Code", "", 500, 5, 0.6}};
        AttemptInfo attempt;
        attempt.key = {"demo", 1};
        attempt.state = AttemptState::Running;
        attempt.step = 20;
        attempt.pointsEmitted = 80;
        attempt.pointsStored = 80;
        run.attempts = {attempt};
    }
    Result<HelloInfo> hello(std::uint32_t protocol, const std::string&) override {
        HelloInfo info;
        info.protocol = protocol;
        info.program = "telehelmd test";
        info.epoch = epoch;
        info.liveEndpoint = liveEndpoint;
        return info;
    }
    Result<std::vector<RunInfo>> listRuns() override {
        const std::lock_guard lock(mutex);
        return std::vector<RunInfo>{run};
    }
    Result<LineageInfo> lineage(const std::string& name) override {
        if (name != run.run)
            return fail(ErrorCode::NotFound, "no run is named “" + name + "”; there is demo");
        LineageBranch cut, last;
        cut.key = {"demo", 1};
        cut.isEffective = last.isEffective = true;
        cut.effectiveTo = 10;
        cut.cutBy = 2;
        cut.abandonedFrom = 11;
        cut.abandonedTo = 14;
        cut.lostSteps = 4;
        cut.lostTokens = 1024;
        cut.lostWallUs = 90'000'000;
        last.key = {"demo", 2};
        last.parent = 1;
        last.forkStep = 10;
        last.effectiveTo = 20;
        return LineageInfo{"demo", {cut, last}, 4, 1024, 90'000'000};
    }
    Result<RunInfo> getRun(const std::string& name) override {
        const std::lock_guard lock(mutex);
        if (name != run.run)
            return fail(ErrorCode::NotFound, "no run is named “" + name + "”; there is demo");
        return run;
    }
    Result<RunInfo> startRun(const StartRequest& request) override {
        const std::lock_guard lock(mutex);
        started = request;
        if (request.configToml.find("bad") != std::string::npos)
            return fail(ErrorCode::InvalidArgument, "unknown key “bad”; nearest is “batch”", request.configPath + ":1");
        return run;
    }
    Result<DeletedRun> deleteRun(const DeleteRequest& request) override {
        const std::lock_guard lock(mutex);
        if (isOld)
            return ControlApi::deleteRun(request);
        deletions.push_back(request);
        if (request.run != run.run)
            return fail(ErrorCode::NotFound, "no run is named “" + request.run + "”; there is demo");
        if (refuse)
            return fail(ErrorCode::FailedPrecondition, "attempt 1 of run “demo” is running; end it first: telehelmctl stop demo --reason …", "telehelmd");
        DeletedRun deleted;
        deleted.run = request.run;
        deleted.author = request.author;
        deleted.reason = request.reason;
        deleted.attempts = 2;
        deleted.points = 43'010;
        if (request.keepCheckpoints)
            deleted.keptIn = "/state/runs/demo/checkpoints";
        else
            deleted.checkpoints = 3, deleted.checkpointBytes = 5'000'000;
        return deleted;
    }
    Result<std::vector<DeletedRun>> listDeletedRuns() override {
        if (isOld)
            return ControlApi::listDeletedRuns();
        return std::vector<DeletedRun>{{"0b1e", "old-run", nowUs(), "mira", "bridge", "no disk space left", 2, 43'010, 3, 5'000'000, ""}};
    }
    Result<Command> submit(const Command& command) override {
        const std::lock_guard lock(mutex);
        last = command;
        last.state = refuse ? CommandState::Rejected : CommandState::Accepted;
        if (refuse)
            last.outcome = "The run is not paused (running); only a paused run can be resumed.";
        asked = 0;
        return last;
    }
    Result<Command> getCommand(const std::string&) override {
        const std::lock_guard lock(mutex);
        if (++asked > 2) {
            last.state = failIt ? CommandState::Failed : CommandState::Applied;
            last.appliedStep = 21;
            last.outcome = failIt ? "rank 1 died" : "held before step 22";
        }
        return last;
    }
    Result<std::vector<Command>> listCommands(const CommandQuery&) override {
        const std::lock_guard lock(mutex);
        return std::vector<Command>{last};
    }
    Result<std::vector<Event>> listEvents(const EventQuery& query) override {
        Event event;
        event.key = {query.run, 1};
        event.text = "checkpoint saved, 唐诗";
        event.kind = EventKind::CheckpointSaved;
        std::vector<Event> events(3, event);
        events[2].text = "the newest";
        return events;
    }
    Result<Event> addNote(const Event& note) override {
        const std::lock_guard lock(mutex);
        noted = note;
        return note;
    }
    Result<std::vector<CheckpointInfo>> listCheckpoints(const std::string& name) override {
        CheckpointInfo good, bad;
        good.key = bad.key = {name, 1};
        good.step = 20;
        good.verified = true;
        bad.step = 10;
        bad.damage = "rank0.bin: checksum differs";
        return std::vector<CheckpointInfo>{good, bad};
    }
    Result<SeriesPage> listSeries(const SeriesListQuery& query) override {
        SeriesInfo info;
        info.key = {query.key.run, 1};
        info.name = "train/loss";
        info.points = 20;
        return SeriesPage{{info}, 1, {}};
    }
    Result<void> querySeries(const SeriesQuery& query, const std::function<bool(SeriesSegment&&)>& sink) override {
        const std::lock_guard lock(mutex);
        ++queries;
        for (const std::string& name : query.names) {
            if (name == "none")
                continue;
            SeriesSegment segment;
            segment.key = {"demo", 1};
            segment.name = name;
            for (std::int64_t step = std::max<std::int64_t>(query.from, 1); step <= std::min(query.to, run.attempts[0].step); ++step) {
                Bucket b;
                b.firstStep = b.lastStep = step;
                b.firstTokens = b.lastTokens = step * 100;
                b.firstWallUs = b.lastWallUs = step * 500'000;
                b.first = b.last = step == 7 ? std::numeric_limits<double>::quiet_NaN() : 10.0 / static_cast<double>(step);
                b.count = 1;
                segment.buckets.push_back(b);
            }
            if (!sink(std::move(segment)))
                return {};
        }
        return {};
    }
    Result<void> watch(const std::string&, const std::function<bool(WatchUpdate&&)>&) override { return {}; }
    Result<void> report(const ClientCounters& client) override {
        const std::lock_guard lock(mutex);
        reports.push_back(client);
        return {};
    }
    Result<DaemonStatus> status() override {
        DaemonStatus status;
        status.runs = {{"demo", 80, 79, 78, 77, 77, 1, nowUs() - 3'000'000}};
        status.clients = {{"c", "telehelm 0.1.0", "bridge", "ops", 70, 7, 6, 1, 1, nowUs(), nowUs()}};
        status.residentBytes = 50 << 20;
        status.subscriptions = 2;
        status.nowUs = nowUs();
        if (isOld)
            return ControlApi::status();
        return status;
    }
    Result<void> shutdown(bool stopJobs) override {
        stopped = stopJobs ? 2 : 1;
        return {};
    }

    std::mutex mutex;
    RunInfo run;
    Command last;
    std::vector<ClientCounters> reports;
    std::vector<DeleteRequest> deletions;
    StartRequest started;
    Event noted;
    std::string epoch = "e1", liveEndpoint;
    bool refuse = false, failIt = false;
    std::atomic<bool> isOld{false}; // of protocol 1
    int asked = 0, queries = 0;
    std::atomic<int> stopped{0};
};

struct Outcome {
    int code = 0;
    QString out, err;
};

} // namespace

class TestCtl : public QObject {
    Q_OBJECT

    std::unique_ptr<FakeDaemon> m_daemon;
    std::unique_ptr<LivePublisher> m_publisher;
    std::unique_ptr<ControlServer> m_server;
    std::unique_ptr<QTemporaryDir> m_state;

    /// With `typed` there is a terminal, on which an operator types that.
    [[nodiscard]] Outcome ctl(std::vector<std::string> words, const std::optional<std::string>& typed = std::nullopt) const {
        words.insert(words.begin(), {"--state-dir", m_state->path().toStdString()});
        std::ostringstream out, err;
        std::istringstream in(typed.value_or(""));
        ctl::Terminal terminal{out, err};
        terminal.in = typed ? &in : nullptr;
        const int code = ctl::run(words, terminal);
        return {code, QString::fromStdString(out.str()), QString::fromStdString(err.str())};
    }
    static QJsonDocument json(const QString& text) { return QJsonDocument::fromJson(text.toUtf8()); }

private slots:
    void init() {
        m_daemon = std::make_unique<FakeDaemon>();
        m_publisher = std::move(*makeLivePublisher("tcp://127.0.0.1:*", "e1"));
        m_daemon->liveEndpoint = m_publisher->endpoint();
        m_server = std::move(*serveControl(*m_daemon, "127.0.0.1:0"));
        m_state = std::make_unique<QTemporaryDir>();
        const QJsonObject card{{"pid", 12}, {"control", QString("127.0.0.1:%1").arg(m_server->port())}};
        std::ofstream(m_state->filePath("daemon.json").toStdString()) << QJsonDocument(card).toJson().toStdString();
    }
    void cleanup() {
        m_server.reset();
        m_publisher.reset();
        m_daemon.reset();
    }

    void listsAreReadableAndJson_data() {
        QTest::addColumn<QStringList>("words");
        QTest::addColumn<QString>("expected");
        QTest::newRow("runs") << QStringList{"runs"} << "20 / 100 (20 %)";
        QTest::newRow("show") << QStringList{"show", "demo"} << "WebText";
        QTest::newRow("checkpoints") << QStringList{"checkpoints", "demo"} << "rank0.bin: checksum differs";
        QTest::newRow("events") << QStringList{"events", "demo"} << "唐诗";
        QTest::newRow("audit") << QStringList{"audit"} << "pause";
        QTest::newRow("deleted runs") << QStringList{"audit", "--deleted"} << "no disk space left";
        QTest::newRow("series") << QStringList{"series", "demo"} << "train/loss";
        QTest::newRow("status") << QStringList{"status"} << "telehelmd test";
    }
    void listsAreReadableAndJson() {
        QFETCH(QStringList, words);
        QFETCH(QString, expected);
        std::vector<std::string> arguments;
        for (const QString& word : words)
            arguments.push_back(word.toStdString());
        const Outcome plain = ctl(arguments);
        QCOMPARE(plain.code, 0);
        QVERIFY2(plain.out.contains(expected), qPrintable(plain.out));
        QVERIFY(!plain.out.contains('\033')); // not a terminal
        arguments.push_back("--json");
        const Outcome machine = ctl(arguments);
        QCOMPARE(machine.code, 0);
        QVERIFY2(!json(machine.out).isNull(), qPrintable(machine.out));
        QVERIFY2(machine.out.contains(expected) || words.contains("runs"), qPrintable(machine.out));
    }
    void lineageTellsWhatForksHadCost() {
        const Outcome table = ctl({"lineage", "demo"});
        QCOMPARE(table.code, 0);
        for (const char* part : {"steps 1 to 10", "steps 11 to 14", "1,024", "attempt 2", "attempt 1, step 10", "steps 11 to 20",
                                 "lost in all: 4 steps, 1,024 tokens, 1 min 30 s"})
            QVERIFY2(table.out.contains(part), qPrintable(table.out));
        const QJsonObject machine = json(ctl({"lineage", "demo", "--json"}).out).object();
        QCOMPARE(machine["lost_steps"].toInt(), 4);
        const QJsonObject first = machine["branches"].toArray().first().toObject(), last = machine["branches"].toArray().last().toObject();
        QCOMPARE(first["abandoned"].toArray(), (QJsonArray{11, 14}));
        QCOMPARE(first["cut_by"].toInt(), 2);
        QCOMPARE(last["fork_step"].toInt(), 10);
        QVERIFY(!last.contains("abandoned") && !last.contains("cut_by"));
        QCOMPARE(ctl({"lineage", "elsewhere"}).code, 5);
    }
    void eventsMayBeLimitedToTheNewest() {
        const Outcome one = ctl({"events", "demo", "--limit", "1"});
        QVERIFY(one.out.contains("the newest") && !one.out.contains("唐诗"));
    }
    void pointCountsAreInShow() {
        const QJsonObject run = json(ctl({"show", "demo", "--json"}).out).object();
        const QJsonObject attempt = run["attempts"].toArray().last().toObject();
        QCOMPARE(attempt["points_emitted"].toInt(), 80);
        QCOMPARE(attempt["points_stored"].toInt(), 80);
        QCOMPARE(attempt["state"].toString(), QString("running"));
    }

    void ordersWaitForTheirOutcome() {
        const Outcome paused = ctl({"pause", "demo", "--reason", "look at the loss"});
        QCOMPARE(paused.code, 0);
        QVERIFY2(paused.out.contains("applied at step 21: held before step 22"), qPrintable(paused.out));
        QVERIFY(m_daemon->last.kind == CommandKind::Pause && m_daemon->last.id.size() == 36 && m_daemon->last.reason == "look at the loss");
        QVERIFY(!m_daemon->last.author.empty() && !m_daemon->last.host.empty());
        const Outcome quick = ctl({"pause", "demo", "--no-wait"});
        QCOMPARE(quick.code, 0);
        QCOMPARE(m_daemon->asked, 0);
        QVERIFY(quick.out.contains("accepted"));
        m_daemon->failIt = true;
        const Outcome failed = ctl({"checkpoint", "demo"});
        QCOMPARE(failed.code, 1);
        QVERIFY(failed.err.contains("rank 1 died"));
        m_daemon->refuse = true;
        const Outcome refused = ctl({"resume", "demo"});
        QCOMPARE(refused.code, 4);
        QVERIFY2(refused.err.contains("only a paused run"), qPrintable(refused.err));
        QCOMPARE(refused.err.count('\n'), 1);
    }
    void deleteAsksForTheName() {
        const Outcome deleted = ctl({"delete", "demo", "--reason", "disk is full"}, "demo\n");
        QCOMPARE(deleted.code, 0);
        QVERIFY2(deleted.err.contains("Run demo will be gone for good: 2 attempts, 43,010 stored points, 3 checkpoints (4.77 MiB), its logs"), qPrintable(deleted.err));
        QVERIFY2(deleted.out.contains("demo is deleted: 2 attempts, 43,010 stored points, 3 checkpoints"), qPrintable(deleted.out));
        QVERIFY(m_daemon->deletions.size() == 2 && m_daemon->deletions[0].onlyLook && !m_daemon->deletions[1].onlyLook);
        QVERIFY(m_daemon->deletions[1].reason == "disk is full" && !m_daemon->deletions[1].author.empty() && !m_daemon->deletions[1].host.empty());
        for (const char* typed : {"dmo\n", "\n", ""}) {
            m_daemon->deletions.clear();
            const Outcome other = ctl({"delete", "demo"}, typed);
            QCOMPARE(other.code, 1);
            QVERIFY(other.err.contains("nothing was deleted") && m_daemon->deletions.size() == 1 && m_daemon->deletions[0].onlyLook);
        }
    }
    void deleteWithoutATerminalNeedsYes() {
        const Outcome silent = ctl({"delete", "demo"});
        QCOMPARE(silent.code, 2);
        QVERIFY2(silent.err.contains("--yes") && silent.err.count('\n') == 1 && m_daemon->deletions.empty(), qPrintable(silent.err));
        QCOMPARE(ctl({"delete", "demo", "--yes"}).code, 0);
        QVERIFY(m_daemon->deletions.size() == 1 && !m_daemon->deletions[0].onlyLook && !m_daemon->deletions[0].keepCheckpoints);
        const QJsonObject machine = json(ctl({"delete", "demo", "--yes", "--keep-checkpoints", "--json"}).out).object();
        QVERIFY(m_daemon->deletions.back().keepCheckpoints);
        QVERIFY(machine["points"].toInt() == 43'010 && machine["attempts"].toInt() == 2 && machine["kept_in"].toString() == "/state/runs/demo/checkpoints");
        QVERIFY(ctl({"delete", "demo", "--yes", "--keep-checkpoints"}).out.contains("no checkpoint (those in /state/runs/demo/checkpoints are kept)"));
    }
    void deleteSaysWhyNot() {
        QCOMPARE(ctl({"delete", "nobody", "--yes"}).code, 5);
        QCOMPARE(ctl({"delete", "nobody"}, "nobody\n").code, 5);
        m_daemon->refuse = true;
        const Outcome refused = ctl({"delete", "demo"}, "demo\n");
        QCOMPARE(refused.code, 4);
        QVERIFY2(refused.err.contains("telehelmctl stop demo") && refused.err.count('\n') == 1, qPrintable(refused.err)); // nobody is asked in vain
        m_daemon->isOld = true;
        const Outcome old = ctl({"delete", "demo", "--yes"});
        QCOMPARE(old.code, 1);
        QVERIFY2(old.err.contains("telehelmd test") && old.err.contains("is older") && old.err.count('\n') == 1, qPrintable(old.err));
        QVERIFY(ctl({"delete", "--help"}).out.contains("--keep-checkpoints"));
    }
    void argumentsReachTheDaemon() {
        QCOMPARE(ctl({"mixture", "demo", "WebText=40", "Code=60%", "--at-step", "50", "--reason", "more code from here on"}).code, 0);
        QVERIFY(m_daemon->last.mixture == (Mixture{{"WebText", 0.4}, {"Code", 0.6}}));
        QCOMPARE(m_daemon->last.atStep, std::int64_t{50});
        QCOMPARE(ctl({"lr", "demo", "0.5"}).code, 0);
        QVERIFY(m_daemon->last.kind == CommandKind::SetLrScale && m_daemon->last.lrScale == 0.5);
        QCOMPARE(ctl({"stop", "demo", "--no-checkpoint", "--reason", "wrong tokenizer used"}).code, 0);
        QVERIFY(m_daemon->last.kind == CommandKind::Stop && !m_daemon->last.saveCheckpoint);
        QCOMPARE(ctl({"restart", "demo", "--step", "10", "--attempt", "1", "--lr-scale", "0.5", "--clip", "0.8", "--data-seed", "7", "--skip",
                      "3", "--mixture", "Code=100", "--reason", "loss rose after step 12"}).code, 0);
        const RestartOptions& r = *m_daemon->last.restart;
        QVERIFY(r.checkpointStep == 10 && r.checkpointAttempt == 1 && r.lrScale == 0.5 && r.clipGrad == 0.8 && r.dataSeed == 7u);
        QVERIFY(r.skipBatches == 3 && r.mixture == (Mixture{{"Code", 1.0}}));
        QCOMPARE(ctl({"restart", "demo", "--reason", "as it was, once more"}).code, 0);
        QVERIFY(!m_daemon->last.restart->lrScale && !m_daemon->last.restart->mixture && m_daemon->last.restart->checkpointStep == -1);
        QCOMPARE(ctl({"note", "demo", "looks fine"}).code, 0);
        QVERIFY(m_daemon->noted.text == "looks fine" && m_daemon->noted.step == 20 && m_daemon->noted.key.attempt == 1);
    }

    void aRunIsStartedFromItsConfig() {
        const std::string config = m_state->filePath("run.toml").toStdString();
        std::ofstream(config) << "name = \"demo\"\n";
        const Outcome started = ctl({"start", config, "--name", "x", "--ranks", "2", "--reason", "try"});
        QCOMPARE(started.code, 0);
        QVERIFY(started.out.contains("telehelmctl watch demo"));
        QVERIFY(m_daemon->started.configToml == "name = \"demo\"\n" && m_daemon->started.name == "x" && m_daemon->started.ranks == 2);
        QCOMPARE(m_daemon->started.configPath, config);
        std::ofstream(config) << "bad = 1\n";
        const Outcome refused = ctl({"start", config});
        QCOMPARE(refused.code, 4);
        QVERIFY2(refused.err.contains("run.toml:1: unknown key"), qPrintable(refused.err));
        QCOMPARE(ctl({"start", "/nowhere.toml"}).code, 2);
    }

    void wrongUseIsOneLineAndStatus2_data() {
        QTest::addColumn<QStringList>("words");
        QTest::addColumn<QString>("expected");
        QTest::newRow("nothing") << QStringList{} << "subcommand";
        QTest::newRow("unknown") << QStringList{"frobnicate"} << "frobnicate";
        QTest::newRow("no run") << QStringList{"pause"} << "RUN";
        QTest::newRow("no reason") << QStringList{"stop", "demo"} << "--reason";
        QTest::newRow("sum") << QStringList{"mixture", "demo", "Code=90", "--reason", "more code from here"} << "add up to 90 %";
        QTest::newRow("no percent") << QStringList{"mixture", "demo", "Code", "--reason", "more code from here"} << "DOMAIN=PERCENT";
        QTest::newRow("twice") << QStringList{"mixture", "demo", "Code=50", "Code=50", "--reason", "more code from here"} << "twice";
        QTest::newRow("negative") << QStringList{"mixture", "demo", "Code=110", "WebText=-10", "--reason", "more code from here"} << "negative";
        QTest::newRow("number") << QStringList{"lr", "demo", "half"} << "half";
        QTest::newRow("shell") << QStringList{"completion", "tcsh"} << "tcsh";
    }
    void wrongUseIsOneLineAndStatus2() {
        QFETCH(QStringList, words);
        QFETCH(QString, expected);
        std::vector<std::string> arguments;
        for (const QString& word : words)
            arguments.push_back(word.toStdString());
        const Outcome outcome = ctl(arguments);
        QCOMPARE(outcome.code, 2);
        QVERIFY2(outcome.err.contains(expected), qPrintable(outcome.err));
        QCOMPARE(outcome.err.count('\n'), 1);
        QVERIFY(outcome.out.isEmpty());
    }
    void unknownRunsAndSeriesAreStatus5() {
        for (const auto& words : std::vector<std::vector<std::string>>{{"show", "nope"}, {"watch", "nope"}, {"note", "nope", "x"}, {"series", "demo", "none"}}) {
            const Outcome outcome = ctl(words);
            QCOMPARE(outcome.code, 5);
            QCOMPARE(outcome.err.count('\n'), 1);
        }
    }
    void noDaemonIsStatus3WithARemedy() {
        m_server.reset();
        const Outcome stale = ctl({"runs"});
        QCOMPARE(stale.code, 3);
        QVERIFY2(stale.err.contains("daemon start") && stale.err.contains("pid 12"), qPrintable(stale.err));
        QFile::remove(m_state->filePath("daemon.json"));
        const Outcome none = ctl({"runs"});
        QCOMPARE(none.code, 3);
        QVERIFY(none.err.contains("daemon start") && none.err.contains(m_state->path()));
        std::ofstream(m_state->filePath("daemon.json").toStdString()) << "{ not json";
        QCOMPARE(ctl({"runs"}).code, 1);
        QCOMPARE(ctl({"--server", "127.0.0.1:1", "runs"}).code, 3);
    }

    void seriesAreExportedWhole() {
        const Outcome csv = ctl({"series", "demo", "train/loss", "--csv"});
        QCOMPARE(csv.code, 0);
        const QStringList lines = csv.out.trimmed().split('\n');
        QCOMPARE(lines.size(), 21);
        QCOMPARE(lines[0], QString("run,attempt,name,step,tokens,wall_us,value"));
        QCOMPARE(lines[1], QString("demo,1,train/loss,1,100,500000,10"));
        QCOMPARE(lines[7], QString("demo,1,train/loss,7,700,3500000,nan"));
        QCOMPARE(lines[20], QString("demo,1,train/loss,20,2000,10000000,0.5"));
        const Outcome part = ctl({"series", "demo", "train/loss", "--csv", "--from", "5", "--to", "6"});
        QCOMPARE(part.out.count('\n'), 3);
        const QJsonArray all = json(ctl({"series", "demo", "train/loss", "--json"}).out).array();
        QCOMPARE(all[0].toObject()["points"].toArray().size(), 20);
        QCOMPARE(all[0].toObject()["points"].toArray()[6].toObject()["value"].toString(), QString("nan"));
    }

    void watchShowsEveryStepOnceAndRepairsHoles() {
        std::atomic<bool> done{false};
        Outcome watched;
        std::thread watcher([&] {
            watched = ctl({"watch", "demo", "--json"});
            done = true;
        });
        const auto queries = [this] {
            const std::lock_guard lock(m_daemon->mutex);
            return m_daemon->queries;
        };
        while (!done && queries() == 0)
            QTest::qWait(5);
        // The run goes on; only every second step is news, the others are in the truth alone.
        for (int step = 21; !done && step <= 40; ++step) {
            {
                const std::lock_guard lock(m_daemon->mutex);
                m_daemon->run.attempts[0].step = step;
            }
            News news;
            news.batch.key = {"demo", 1};
            for (const std::string& name : ctl::shownSeries())
                news.batch.series.push_back({name, {{step, step * 100, step * 500'000, 10.0 / step}}});
            if (step % 2 == 0)
                m_publisher->publish(news);
            else
                m_publisher->publish(News{}); // no run's: this one hears nothing of the step
            QTest::qWait(20);
        }
        {
            const std::lock_guard lock(m_daemon->mutex);
            m_daemon->run.attempts[0].state = AttemptState::Finished;
        }
        News ended; // nothing asks by the clock: the end is news, too
        ended.batch.key = {"demo", 1};
        ended.attempt = m_daemon->run.attempts[0];
        m_publisher->publish(ended);
        QTRY_VERIFY_WITH_TIMEOUT(done.load(), 30000);
        watcher.join();
        QCOMPARE(watched.code, 0);
        std::map<int, int> seen;
        int before = 0;
        for (const QString& line : watched.out.trimmed().split('\n')) {
            const QJsonObject row = json(line).object();
            const int step = row["step"].toInt();
            QVERIFY2(step > before, qPrintable(line));
            before = step;
            ++seen[step];
            QVERIFY(row.contains("train/loss") && row.contains("perf/tokens_per_s"));
        }
        QCOMPARE(seen.begin()->first, 11); // ten steps of history
        QCOMPARE(seen.rbegin()->first, 40);
        QCOMPARE(seen.size(), std::size_t{30});
        QVERIFY2(watched.err.contains("finished at step 40"), qPrintable(watched.err));
        const std::lock_guard lock(m_daemon->mutex);
        QVERIFY(m_daemon->reports.size() >= 2); // the first and the last
        const ClientCounters& last = m_daemon->reports.back();
        QVERIFY(last.program.starts_with("telehelmctl") && last.id == m_daemon->reports.front().id && !last.user.empty());
        QVERIFY2(last.received > 0 && last.received <= 40 && last.received % 4 == 0, std::to_string(last.received).c_str());
        QVERIFY(last.missed == 0 && last.repaired == 0 && last.lost == 0 && last.newestUs == 40 * 500'000);
    }
    void watchOfAFailedRunFails() {
        m_daemon->run.attempts[0].state = AttemptState::Failed;
        m_daemon->run.attempts[0].stateText = "rank 1: signal 9";
        const Outcome watched = ctl({"watch", "demo"});
        QCOMPARE(watched.code, 1);
        QVERIFY(watched.err.contains("rank 1: signal 9"));
        QVERIFY2(watched.out.contains("step 20/100  loss 0.5"), qPrintable(watched.out));
    }
    void checksumsAreCastagnolis() {
        QCOMPARE(ctl::crc32c("123456789"), 0xe3069283u);                     // RFC 3720, B.4 and the usual check value
        QCOMPARE(ctl::crc32c(std::string(32, '\0')), 0x8a9136aau);
    }

    static QByteArray fileText(const QString& name) {
        QFile file(name);
        return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
    }
    void aRunIsExportedWhole() {
        QTemporaryDir folder;
        const std::string out = folder.path().toStdString();
        const Outcome csv = ctl({"export", "demo", "--format", "csv", "--out", out});
        QVERIFY2(csv.code == 0, qPrintable(csv.err));
        QVERIFY2(csv.out.contains("demo.csv: 20 points of 1 series; the store holds 20"), qPrintable(csv.out));
        const QList<QByteArray> rows = fileText(folder.filePath("demo.csv")).trimmed().split('\n');
        QCOMPARE(rows.size(), 21);
        QCOMPARE(rows[0], QByteArray("run,attempt,superseded,name,step,tokens,wall_us,value"));
        QCOMPARE(rows[7], QByteArray("demo,1,0,train/loss,7,700,3500000,nan"));
        QCOMPARE(rows[8], QByteArray("demo,1,0,train/loss,8,800,4000000,1.25"));
        QVERIFY(!QFile::exists(folder.filePath("demo.csv.part")));

        const Outcome jsonl = ctl({"export", "demo", "--format", "jsonl", "--out", out + "/all.jsonl", "--series", "train/*", "--attempts", "all"});
        QVERIFY2(jsonl.code == 0, qPrintable(jsonl.err));
        QStringList types;
        for (const QByteArray& line : fileText(folder.filePath("all.jsonl")).trimmed().split('\n'))
            types << json(QString::fromUtf8(line)).object()["type"].toString();
        QCOMPARE(types.count("point"), 20);
        QCOMPARE(types.count("event"), 3);
        QCOMPARE(types.first(), QString("run"));
        QCOMPARE(types.last(), QString("end"));

        const Outcome again = ctl({"export", "demo", "--format", "csv", "--out", out});
        QVERIFY2(again.code == 4 && again.err.contains("demo.csv") && again.err.contains("exists already"), qPrintable(again.err));
        const Outcome none = ctl({"export", "demo", "--format", "csv", "--out", out + "/x.csv", "--series", "nope*"});
        QVERIFY2(none.code == 5 && !QFile::exists(folder.filePath("x.csv")), qPrintable(none.err));
        const Outcome nowhere = ctl({"export", "demo", "--format", "csv", "--out", "/proc/nowhere/x.csv"});
        QVERIFY2(nowhere.code != 0 && nowhere.err.contains("/proc/nowhere"), qPrintable(nowhere.err));
    }
    void anExportThatIsShortIsNotKept() {
        QTemporaryDir folder;
        m_daemon->run.attempts[0].step = 19; // 20 points are said to be stored
        const Outcome cut = ctl({"export", "demo", "--format", "csv", "--out", folder.path().toStdString()});
        QVERIFY2(cut.code == 1 && cut.err.contains("gave 19 points, the store holds 20"), qPrintable(cut.err));
        QVERIFY(QDir(folder.path()).isEmpty());
    }
    // length | masked CRC of it | Event | masked CRC of it; the whole by TensorBoard's loader: tst_export.
    void eventFilesAreFramed() {
        QTemporaryDir folder;
        QCOMPARE(ctl({"export", "demo", "--format", "tfevents", "--out", folder.path().toStdString()}).code, 0);
        const QDir attempt(folder.filePath("demo/attempt-1"));
        const QStringList files = attempt.entryList({"events.out.tfevents.*"});
        QCOMPARE(files.size(), 1);
        const QByteArray bytes = fileText(attempt.filePath(files[0]));
        const auto word = [&](qsizetype at) { return qFromLittleEndian<quint32>(bytes.constData() + at); };
        const auto masked = [&](qsizetype at, qsizetype size) {
            const std::uint32_t crc = ctl::crc32c(std::string_view(bytes.constData() + at, static_cast<std::size_t>(size)));
            return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
        };
        int records = 0;
        for (qsizetype at = 0; at < bytes.size(); ++records) {
            const auto length = static_cast<qsizetype>(word(at));
            QCOMPARE(word(at + 4), 0u);
            QCOMPARE(word(at + 8), masked(at, 8));
            QCOMPARE(word(at + 12 + length), masked(at + 12, length));
            at += 16 + length;
        }
        QCOMPARE(records, 21); // the version, then the points
        QVERIFY(bytes.contains("brain.Event:2") && bytes.count("scalars") == 1);
    }

    void statusTellsWherePointsAre() {
        const Outcome text = ctl({"status"});
        QCOMPARE(text.code, 0);
        for (const char* word : {"EMITTED", "80", "79", "77 of 77", "3 s", "telehelm 0.1.0 on bridge", "2 subscriptions", "50 MiB"})
            QVERIFY2(text.out.contains(word), qPrintable(text.out));
        const QJsonObject all = json(ctl({"status", "--json"}).out).object();
        const QJsonObject run = all["run_counters"].toArray()[0].toObject(), client = all["clients"].toArray()[0].toObject();
        QVERIFY(run["emitted"].toInt() == 80 && run["stored"].toInt() == 79 && run["acked"].toInt() == 78 && run["published"].toInt() == 77);
        QVERIFY(run["lost"].toInt() == 1 && client["received"].toInt() == 70 && client["repaired"].toInt() == 6 && client["lost"].toInt() == 1);
        m_daemon->isOld = true;
        const Outcome old = ctl({"status"});
        QVERIFY2(old.code == 0 && old.out.contains("older release") && old.out.contains("runs      1"), qPrintable(old.out + old.err));
    }
    void watchMayLeaveEarly() {
        const Outcome watched = ctl({"watch", "demo", "--steps", "3"});
        QCOMPARE(watched.code, 0);
        QCOMPARE(watched.out.count('\n'), 3);
    }

    void rowsGatherAndANewAttemptStartsAgain() {
        ctl::StepTable table;
        table.startAt(1, 0);
        const AttemptKey first{"demo", 1}, second{"demo", 2};
        for (const std::string& name : ctl::shownSeries())
            table.add(first, name, {1, 1, 1, 1.0});
        table.add(first, "train/loss", {2, 2, 2, 2.0});
        QCOMPARE(table.take().size(), std::size_t{1}); // step 2 is not whole yet
        QCOMPARE(table.take().size(), std::size_t{0});
        table.add(first, "train/loss", {1, 1, 1, 9.0}); // comes again
        QCOMPARE(table.lastShown(), std::int64_t{1});
        table.add(second, "train/loss", {2, 2, 2, 3.0});
        QCOMPARE(table.attempt(), 2u);
        table.add(first, "train/loss", {3, 3, 3, 9.0}); // superseded
        const auto rest = table.takeAll();
        QVERIFY(rest.size() == 1 && rest[0].attempt == 2 && rest[0].values.at("train/loss") == 3.0);
    }

    void daemonStopPassesTheWishOn() {
        std::thread stopper([this] {
            while (m_daemon->stopped == 0)
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            m_server.reset();
        });
        const Outcome stopped = ctl({"daemon", "stop", "--stop-jobs"});
        stopper.join();
        QCOMPARE(stopped.code, 0);
        QCOMPARE(m_daemon->stopped.load(), 2);
        QVERIFY(stopped.out.contains("its jobs too"));
    }
    void daemonStartFindsOneRunning() {
        const Outcome started = ctl({"daemon", "start"});
        QCOMPARE(started.code, 0);
        QVERIFY(started.out.contains("runs already"));
    }
    void helpTeaches() {
        const Outcome help = ctl({"--help"});
        QCOMPARE(help.code, 0);
        for (const char* word : {"Examples:", "mixture", "restart", "Exit status: 0 done", "watch"})
            QVERIFY2(help.out.contains(word), word);
        const Outcome one = ctl({"restart", "--help"});
        QCOMPARE(one.code, 0);
        QVERIFY(one.out.contains("--lr-scale"));
        for (const char* shell : {"bash", "zsh", "fish"})
            QVERIFY(ctl({"completion", shell}).out.contains("telehelmctl"));
    }
    void numbersAreSpelled() {
        QCOMPARE(ctl::withSeparators(52817000000), std::string("52,817,000,000"));
        QCOMPARE(ctl::withSeparators(-1234), std::string("-1,234"));
        QCOMPARE(ctl::withSeparators(999), std::string("999"));
        QCOMPARE(ctl::exactNumber(0.1), std::string("0.1"));
        QCOMPARE(ctl::durationText(4330), std::string("1 h 12 min"));
        QCOMPARE(ctl::durationText(59), std::string("59 s"));
        QCOMPARE(ctl::byteText(1536), std::string("1.5 KiB"));
        QCOMPARE(ctl::displayWidth("唐诗ab"), std::size_t{6});
        QCOMPARE(ctl::progressBar(0.5, 4), std::string("▕██  ▏"));
    }
};

QTEST_GUILESS_MAIN(TestCtl)
#include "tst_ctl.moc"
