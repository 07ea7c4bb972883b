// SPDX-License-Identifier: Apache-2.0
// Every call of the control service through a real gRPC server on a free port, its errors and its streams.
#include <atomic>
#include <mutex>
#include <thread>

#include <QTest>

#include "telehelm/ipc/control_client.h"
#include "telehelm/ipc/control_server.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

/// Answers with what it was asked, so that the test sees both directions.
class FakeApi : public ControlApi {
public:
    Result<HelloInfo> hello(std::uint32_t clientProtocol, const std::string& clientProgram) override {
        if (onlyProtocol != 0 && clientProtocol != onlyProtocol)
            return fail(ErrorCode::VersionMismatch, "this daemon speaks protocol 1", "telehelmd");
        HelloInfo info;
        info.protocol = answerProtocol != 0 ? answerProtocol : commonProtocol(clientProtocol);
        info.program = clientProgram;
        info.epoch = "epoch";
        return info;
    }
    Result<std::vector<RunInfo>> listRuns() override {
        if (delayMs > 0)
            std::this_thread::sleep_for(std::chrono::milliseconds(delayMs));
        return std::vector<RunInfo>{runOf("a"), runOf("b")};
    }
    Result<RunInfo> getRun(const std::string& run) override {
        if (run == "none")
            return fail(ErrorCode::NotFound, "no run is named “none”; there are a, b", "telehelmd");
        return runOf(run);
    }
    Result<RunInfo> startRun(const StartRequest& request) override {
        RunInfo run = runOf(request.name);
        run.description = request.configToml + "|" + request.reason + "|" + std::to_string(request.ranks);
        return run;
    }
    Result<ImportReport> importRun(const ImportRequest& request, const std::function<bool(const ImportProgress&)>& progress) override {
        if (request.folder.empty())
            return fail(ErrorCode::NotFound, "there is no such folder");
        for (std::uint64_t done = 1; done <= 3; ++done)
            if (!progress({done, 3, 10 * done}))
                return fail(ErrorCode::Cancelled, "called off");
        return ImportReport{request.name, true, {}, {request.folder, request.reason}};
    }
    Result<Command> submit(const Command& command) override {
        Command answer = command;
        answer.state = CommandState::Rejected;
        answer.outcome = "the shares add up to 90 %, they must add up to 100 %";
        return answer;
    }
    Result<Command> getCommand(const std::string& id) override {
        Command command;
        command.id = id;
        command.state = CommandState::Applied;
        return command;
    }
    Result<std::vector<Command>> listCommands(const CommandQuery& query) override {
        Command command;
        command.id = query.run + "/" + std::to_string(query.sinceUs) + "/" + std::to_string(query.limit);
        return std::vector<Command>{command};
    }
    Result<std::vector<Event>> listEvents(const EventQuery& query) override {
        Event event;
        event.text = query.run + "/" + std::to_string(query.afterId) + "/" + std::to_string(query.limit);
        return std::vector<Event>{event};
    }
    Result<Event> addNote(const Event& note) override {
        Event stored = note;
        stored.id = 77;
        return stored;
    }
    Result<std::vector<CheckpointInfo>> listCheckpoints(const std::string& run) override {
        CheckpointInfo info;
        info.path = run;
        return std::vector<CheckpointInfo>(3, info);
    }
    Result<SeriesPage> listSeries(const SeriesListQuery& query) override { // five names, in pages
        SeriesPage page;
        for (char last = query.after.empty() ? 'a' : static_cast<char>(query.after.back() + 1); last <= 'e'; ++last) {
            ++page.matching;
            if (query.limit != 0 && page.series.size() == 2)
                continue;
            SeriesInfo info;
            info.key = query.key;
            info.name = query.glob + last;
            page.series.push_back(info);
        }
        if (page.matching > page.series.size())
            page.next = page.series.back().name;
        return page;
    }
    Result<LineageInfo> lineage(const std::string& run) override {
        LineageInfo info{run, {}, 7, 8, 9};
        info.branches.push_back({{run, 1}, 0, 3, true, 40, 2, 41, 60, 20, 2000, 3000});
        return info;
    }
    Result<void> querySeries(const SeriesQuery& query, const std::function<bool(SeriesSegment&&)>& sink) override {
        if (query.names.empty())
            return fail(ErrorCode::InvalidArgument, "no series is named");
        for (const std::string& name : query.names) {
            SeriesSegment segment;
            segment.name = name;
            segment.buckets.resize(query.maxBuckets);
            for (std::size_t i = 0; i < segment.buckets.size(); ++i)
                segment.buckets[i].firstStep = segment.buckets[i].lastStep = static_cast<std::int64_t>(i);
            segment.ema.n = query.maxBuckets;
            ++segmentsMade;
            if (!sink(std::move(segment)))
                return {};
        }
        return {};
    }
    Result<void> watch(const std::string& run, const std::function<bool(WatchUpdate&&)>& sink) override {
        ++watching;
        WatchUpdate update;
        update.run = runOf(run);
        bool goesOn = sink(std::move(update));
        while (goesOn && !endWatch) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            goesOn = silent || sink({});
        }
        --watching;
        return {};
    }
    Result<void> shutdown(bool stopJobs) override {
        stopped = stopJobs ? 2 : 1;
        return {};
    }

    static RunInfo runOf(const std::string& name) {
        RunInfo run;
        run.run = name;
        return run;
    }
    Result<DaemonStatus> status() override {
        const std::lock_guard lock(mutex);
        return statusAnswer;
    }
    Result<void> report(const ClientCounters& client) override {
        const std::lock_guard lock(mutex);
        statusAnswer.clients = {client};
        return {};
    }
    std::mutex mutex;
    DaemonStatus statusAnswer; // guarded by mutex
    std::atomic<std::uint32_t> onlyProtocol{0}; // other numbers are refused
    std::uint32_t answerProtocol = 0;
    std::atomic<int> delayMs{0}, watching{0}, stopped{0}, segmentsMade{0};
    std::atomic<bool> silent{false}, endWatch{false};
};

} // namespace

class TestControl : public QObject {
    Q_OBJECT

    FakeApi m_api;
    std::unique_ptr<ControlServer> m_server;
    std::unique_ptr<ControlApi> m_client;

    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(m_server->port()); }

private slots:
    void initTestCase() {
        auto server = serveControl(m_api, "127.0.0.1:0");
        QVERIFY2(server.has_value(), server ? "" : server.error().text().c_str());
        m_server = std::move(*server);
        QVERIFY(m_server->port() > 0);
        m_client = makeControlClient(address(), 20'000);
    }
    void cleanupTestCase() {
        m_client.reset();
        m_server.reset();
    }

    void anImportTellsItsProgressAndThenItsReport() {
        std::vector<std::uint64_t> points;
        const auto tell = [&](const ImportProgress& progress) {
            points.push_back(progress.pointsAdded);
            return true;
        };
        const auto report = m_client->importRun({"/mnt/usb", "n", "me", "here", "why"}, tell);
        QVERIFY2(report.has_value(), report ? "" : report.error().text().c_str());
        QVERIFY(report->run == "n" && report->hasAdded && report->warnings == std::vector<std::string>({"/mnt/usb", "why"}));
        QCOMPARE(points, std::vector<std::uint64_t>({10, 20, 30}));
        QCOMPARE(static_cast<int>(m_client->importRun({}, tell).error().code), static_cast<int>(ErrorCode::NotFound));
        const auto stopped = m_client->importRun({"/mnt/usb", "n", "", "", ""}, [](const ImportProgress&) { return false; });
        QCOMPARE(static_cast<int>(stopped.error().code), static_cast<int>(ErrorCode::Cancelled));
    }
    void everyCallGoesThrough() {
        QCOMPARE(m_client->hello(kProtocolVersion, "tst 1").value().program, std::string("tst 1"));
        QCOMPARE(m_client->listRuns().value().at(1).run, std::string("b"));
        QCOMPARE(m_client->getRun("demo").value().run, std::string("demo"));
        StartRequest start;
        start.configToml = "x = 1";
        start.name = "n";
        start.reason = "why";
        start.ranks = 4;
        QCOMPARE(m_client->startRun(start).value().description, std::string("x = 1|why|4"));
        Command command;
        command.id = newUuid();
        command.kind = CommandKind::SetMixture;
        command.mixture = {{"Code", 0.9}};
        const Command answer = m_client->submit(command).value();
        QVERIFY(answer.state == CommandState::Rejected && answer.id == command.id && answer.mixture == command.mixture);
        QVERIFY(answer.outcome.find("90 %") != std::string::npos);
        QVERIFY(m_client->getCommand("abc").value().id == "abc");
        QCOMPARE(m_client->listCommands({"r", 5, 6}).value().at(0).id, std::string("r/5/6"));
        QCOMPARE(m_client->listEvents({"r", 5, 6}).value().at(0).text, std::string("r/5/6"));
        Event note;
        note.text = "seen";
        QCOMPARE(m_client->addNote(note).value().id, std::int64_t{77});
        QCOMPARE(m_client->listCheckpoints("r").value().size(), std::size_t{3});
        const std::vector<SeriesInfo> all = listAllSeries(*m_client, {"r", 2}, "bpb/*").value(); // three pages
        QVERIFY(all.size() == 5 && all[4].key.attempt == 2 && all[4].name == "bpb/*e");
        const LineageInfo lineage = m_client->lineage("r").value();
        QVERIFY(lineage.run == "r" && lineage.lostSteps == 7 && lineage.lostTokens == 8 && lineage.lostWallUs == 9);
        const LineageBranch& branch = lineage.branches.at(0);
        QVERIFY(branch.key.attempt == 1 && branch.forkStep == 3 && branch.isEffective && branch.effectiveTo == 40 && branch.cutBy == 2);
        QVERIFY(branch.abandonedFrom == 41 && branch.abandonedTo == 60 && branch.lostSteps == 20 && branch.lostTokens == 2000 &&
                branch.lostWallUs == 3000);
        QVERIFY(m_client->shutdown(true).has_value());
        QCOMPARE(m_api.stopped.load(), 2);
    }

    void errorsKeepTheirDetails() {
        const auto missing = m_client->getRun("none");
        QVERIFY(!missing);
        QCOMPARE(missing.error().code, ErrorCode::NotFound);
        QCOMPARE(missing.error().context, std::string("telehelmd"));
        QCOMPARE(missing.error().message, std::string("no run is named “none”; there are a, b"));
        const auto none = m_client->querySeries({}, [](SeriesSegment&&) { return true; });
        QVERIFY(!none && none.error().code == ErrorCode::InvalidArgument);
    }

    void versionsMustMatch() {
        const auto old = m_client->hello(kOldestProtocolVersion - 1, "telehelm 0");
        QVERIFY(!old && old.error().code == ErrorCode::VersionMismatch);
        QVERIFY(old.error().text().find("telehelm 0") != std::string::npos);
        m_api.answerProtocol = 7;
        const auto odd = m_client->hello(kProtocolVersion, "telehelm");
        m_api.answerProtocol = 0;
        QVERIFY(!odd && odd.error().code == ErrorCode::VersionMismatch);
    }

    void thePreviousVersionIsServed() {
        QCOMPARE(m_client->hello(kProtocolVersion - 1, "older").value().protocol, kProtocolVersion - 1);
        QCOMPARE(m_client->hello(kProtocolVersion + 1, "newer").value().protocol, kProtocolVersion);
    }

    // A daemon of protocol 1 refused every other number; it must be spoken to in its own.
    void aDaemonOfThePreviousVersionIsAskedAgain() {
        m_api.onlyProtocol = kProtocolVersion - 1;
        const auto answer = m_client->hello(kProtocolVersion, "telehelm");
        m_api.onlyProtocol = 0;
        QVERIFY2(answer.has_value(), answer ? "" : answer.error().text().c_str());
        QCOMPARE(answer->protocol, kProtocolVersion - 1);
    }

    void countersGoThrough() {
        ClientCounters client{"id", "telehelm 0.1.0", "bridge", "ops", 100, 7, 6, 1, 2, 1'700'000'000'000'000, 5};
        QVERIFY(m_client->report(client).has_value());
        m_api.statusAnswer.runs = {{"demo", 10, 9, 8, 7, 7, 1, 123}};
        m_api.statusAnswer.subscriptions = 3;
        m_api.statusAnswer.messagesPublished = 4;
        m_api.statusAnswer.badFrames = 5;
        m_api.statusAnswer.residentBytes = 6;
        m_api.statusAnswer.storeBytes = 7;
        m_api.statusAnswer.storeTrouble = "disk full";
        m_api.statusAnswer.nowUs = 8;
        const DaemonStatus status = m_client->status().value();
        QVERIFY(status.clients == std::vector<ClientCounters>{client});
        QVERIFY(status.runs == m_api.statusAnswer.runs);
        QVERIFY(status.subscriptions == 3 && status.messagesPublished == 4 && status.badFrames == 5 && status.residentBytes == 6);
        QVERIFY(status.storeBytes == 7 && status.storeTrouble == "disk full" && status.nowUs == 8);
    }

    void longSegmentsComeWhole() {
        SeriesQuery query;
        query.names = {"train/loss", "short", "empty"};
        query.maxBuckets = 100'000; // over many messages
        std::vector<SeriesSegment> got;
        const auto ok = m_client->querySeries(query, [&](SeriesSegment&& segment) {
            got.push_back(std::move(segment));
            return true;
        });
        QVERIFY2(ok.has_value(), ok ? "" : ok.error().text().c_str());
        QCOMPARE(got.size(), std::size_t{3});
        QCOMPARE(got[0].buckets.size(), std::size_t{100'000});
        for (std::size_t i = 0; i < got[0].buckets.size(); ++i)
            QVERIFY(got[0].buckets[i].firstStep == static_cast<std::int64_t>(i));
        QCOMPARE(got[0].ema.n, std::uint64_t{100'000});
        QCOMPARE(got[2].name, std::string("empty"));
    }

    void aReaderMayStopEarly() {
        SeriesQuery query;
        query.names.assign(200, "train/loss");
        query.maxBuckets = 20'000;
        m_api.segmentsMade = 0;
        int got = 0;
        QVERIFY(m_client->querySeries(query, [&](SeriesSegment&&) { return ++got < 2; }).has_value());
        QCOMPARE(got, 2);
        QVERIFY(m_api.segmentsMade < 200);
    }

    void watchersSeeTheStateAndMayLeave() {
        int updates = 0;
        std::string run;
        const auto ok = m_client->watch("demo", [&](WatchUpdate&& update) {
            if (update.run)
                run = update.run->run;
            return ++updates < 5;
        });
        QVERIFY(ok.has_value());
        QCOMPARE(run, std::string("demo"));
        QTRY_COMPARE_WITH_TIMEOUT(m_api.watching.load(), 0, 20000); // the server noticed
    }

    void aSilentWatchStillLetsItsCallerStop() {
        m_api.silent = true;
        int beats = 0;
        QVERIFY(m_client->watch("demo", [&](WatchUpdate&& update) { return update.run || ++beats < 2; }).has_value());
        QCOMPARE(beats, 2);
        const auto impatient = makeControlClient(address(), 1500);
        const auto gone = impatient->watch("demo", [](WatchUpdate&&) { return true; });
        QVERIFY(!gone && gone.error().code == ErrorCode::Unavailable);
        m_api.silent = false;
        QTRY_COMPARE_WITH_TIMEOUT(m_api.watching.load(), 0, 20000);
    }

    void aSlowAnswerEndsAtTheDeadline() {
        m_api.delayMs = 1500;
        const auto impatient = makeControlClient(address(), 200);
        const auto late = impatient->listRuns();
        m_api.delayMs = 0;
        QVERIFY(!late && late.error().code == ErrorCode::Unavailable);
        QVERIFY2(late.error().text().find("did not answer within 0.2") != std::string::npos, late.error().text().c_str());
        QVERIFY(late.error().text().find(address()) != std::string::npos);
    }

    void aDaemonThatGoesIsUnavailableAndComesBack() {
        FakeApi api;
        auto server = serveControl(api, "127.0.0.1:0");
        const int port = (*server)->port();
        const std::string where = "127.0.0.1:" + std::to_string(port);
        const auto client = makeControlClient(where, 5000);
        QVERIFY(client->listRuns().has_value());
        std::atomic<bool> ended{false};
        Result<void> watched;
        std::thread watcher([&] {
            watched = client->watch("", [](WatchUpdate&&) { return true; });
            ended = true;
        });
        while (api.watching == 0)
            QTest::qWait(5);
        server->reset(); // with a watcher on it
        QTRY_VERIFY_WITH_TIMEOUT(ended.load(), 20000);
        watcher.join();
        const auto away = client->listRuns();
        QVERIFY(!away && away.error().code == ErrorCode::Unavailable);
        server = serveControl(api, where);
        QVERIFY2(server.has_value(), server ? "" : server.error().text().c_str());
        QTRY_VERIFY_WITH_TIMEOUT(client->listRuns().has_value(), 20000);
    }

    void aTakenPortIsNamed() {
        FakeApi other;
        const auto second = serveControl(other, address());
        QVERIFY(!second);
        QCOMPARE(second.error().code, ErrorCode::AlreadyExists);
        QVERIFY(second.error().text().find(address()) != std::string::npos);
        QVERIFY(second.error().text().find("another port") != std::string::npos);
    }

    void onlyLoopbackIsServed_data() {
        QTest::addColumn<QString>("address");
        for (const char* text : {"0.0.0.0:0", "192.168.1.5:7443", "example.org:7443", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":1"})
            QTest::newRow(text) << text;
    }
    void onlyLoopbackIsServed() {
        QFETCH(QString, address);
        FakeApi other;
        const auto refused = serveControl(other, address.toStdString());
        QVERIFY(!refused);
        QCOMPARE(refused.error().code, ErrorCode::InvalidArgument);
        QVERIFY(refused.error().text().find(address.toStdString()) != std::string::npos);
    }
};

QTEST_GUILESS_MAIN(TestControl)
#include "tst_control.moc"
