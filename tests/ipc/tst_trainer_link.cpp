// SPDX-License-Identifier: Apache-2.0
// The trainer link's promise: every emitted point is stored exactly once, whatever happens to the daemon or the trainer.
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#include <QTemporaryDir>
#include <QTest>

#include <zmq.h>

#include "convert/convert.h"
#include "telehelm/ipc/trainer_link.h"
#include "zmq/link_frames.h"
#include "zmq/socket.h"
#include "zmq/spool.h"
#include "zmq/trainer_outbox.h"

using namespace telehelm;
using namespace telehelm::ipc;
namespace fs = std::filesystem;

namespace {

/// A store that keeps each batch once, by its number, like the daemon's. Survives the servers in front of it.
class FakeStore : public TrainerHandler {
public:
    Result<std::uint64_t> onHello(const TrainerHello& hello) override {
        const std::lock_guard lock(m_mutex);
        ++hellos;
        lastHello = hello;
        if (!refusal.empty())
            return fail(ErrorCode::FailedPrecondition, refusal);
        for (const Command& command : pendingCommands)
            server->send(hello.key, command);
        return m_highest[hello.key];
    }
    Result<std::uint64_t> onBatch(TelemetryBatch&& batch) override {
        const std::lock_guard lock(m_mutex);
        ++deliveries;
        std::uint64_t& highest = m_highest[batch.key];
        if (failNext > 0) {
            --failNext;
            return fail(ErrorCode::Unavailable, "the disk is full");
        }
        if (batch.sequence <= highest) {
            ++duplicates;
            return highest;
        }
        if (batch.sequence != highest + 1)
            holes = true;
        highest = batch.sequence;
        for (const SeriesBlock& block : batch.series)
            for (const Point& point : block.points)
                ++steps[point.step];
        events.insert(events.end(), batch.events.begin(), batch.events.end());
        outcomes.insert(outcomes.end(), batch.outcomes.begin(), batch.outcomes.end());
        if (!ackLater)
            return highest;
        waiting = highest;
        return 0;
    }
    void onHeartbeat(const TrainerHeartbeat& beat) override {
        const std::lock_guard lock(m_mutex);
        lastBeat = beat;
        ++beats;
    }
    void onGone(const AttemptKey&, bool goodbye) override {
        const std::lock_guard lock(m_mutex);
        ++(goodbye ? goodbyes : lost);
    }
    void onBadFrame(const Error& error) override {
        const std::lock_guard lock(m_mutex);
        badFrames.push_back(error.text());
    }
    template <typename Get>
    auto read(Get get) {
        const std::lock_guard lock(m_mutex);
        return get(*this);
    }
    bool exactlyOnce(int first, int last) {
        const std::lock_guard lock(m_mutex);
        for (int step = first; step <= last; ++step)
            if (const auto found = steps.find(step); found == steps.end() || found->second != 1)
                return false;
        return !holes;
    }
    std::size_t stored() {
        const std::lock_guard lock(m_mutex);
        return steps.size();
    }

    std::string refusal;
    std::vector<Command> pendingCommands;
    TrainerLinkServer* server = nullptr;
    int hellos = 0, deliveries = 0, duplicates = 0, failNext = 0, beats = 0, goodbyes = 0, lost = 0;
    bool ackLater = false, holes = false;
    std::uint64_t waiting = 0;
    TrainerHello lastHello;
    TrainerHeartbeat lastBeat;
    std::map<std::int64_t, int> steps; // → how many times stored
    std::vector<Event> events;
    std::vector<CommandOutcome> outcomes;
    std::vector<std::string> badFrames;

private:
    std::mutex m_mutex;
    std::map<AttemptKey, std::uint64_t> m_highest;
};

constexpr int kLong = 30000;

} // namespace

class TestTrainerLink : public QObject {
    Q_OBJECT

    std::unique_ptr<QTemporaryDir> m_dir;
    std::unique_ptr<FakeStore> m_store;
    std::unique_ptr<TrainerLinkServer> m_server;

    [[nodiscard]] fs::path path(const char* name) const { return fs::path(m_dir->path().toStdString()) / name; }
    void startServer() {
        m_store->read([](FakeStore& s) { s.server = nullptr; return 0; });
        auto server = serveTrainers(*m_store, "tcp://127.0.0.1:*");
        if (!server)
            qFatal("%s", server.error().text().c_str());
        m_server = std::move(*server);
        m_store->read([&](FakeStore& s) { s.server = m_server.get(); return 0; });
        std::ofstream(path("endpoint")) << m_server->endpoint() << "\n";
    }
    [[nodiscard]] TrainerLinkOptions options() const {
        TrainerLinkOptions o;
        o.endpointFile = path("endpoint");
        o.key = {"demo", 1};
        o.spoolFile = path("attempt/spool");
        o.pid = 4711;
        o.ranks = 2;
        o.launcherNote = "mpirun pid 4710";
        return o;
    }
    [[nodiscard]] std::unique_ptr<TrainerLink> openLink(TrainerLinkOptions o) const {
        auto link = makeTrainerLink(std::move(o));
        if (!link)
            qFatal("%s", link.error().text().c_str());
        return std::move(*link);
    }
    static void emitSteps(TrainerLink& link, int first, int last) {
        for (int step = first; step <= last; ++step)
            link.emit("train/loss", {step, step * 100, nowUs(), 1.0 / step});
    }

private slots:
    void init() {
        m_dir = std::make_unique<QTemporaryDir>();
        m_store = std::make_unique<FakeStore>();
        startServer();
    }
    void cleanup() {
        m_server.reset();
        m_store.reset();
    }

    void pointsEventsAndHeartbeatsArrive() {
        auto link = openLink(options());
        link->setProgress(10, 1000, "validating");
        emitSteps(*link, 1, 1000);
        Event event;
        event.kind = EventKind::CheckpointSaved;
        event.text = "saved";
        link->emit(event);
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 1000));
        QTRY_COMPARE_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.lastBeat.phase; }), std::string("validating"), kLong);
        QTRY_VERIFY_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.beats >= 2 && s.lastBeat.pointsEmitted == 1000; }), kLong);
        const auto hello = m_store->read([](FakeStore& s) { return s.lastHello; });
        QVERIFY(hello.key == (AttemptKey{"demo", 1}) && hello.pid == 4711 && hello.ranks == 2 && hello.launcherNote == "mpirun pid 4710");
        QVERIFY(!hello.host.empty());
        const auto events = m_store->read([](FakeStore& s) { return s.events; });
        QVERIFY(events.size() == 1 && events[0].text == "saved" && events[0].key.run == "demo" && events[0].wallUs > 0);
        const LinkCounters counters = link->counters();
        QVERIFY(counters.connected && counters.pointsEmitted == 1000 && counters.pointsAcked == 1000 && counters.problem.empty());
        QVERIFY(m_server->connected({"demo", 1}) && !m_server->connected({"demo", 2}));
        link.reset();
        QTRY_COMPARE_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.goodbyes; }), 1, kLong);
        QVERIFY(!m_server->connected({"demo", 1}));
    }

    void theDaemonMayAckLater() {
        m_store->ackLater = true;
        auto link = openLink(options());
        emitSteps(*link, 1, 100);
        QTRY_VERIFY_WITH_TIMEOUT(m_store->stored() == 100, kLong);
        QVERIFY(!link->flush(50));
        QCOMPARE(link->counters().pointsAcked, std::uint64_t{0});
        m_server->ack({"demo", 1}, m_store->read([](FakeStore& s) { return s.waiting; }));
        QVERIFY(link->flush(kLong));
        QCOMPARE(link->counters().pointsAcked, std::uint64_t{100});
    }

    void aRestartedDaemonOnAnotherPortLosesNothing() {
        auto link = openLink(options());
        int step = 0;
        for (int round = 0; round < 3; ++round) {
            QTRY_VERIFY_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.hellos; }) > round, kLong);
            for (int burst = 0; burst < 20; ++burst) {
                emitSteps(*link, step + 1, step + 50);
                step += 50;
                QTest::qWait(5);
                if (burst == 7)
                    m_server.reset(); // with batches in flight
            }
            startServer();
        }
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, step));
        QVERIFY(m_store->read([](FakeStore& s) { return s.hellos; }) >= 4);
        QCOMPARE(link->counters().pointsAcked, std::uint64_t(step));
    }

    void whatTheStoreRefusesComesAgain() {
        auto link = openLink(options());
        emitSteps(*link, 1, 10);
        QVERIFY(link->flush(kLong));
        m_store->read([](FakeStore& s) { return s.failNext = 1; });
        for (int i = 0; i < 10; ++i) {
            emitSteps(*link, 11 + i, 11 + i);
            link->flush(30); // many small batches behind the failed one
        }
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 20));
        QVERIFY(link->counters().batchesResent > 0);
    }

    // A batch that waits in the daemon is refused when it comes again, and acked after all: the one behind it is next.
    void anAckOfWhatWaitedFreesTheNext() {
        m_store->ackLater = true;
        auto link = openLink(options());
        emitSteps(*link, 1, 1);
        (void)link->flush(30);
        QTRY_VERIFY_WITH_TIMEOUT(m_store->stored() == 1, kLong);
        m_store->read([](FakeStore& s) { return s.failNext = 2; });
        emitSteps(*link, 2, 2);
        (void)link->flush(30);
        QTRY_VERIFY_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.failNext; }) == 0, kLong);
        m_store->read([](FakeStore& s) { return s.ackLater = false; });
        m_server->ack({"demo", 1}, 1);
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 2));
    }

    void theSpoolSurvivesTheProcess() {
        m_server.reset();
        fs::remove(path("endpoint"));
        {
            auto offline = makeOfflineTrainerLink(options());
            QVERIFY(offline.has_value());
            emitSteps(**offline, 1, 500);
            (*offline)->flush(kLong);
            emitSteps(**offline, 501, 600);
            QCOMPARE((*offline)->counters().pointsSpooled, std::uint64_t{500});
        }
        startServer();
        auto link = openLink(options()); // a second process of the same attempt
        emitSteps(*link, 601, 700);
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 700));
        link.reset();
        QCOMPARE(fs::file_size(path("attempt/spool")), std::uintmax_t{24}); // nothing but its head
    }

    void aCutOffSpoolGivesWhatIsWhole() {
        m_server.reset();
        {
            auto offline = makeOfflineTrainerLink(options());
            for (int step = 1; step <= 10; ++step) {
                emitSteps(**offline, step, step);
                (*offline)->flush(kLong);
            }
        }
        fs::resize_file(path("attempt/spool"), fs::file_size(path("attempt/spool")) - 5);
        startServer();
        auto link = openLink(options());
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 9));
        QCOMPARE(m_store->stored(), std::size_t{9});
    }

    void aSecondProcessWithoutASpoolContinuesTheNumbers() {
        auto first = openLink(options());
        emitSteps(*first, 1, 100);
        QVERIFY(first->flush(kLong));
        first.reset();
        fs::remove(path("attempt/spool"));
        const auto highest = m_store->deliveries;
        auto second = openLink(options());
        for (int i = 0; i < 5; ++i) {
            emitSteps(*second, 101 + i, 101 + i);
            second->flush(20);
        }
        QVERIFY(second->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 105));
        QVERIFY(m_store->deliveries > highest);
    }

    /// Numbers move at the first welcome; a batch that cannot be read at that moment keeps its place and is told of.
    void whatTheSpoolCannotGiveKeepsItsPlace() {
        const QString file = m_dir->filePath("unreadable-spool");
        TrainerOutbox outbox;
        QVERIFY(outbox.open(file.toStdString(), {"demo", 1}, 0));
        for (int i = 0; i < 3; ++i) {
            TelemetryBatch batch;
            batch.key = {"demo", 1};
            batch.series = {{"batch " + std::to_string(i), std::vector<Point>(2)}};
            outbox.add(std::move(batch));
        }
        QVERIFY(outbox.spill(TrainerOutbox::Clock::duration::zero())); // the file alone has them now
        QFile spool(file);
        QVERIFY(spool.open(QIODevice::ReadWrite));
        const QByteArray whole = spool.readAll();
        QVERIFY(spool.resize(30));
        QCOMPARE(outbox.welcome(7), std::uint64_t{0});
        QVERIFY(!outbox.next());
        QVERIFY(outbox.spill(TrainerOutbox::Clock::duration::zero()));
        QVERIFY(spool.seek(0) && spool.write(whole) == whole.size() && spool.flush());
        for (std::uint64_t i = 0; i < 3; ++i) {
            const auto next = outbox.next();
            QVERIFY(next && *next);
            v1::TelemetryBatch wire;
            QVERIFY(wire.ParseFromString((*next)->payload));
            QCOMPARE(wire.sequence(), 8 + i);
            QCOMPARE(wire.series(0).name(), "batch " + std::to_string(i));
            outbox.sent();
        }
        QCOMPARE(outbox.ack(10), std::uint64_t{6});
        QVERIFY(outbox.empty());
    }

    void moreThanMemoryHoldsGoesToTheFile() {
        m_server.reset();
        TrainerLinkOptions o = options();
        o.memoryPoints = 1000;
        auto link = openLink(o);
        for (int i = 0; i < 50; ++i) {
            emitSteps(*link, i * 100 + 1, i * 100 + 100);
            link->flush(5);
        }
        QTRY_VERIFY_WITH_TIMEOUT(link->counters().pointsSpooled >= 4000, kLong);
        QVERIFY(!link->counters().connected && !link->counters().problem.empty());
        startServer();
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 5000));
    }

    void commandsComeOnceAndOutcomesAgain() {
        Command command;
        command.id = newUuid();
        command.key = {"demo", 1};
        command.kind = CommandKind::SetMixture;
        command.mixture = {{"WebText", 0.25}, {"Code", 0.75}};
        m_store->pendingCommands = {command}; // sent at every hello, as a daemon does that knows of no outcome
        auto link = openLink(options());
        std::vector<Command> taken;
        const auto take = [&] {
            for (Command& c : link->takeCommands())
                taken.push_back(std::move(c));
            return taken.size();
        };
        QTRY_COMPARE_WITH_TIMEOUT(take(), std::size_t{1}, kLong);
        QVERIFY(taken[0] == command);
        link->emit(CommandOutcome{command.id, CommandState::Applied, 42, "applied at step 42"});
        QVERIFY(link->flush(kLong));
        QVERIFY(m_server->send({"demo", 1}, command));
        QTRY_VERIFY_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.outcomes.size() >= 2; }), kLong);
        m_server.reset();
        startServer();
        QTRY_VERIFY_WITH_TIMEOUT(m_store->read([](FakeStore& s) { return s.outcomes.size() >= 3; }), kLong);
        for (const CommandOutcome& outcome : m_store->read([](FakeStore& s) { return s.outcomes; }))
            QVERIFY(outcome.id == command.id && outcome.step == 42);
        QCOMPARE(take(), std::size_t{1});
        QVERIFY(!m_server->send({"demo", 9}, command));
    }

    void aRefusedTrainerKeepsItsPointsAndAsksAgain() {
        m_store->refusal = "no attempt demo/1 is known";
        auto link = openLink(options());
        emitSteps(*link, 1, 10);
        QTRY_VERIFY_WITH_TIMEOUT(link->counters().problem.find("no attempt") != std::string::npos, kLong);
        QVERIFY(!m_server->connected({"demo", 1}));
        m_store->read([](FakeStore& s) { s.refusal.clear(); return 0; });
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 10));
    }

    void poisonedFramesAreCountedByTheDaemon() {
        auto link = openLink(options());
        emitSteps(*link, 1, 10);
        QVERIFY(link->flush(kLong));
        const ZmqContext context;
        ZmqSocket stranger(context, ZMQ_DEALER);
        QVERIFY(stranger.connect(m_server->endpoint()).has_value());
        stranger.send({"GET / HTTP/1.1"});
        stranger.send({"telehelm/9", "H", ""});
        stranger.send({kLinkTag, "H", "\xff\xff\xff"});
        stranger.send({kLinkTag, "B", "\xff\xff"});      // no hello before
        stranger.send({kLinkTag, "", ""});
        v1::TrainerHello hello;
        hello.set_protocol(kLinkVersion);
        hello.mutable_key()->set_run("other");
        hello.mutable_key()->set_attempt(1);
        stranger.send({kLinkTag, "H", hello.SerializeAsString()});
        stranger.send({kLinkTag, "B", "\xff\xff"});
        stranger.send({kLinkTag, "?", ""});
        QTRY_COMPARE_WITH_TIMEOUT(m_server->badFrames(), std::uint64_t{7}, kLong);
        QCOMPARE(m_store->read([](FakeStore& s) { return s.badFrames.size(); }), std::size_t{7});
        emitSteps(*link, 11, 20);
        QVERIFY(link->flush(kLong));
        QVERIFY(m_store->exactlyOnce(1, 20));
    }

    void poisonedFramesAreCountedByTheTrainer() {
        const ZmqContext context;
        ZmqSocket router(context, ZMQ_ROUTER);
        QVERIFY(router.bind("tcp://127.0.0.1:*").has_value());
        std::ofstream(path("endpoint")) << router.lastEndpoint() << "\n";
        auto link = openLink(options());
        std::vector<std::string> frames;
        QTRY_VERIFY_WITH_TIMEOUT(!frames.empty() || router.receive(frames), kLong);
        QCOMPARE(frames.size(), std::size_t{4});
        router.send({frames[0], "nonsense"});
        router.send({frames[0], kLinkTag, "W", "\xff\xff\xff"});
        router.send({frames[0], kLinkTag, "?", ""});
        QTRY_COMPARE_WITH_TIMEOUT(link->counters().badFrames, std::uint64_t{3}, kLong);
        QVERIFY(!link->counters().connected);
    }

    void aForeignSpoolIsPutAside() {
        fs::create_directories(path("attempt"));
        std::ofstream(path("attempt/spool")) << "this is no spool at all, but somebody may need it";
        auto link = openLink(options());
        emitSteps(*link, 1, 3);
        QVERIFY(link->flush(kLong));
        int aside = 0;
        for (const auto& entry : fs::directory_iterator(path("attempt")))
            aside += entry.path().filename().string().find("aside") != std::string::npos ? 1 : 0;
        QCOMPARE(aside, 1);
    }

    void anUnwritableFolderIsAnError() {
        TrainerLinkOptions o = options();
        o.spoolFile = "/proc/telehelm/spool";
        const auto link = makeTrainerLink(o);
        QVERIFY(!link);
        QVERIFY2(link.error().text().find("/proc/telehelm/spool") != std::string::npos, link.error().text().c_str());
    }

    void checksumsAreZlibs() { QCOMPARE(crc32("123456789"), 0xcbf43926u); }
};

QTEST_GUILESS_MAIN(TestTrainerLink)
#include "tst_trainer_link.moc"
