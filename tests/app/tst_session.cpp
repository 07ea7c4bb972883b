// SPDX-License-Identifier: GPL-3.0-or-later
// The session over links that a test can cut: connect, reconnect, holes in the news, jobs that fail, a clean end.
#include <QSignalSpy>
#include <QTest>

#include "switchable_backend.h"

using namespace telehelm;
using namespace telehelm::app;
using testing::SwitchableBackend;

namespace {
constexpr int kPatience = 15'000; // generous: nothing here asserts a duration
}

class TestSession : public QObject {
    Q_OBJECT
private slots:
    void init() {
        m_backend = std::make_unique<SwitchableBackend>();
        m_backend->runs = {SwitchableBackend::makeRun("demo")};
        m_session = std::make_unique<Session>(testing::linksTo(*m_backend));
    }
    void cleanup() {
        m_session.reset();
        QCOMPARE(m_backend->openSubscribers, 0);
        QCOMPARE(m_backend->callsInside, 0);
    }
    void opensAndKnowsTheRuns();
    void focusPrefersARunThatLives();
    void newsMoveTheRunOn();
    void aHoleIsFoundAndRepaired();
    void oldNewsAreDropped();
    void aNewEpochIsAGap();
    void aLostControlLinkFailsJobsAndComesBack();
    void aLostLiveLinkComesBackWithAGap();
    void aRestartedDaemonIsGreetedAgain();
    void aFailedJobSaysWhy();
    void jobsWithoutADaemonFail();
    void theCallerNeverWaits();
    void watchUpdatesMergeAndNeverGoBack();
    void eventsComeOnce();
    void aDeletedRunIsForgotten();
    void aRunThatIsGoneAfterABreakIsForgotten();
    void closingMidCallIsClean();
    void nothingOfAClosedConnectionArrives();

private:
    void openAll() {
        m_session->open("test:1");
        QTRY_COMPARE_WITH_TIMEOUT(m_session->controlLink().state, LinkState::Up, kPatience);
        QTRY_COMPARE_WITH_TIMEOUT(m_session->liveLink().state, LinkState::Up, kPatience);
        QTRY_VERIFY_WITH_TIMEOUT(!m_session->runs().empty(), kPatience);
    }
    void publish(std::uint64_t number, std::int64_t step, const char* epoch = "one") {
        m_backend->with([&](auto& b) { b.news.push_back(SwitchableBackend::makeNews("demo", number, step, epoch)); });
    }
    std::unique_ptr<SwitchableBackend> m_backend;
    std::unique_ptr<Session> m_session;
};

void TestSession::opensAndKnowsTheRuns() {
    QSignalSpy focused(m_session.get(), &Session::focusedRunChanged);
    openAll();
    QCOMPARE(m_session->runs().size(), 1U);
    QCOMPARE(m_session->focusedRun(), QStringLiteral("demo"));
    QCOMPARE(focused.last().first().toString(), QStringLiteral("demo"));
    QVERIFY(m_session->controlLink().latencyMs >= 0);
    QCOMPARE(m_session->hello().program, std::string("telehelmd test"));
}

void TestSession::focusPrefersARunThatLives() {
    m_backend->runs = {SwitchableBackend::makeRun("newer", ipc::AttemptState::Stopped, 9), SwitchableBackend::makeRun("living", ipc::AttemptState::Running, 1)};
    openAll();
    QTRY_COMPARE_WITH_TIMEOUT(m_session->focusedRun(), QStringLiteral("living"), kPatience);
}

void TestSession::newsMoveTheRunOn() {
    openAll();
    std::vector<std::int64_t> steps;
    connect(m_session.get(), &Session::newsArrived, this, [&](const std::vector<ipc::News>& news) {
        for (const auto& item : news)
            steps.push_back(item.batch.series.front().points.front().step);
    });
    for (int i = 1; i <= 50; ++i)
        publish(static_cast<std::uint64_t>(i), i);
    QTRY_COMPARE_WITH_TIMEOUT(steps.size(), 50U, kPatience);
    QVERIFY(std::is_sorted(steps.begin(), steps.end()));
    QCOMPARE(m_session->run("demo")->newest()->step, 50);
    QCOMPARE(m_session->run("demo")->newest()->tokens, 50 * 512);
    QCOMPARE(m_session->fidelity().received, 50U * 5U);
    QCOMPARE(m_session->fidelity().gaps, 0U);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->fidelity().completeToStep, 50, kPatience);
}

void TestSession::aHoleIsFoundAndRepaired() {
    openAll();
    publish(1, 1);
    publish(2, 2);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->fidelity().completeToStep, 2, kPatience);
    QSignalSpy gaps(m_session.get(), &Session::gapFound);
    publish(5, 5);
    QTRY_COMPARE_WITH_TIMEOUT(gaps.count(), 1, kPatience);
    QCOMPARE(gaps.first().first().toString(), QStringLiteral("demo"));
    QCOMPARE(m_session->fidelity().gaps, 1U);
    QTest::qWait(600); // two refreshes of the fidelity
    QCOMPARE(m_session->fidelity().completeToStep, 2); // the hole is still open
    m_session->noteRepaired(10);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->fidelity().completeToStep, 5, kPatience);
    QCOMPARE(m_session->fidelity().repaired, 10U);
}

void TestSession::oldNewsAreDropped() {
    openAll();
    publish(1, 1);
    publish(2, 2);
    publish(2, 2);
    publish(1, 1);
    publish(3, 3);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->step, 3, kPatience);
    QCOMPARE(m_session->fidelity().received, 3U * 5U);
    QCOMPARE(m_session->fidelity().gaps, 0U);
}

void TestSession::aNewEpochIsAGap() {
    openAll();
    publish(1, 1);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->step, 1, kPatience);
    QSignalSpy gaps(m_session.get(), &Session::gapFound);
    publish(1, 7, "two");
    QTRY_COMPARE_WITH_TIMEOUT(gaps.count(), 1, kPatience);
    QCOMPARE(m_session->fidelity().gaps, 1U);
}

void TestSession::aLostControlLinkFailsJobsAndComesBack() {
    openAll();
    m_backend->with([](auto& b) { b.controlUp = false; });
    QTRY_COMPARE_WITH_TIMEOUT(m_session->controlLink().state, LinkState::Down, kPatience);
    QCOMPARE(m_session->controlLink().text, QStringLiteral("test:1: connection refused"));
    QVERIFY(m_session->controlLink().nextAttemptUs > 0);
    QCOMPARE(m_session->liveLink().state, LinkState::Up); // each link stands for itself
    QSignalSpy failed(m_session.get(), &Session::jobFailed);
    const auto job = m_session->fetchCheckpoints("demo");
    QTRY_COMPARE_WITH_TIMEOUT(failed.count(), 1, kPatience);
    QCOMPARE(failed.first().at(0).value<JobId>(), job);
    m_backend->with([](auto& b) { b.controlUp = true; });
    m_session->reconnectNow();
    QTRY_COMPARE_WITH_TIMEOUT(m_session->controlLink().state, LinkState::Up, kPatience);
    QSignalSpy fetched(m_session.get(), &Session::checkpointsFetched);
    m_session->fetchCheckpoints("demo");
    QTRY_COMPARE_WITH_TIMEOUT(fetched.count(), 1, kPatience);
}

void TestSession::aLostLiveLinkComesBackWithAGap() {
    openAll();
    m_backend->with([](auto& b) { b.liveUp = false; });
    QTRY_COMPARE_WITH_TIMEOUT(m_session->liveLink().state, LinkState::Down, kPatience);
    QCOMPARE(m_session->controlLink().state, LinkState::Up);
    QSignalSpy gaps(m_session.get(), &Session::gapFound);
    m_backend->with([](auto& b) { b.liveUp = true; });
    m_session->reconnectNow();
    QTRY_COMPARE_WITH_TIMEOUT(m_session->liveLink().state, LinkState::Up, kPatience);
    QTRY_COMPARE_WITH_TIMEOUT(gaps.count(), 1, kPatience);
    QCOMPARE(m_session->fidelity().gaps, 1U);
}

void TestSession::aRestartedDaemonIsGreetedAgain() {
    openAll();
    m_backend->with([](auto& b) {
        b.epoch = "two";
        b.runs.push_back(SwitchableBackend::makeRun("second"));
    });
    m_session->reconnectNow();
    QTRY_COMPARE_WITH_TIMEOUT(m_session->hello().epoch, std::string("two"), kPatience);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->runs().size(), 2U, kPatience);
}

void TestSession::aFailedJobSaysWhy() {
    openAll();
    QSignalSpy failed(m_session.get(), &Session::jobFailed);
    QSignalSpy started(m_session.get(), &Session::runStarted);
    ipc::StartRequest bad, good;
    bad.configPath = "bad.toml";
    good.configToml = "name = 'x'";
    const auto badJob = m_session->startRun(bad);
    const auto goodJob = m_session->startRun(good);
    QTRY_COMPARE_WITH_TIMEOUT(started.count(), 1, kPatience);
    QCOMPARE(failed.count(), 1);
    QCOMPARE(failed.first().at(0).value<JobId>(), badJob);
    QCOMPARE(failed.first().at(1).value<Error>().text(), std::string("bad.toml: the config is empty"));
    QCOMPARE(started.first().at(0).value<JobId>(), goodJob);
    QVERIFY(m_session->run("started") != nullptr);
    QVERIFY(!m_backend->startRequests.back().commandId.empty());
}

void TestSession::jobsWithoutADaemonFail() {
    QSignalSpy failed(m_session.get(), &Session::jobFailed);
    const auto job = m_session->submit({});
    QTRY_COMPARE_WITH_TIMEOUT(failed.count(), 1, kPatience);
    QCOMPARE(failed.first().at(0).value<JobId>(), job);
}

void TestSession::theCallerNeverWaits() {
    openAll();
    m_backend->with([](auto& b) { b.hold = true; });
    QSignalSpy fetched(m_session.get(), &Session::seriesFetched);
    ipc::SeriesQuery query;
    query.names = {"train/loss"};
    m_session->fetchSeries(query); // returns while the call is held: else the next line would never be reached
    publish(1, 1);                 // and the news go on meanwhile
    QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->step, 1, kPatience);
    QCOMPARE(fetched.count(), 0);
    m_backend->with([](auto& b) { b.hold = false; });
    QTRY_COMPARE_WITH_TIMEOUT(fetched.count(), 1, kPatience);
}

void TestSession::aDeletedRunIsForgotten() {
    m_backend->runs.push_back(SwitchableBackend::makeRun("other", ipc::AttemptState::Finished));
    openAll();
    QCOMPARE(m_session->focusedRun(), QStringLiteral("demo"));
    QSignalSpy gone(m_session.get(), &Session::runDeleted);
    ipc::Command command;
    command.id = "a";
    command.key = {"demo", 1};
    ipc::WatchUpdate deleted;
    deleted.deleted.emplace();
    deleted.deleted->run = "demo";
    deleted.deleted->author = "somebody";
    deleted.deleted->deletedUs = ipc::nowUs();
    m_backend->with([&](auto& b) {
        b.updates.push_back({std::nullopt, std::nullopt, command});
        b.updates.push_back(deleted);
        b.updates.push_back(deleted); // told again
    });
    QTRY_COMPARE_WITH_TIMEOUT(gone.count(), 1, kPatience);
    QVERIFY(gone[0][1].toBool() && m_session->run("demo") == nullptr && m_session->commands().empty());
    QTRY_COMPARE_WITH_TIMEOUT(m_session->focusedRun(), QStringLiteral("other"), kPatience);
    QCOMPARE(m_session->runs().size(), 1U);
}

void TestSession::aRunThatIsGoneAfterABreakIsForgotten() {
    openAll();
    QSignalSpy gone(m_session.get(), &Session::runDeleted);
    m_backend->with([](auto& b) { b.controlUp = false; });
    QTRY_COMPARE_WITH_TIMEOUT(m_session->controlLink().state, LinkState::Down, kPatience);
    m_backend->with([](auto& b) {
        b.runs.clear();
        b.controlUp = true;
    });
    m_session->reconnectNow();
    QTRY_COMPARE_WITH_TIMEOUT(gone.count(), 1, kPatience);
    QVERIFY(m_session->focusedRun().isEmpty() && m_session->runs().empty());
}

void TestSession::watchUpdatesMergeAndNeverGoBack() {
    openAll();
    QSignalSpy changed(m_session.get(), &Session::commandChanged);
    ipc::Command command;
    command.id = "a";
    command.requestedUs = 1;
    command.state = ipc::CommandState::Applied;
    auto older = command;
    older.state = ipc::CommandState::Accepted;
    auto second = command;
    second.id = "b";
    second.requestedUs = 2;
    m_backend->with([&](auto& b) {
        for (const auto& item : {command, older, second})
            b.updates.push_back({std::nullopt, std::nullopt, item});
    });
    QTRY_COMPARE_WITH_TIMEOUT(m_session->commands().size(), 2U, kPatience);
    QCOMPARE(changed.count(), 2);
    QCOMPARE(m_session->commands()[0].id, std::string("b")); // newest first
    QCOMPARE(m_session->commands()[1].state, ipc::CommandState::Applied);
    publish(1, 40);
    QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->step, 40, kPatience);
    auto stale = SwitchableBackend::makeRun("demo", ipc::AttemptState::Paused);
    stale.attempts.front().step = 30; // the watch stream tells an older story of the progress
    m_backend->with([&](auto& b) { b.updates.push_back({stale, std::nullopt, std::nullopt}); });
    QTRY_COMPARE_WITH_TIMEOUT(m_session->run("demo")->newest()->state, ipc::AttemptState::Paused, kPatience);
    QCOMPARE(m_session->run("demo")->newest()->step, 40);
}

void TestSession::eventsComeOnce() {
    ipc::Event event;
    event.id = 7;
    event.text = "saved";
    m_backend->events = {event};
    QSignalSpy added(m_session.get(), &Session::eventAdded);
    openAll();
    QTRY_COMPARE_WITH_TIMEOUT(added.count(), 1, kPatience);
    auto later = event;
    later.id = 8;
    m_backend->with([&](auto& b) {
        b.updates.push_back({std::nullopt, event, std::nullopt});
        b.updates.push_back({std::nullopt, later, std::nullopt});
    });
    QTRY_COMPARE_WITH_TIMEOUT(added.count(), 2, kPatience);
    QCOMPARE(m_session->events().size(), 2U);
    QCOMPARE(m_session->events().back().id, 8);
}

void TestSession::closingMidCallIsClean() {
    openAll();
    m_backend->with([](auto& b) { b.hold = true; });
    m_session->fetchCheckpoints("demo");
    QTRY_VERIFY_WITH_TIMEOUT(([&] {
        const std::lock_guard lock(m_backend->mutex);
        return m_backend->callsInside > 0;
    })(), kPatience);
    m_session->close(); // does not wait for the call that hangs
    QCOMPARE(m_session->controlLink().state, LinkState::Off);
    QVERIFY(m_session->runs().empty());
    m_backend->with([](auto& b) { b.hold = false; });
    // cleanup() destroys the session and checks that every thread let go of the backend
}

void TestSession::nothingOfAClosedConnectionArrives() {
    openAll();
    m_backend->with([](auto& b) { b.hold = true; });
    QSignalSpy fetched(m_session.get(), &Session::checkpointsFetched);
    QSignalSpy failed(m_session.get(), &Session::jobFailed);
    m_session->fetchCheckpoints("demo");
    m_session->close();
    m_backend->with([](auto& b) { b.hold = false; });
    m_session->open("test:1");
    QTRY_COMPARE_WITH_TIMEOUT(m_session->runs().size(), 1U, kPatience);
    QTest::qWait(200);
    QCOMPARE(fetched.count(), 0);
    QCOMPARE(failed.count(), 0);
}

QTEST_GUILESS_MAIN(TestSession)
#include "tst_session.moc"
