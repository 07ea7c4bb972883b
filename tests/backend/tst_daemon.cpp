// SPDX-License-Identifier: Apache-2.0
// The daemon in this process (daemon_rig.h).
#include <thread>

#include "daemon/command_rules.h"
#include "daemon/config_text.h"
#include "daemon/state_dir.h"
#include "daemon_rig.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;

class TestDaemon : public QObject {
    Q_OBJECT

private slots:
    void startsAndTells();
    void refusesBadStarts();
    void rulesSayWhatWouldBeAccepted_data();
    void rulesSayWhatWouldBeAccepted();
    void pauseAndResume();
    void commandsAreIdempotentAndAudited();
    void unansweredCommandsAreSentAgain();
    void mixtureGoesIntoForce();
    void stopEndsTheRun();
    void aFailedJobShowsItsLastLines();
    void restartMakesANewAttempt();
    void damagedCheckpointsAreNamed();
    void daemonRestartLosesNothing();
    void aLeftSpoolIsRead();
    void countersTellWherePointsAre();
    void newsAndWatchersHear();
    void notesAndUnknownRuns();
    void onlyOneDaemonPerFolder();
    void configKeysAreSet();
};

void TestDaemon::startsAndTells() {
    Place place;
    StartRequest request = place.request();
    const RunInfo run = must(place.daemon->startRun(request));
    QCOMPARE(run.run, std::string("r"));
    QVERIFY(run.newest()->state == AttemptState::Starting);
    QCOMPARE(run.totalSteps, std::int64_t{1000});
    QCOMPARE(run.tokensPerStep, std::int64_t{32});
    QCOMPARE(run.domains.size(), std::size_t{2});
    QCOMPARE(run.domains[1].trainTokens, std::int64_t{2000});
    QCOMPARE(run.domains[1].target, 0.75);
    QCOMPARE(must(place.daemon->startRun(request)).run, std::string("r")); // the same UUID again
    QCOMPARE(must(place.daemon->listRuns()).size(), std::size_t{1});
    QCOMPARE(must(place.daemon->startRun(place.request())).run, std::string("r-2"));
    QFile config(place.attemptDir() + "/config.toml");
    QVERIFY(config.open(QIODevice::ReadOnly));
    QCOMPARE(config.readAll().toStdString(), request.configToml);

    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    trainer.steps(100);
    QVERIFY(trainer.link().flush(kPatience));
    QTRY_COMPARE_WITH_TIMEOUT(place.newest().pointsStored, std::uint64_t{120}, kPatience);
    QCOMPARE(place.newest().step, std::int64_t{100});
    const RunInfo after = must(place.daemon->getRun("r"));
    QCOMPARE(after.domains[0].tokensSeen, std::int64_t{800});
    QCOMPARE(after.domains[1].tokensSeen, std::int64_t{2400});
    QCOMPARE(must(place.daemon->hello(kProtocolVersion, "test")).pointsStored, std::uint64_t{120});
    QVERIFY(!place.daemon->hello(kOldestProtocolVersion - 1, "test"));
    QCOMPARE(must(place.daemon->hello(kProtocolVersion - 1, "older")).protocol, kProtocolVersion - 1);
    QCOMPARE(must(place.daemon->hello(kProtocolVersion + 1, "newer")).protocol, kProtocolVersion);
}

void TestDaemon::refusesBadStarts() {
    Place place;
    StartRequest request = place.request();
    const auto error = [&](const QByteArray& config, const std::string& name = {}) {
        StartRequest bad = request;
        bad.configToml = config.toStdString();
        bad.name = name;
        bad.commandId = newUuid();
        const auto started = place.daemon->startRun(bad);
        return started ? QString("started") : QString::fromStdString(started.error().text());
    };
    const QByteArray good = configText(place.dir.filePath("corpus"));
    QVERIFY(error(QByteArray(good).replace("layers", "layrs")).contains("layrs"));
    QVERIFY(error(configText(place.dir.filePath("nowhere"))).contains("telehelm-data demo"));
    QVERIFY(error(QByteArray(good).replace("WebText", "Poetry")).contains("it has Code, WebText"));
    QVERIFY(error(good, "a/b").contains("cannot name a run"));
    QVERIFY(must(place.daemon->listRuns()).empty());
    QVERIFY(!QDir(place.dir.filePath("state/runs/r")).exists());
}

void TestDaemon::rulesSayWhatWouldBeAccepted_data() {
    QTest::addColumn<int>("kind");
    QTest::addColumn<QString>("reason");
    QTest::addColumn<int>("state");
    QTest::addColumn<QString>("change");
    QTest::addColumn<QString>("expected"); // empty: accepted
    const QString good = "a good enough reason";
    const auto row = [](const char* what, CommandKind kind, const QString& reason, AttemptState state, const QString& change, const QString& expected) {
        QTest::newRow(what) << static_cast<int>(kind) << reason << static_cast<int>(state) << change << expected;
    };
    using K = CommandKind;
    using S = AttemptState;
    row("pause", K::Pause, "", S::Running, "", "");
    row("pause paused", K::Pause, "", S::Paused, "", "paused already; resume it");
    row("pause pausing", K::Pause, "", S::Pausing, "", "about to pause");
    row("pause ended", K::Pause, "", S::Failed, "", "not running (");
    row("pause in the past", K::Pause, "", S::Running, "step 50", "Step 50 has been trained already (the run is at step 50)");
    row("pause later", K::Pause, "", S::Running, "step 51", "");
    row("resume", K::Resume, "", S::Paused, "", "");
    row("resume running", K::Resume, "", S::Running, "", "not paused");
    row("stop without reason", K::Stop, "too short", S::Running, "", "at least 12 characters; this one has 9");
    row("stop, letters not bytes", K::Stop, QString::fromUtf8("损失发散了"), S::Running, "", "this one has 5");
    row("stop", K::Stop, good, S::Paused, "", "");
    row("stop twice", K::Stop, good, S::Stopping, "", "stopping already");
    row("checkpoint", K::Checkpoint, "", S::Paused, "", "");
    row("mixture", K::SetMixture, good, S::Running, "mix 0.5 0.5", "");
    row("mixture without reason", K::SetMixture, "", S::Running, "mix 0.5 0.5", "needs a reason");
    row("mixture sum", K::SetMixture, good, S::Running, "mix 0.5 0.4", "add up to 90 %; they must add up to 100 %");
    row("mixture negative", K::SetMixture, good, S::Running, "mix 1.5 -0.5", "has a share of -50 %");
    row("mixture unknown", K::SetMixture, good, S::Running, "unknown", "no domain “Poetry”; it has Code, WebText");
    row("scale", K::SetLrScale, "", S::Running, "scale 0.5", "");
    row("scale zero", K::SetLrScale, "", S::Running, "scale 0", "above 0");
    row("scale nan", K::SetLrScale, "", S::Running, "scale nan", "above 0");
    row("old attempt", K::Pause, "", S::Running, "attempt 1", "go to attempt 3");
    row("restart dead", K::Restart, good, S::Failed, "restart", "");
    row("restart clip", K::Restart, good, S::Failed, "clip", "clip norm");
}

void TestDaemon::rulesSayWhatWouldBeAccepted() {
    QFETCH(QString, change);
    QFETCH(QString, expected);
    QFETCH(int, kind);
    QFETCH(int, state);
    QFETCH(QString, reason);
    Command command;
    command.kind = static_cast<CommandKind>(kind);
    command.reason = reason.toStdString();
    daemon::CommandContext context;
    context.state = static_cast<AttemptState>(state);
    context.newestAttempt = 3;
    context.step = 50;
    context.domains = {"Code", "WebText"};
    const QStringList words = change.split(' ');
    if (words[0] == "step")
        command.atStep = words[1].toInt();
    else if (words[0] == "mix")
        command.mixture = {{"Code", words[1].toDouble()}, {"WebText", words[2].toDouble()}};
    else if (words[0] == "unknown")
        command.mixture = {{"Poetry", 1.0}};
    else if (words[0] == "scale")
        command.lrScale = words[1].toDouble();
    else if (words[0] == "attempt")
        command.key.attempt = words[1].toUInt();
    else if (words[0] == "restart" || words[0] == "clip")
        command.restart.emplace();
    if (words[0] == "clip")
        command.restart->clipGrad = -1;
    const auto refused = daemon::refusal(command, context);
    QCOMPARE(refused.has_value(), !expected.isEmpty());
    if (refused)
        QVERIFY2(QString::fromStdString(*refused).contains(expected), refused->c_str());
}

void TestDaemon::pauseAndResume() {
    Place place;
    must(place.daemon->startRun(place.request()));
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    trainer.steps(5);
    const Command pause = must(place.daemon->submit(place.order(CommandKind::Pause)));
    QVERIFY(pause.state == CommandState::Accepted && pause.acceptedUs > 0);
    QVERIFY(place.newest().state == AttemptState::Pausing);
    const auto taken = trainer.take();
    QVERIFY(taken && taken->id == pause.id);
    trainer.answer(*taken);
    QVERIFY(place.becomes(AttemptState::Paused));
    QVERIFY(place.command(pause.id).state == CommandState::Applied);
    QCOMPARE(place.command(pause.id).appliedStep, std::int64_t{6});
    const Command again = must(place.daemon->submit(place.order(CommandKind::Pause)));
    QVERIFY(again.state == CommandState::Rejected && again.outcome.find("already") != std::string::npos);
    const Command resume = must(place.daemon->submit(place.order(CommandKind::Resume)));
    QVERIFY(place.newest().state == AttemptState::Paused); // not before the trainer says so
    trainer.answer(*trainer.take());
    QVERIFY(place.becomes(AttemptState::Running));
    // What the trainer refuses leaves the run as it was.
    const Command refused = must(place.daemon->submit(place.order(CommandKind::Pause)));
    trainer.answer(*trainer.take(), CommandState::Rejected, "not now");
    QVERIFY(place.becomes(refused.id, CommandState::Rejected));
    QVERIFY(place.becomes(AttemptState::Running));
    QCOMPARE(place.command(refused.id).outcome, std::string("not now"));
    QCOMPARE(place.events(EventKind::CommandUpdated).size(), std::size_t{3});
}

void TestDaemon::commandsAreIdempotentAndAudited() {
    Place place;
    must(place.daemon->startRun(place.request()));
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    Command save = place.order(CommandKind::Checkpoint);
    must(place.daemon->submit(save));
    must(place.daemon->submit(save));
    QVERIFY(trainer.take().has_value());
    trainer.answer(save);
    QVERIFY(place.becomes(save.id, CommandState::Applied));
    QVERIFY(must(place.daemon->submit(save)).state == CommandState::Applied);
    QTest::qWait(100);
    QVERIFY(trainer.link().takeCommands().empty());
    const Command stranger = [&] {
        Command command = place.order(CommandKind::Pause);
        command.key.run = "nobody";
        return must(place.daemon->submit(command));
    }();
    QVERIFY(stranger.state == CommandState::Rejected && stranger.outcome.find("no run named") != std::string::npos);
    const auto audit = must(place.daemon->listCommands({}));
    QCOMPARE(audit.size(), std::size_t{2});
    QCOMPARE(audit[0].id, stranger.id); // newest first
    QVERIFY(!place.daemon->getCommand("unknown"));
    QVERIFY(!place.daemon->submit(Command{}));
}

void TestDaemon::unansweredCommandsAreSentAgain() {
    Place place;
    must(place.daemon->startRun(place.request()));
    const Command save = must(place.daemon->submit(place.order(CommandKind::Checkpoint))); // nobody is connected yet
    QVERIFY(save.state == CommandState::Accepted);
    {
        FakeTrainer trainer(place);
        QVERIFY(trainer.take().has_value());
        place.close(); // before it could answer
        place.open();
        QVERIFY(place.command(save.id).state == CommandState::Accepted);
        trainer.answer(save);
        QVERIFY(place.becomes(save.id, CommandState::Applied));
    }
    const Command next = must(place.daemon->submit(place.order(CommandKind::Checkpoint)));
    FakeTrainer reconnected(place);
    const auto taken = reconnected.take();
    QVERIFY(taken && taken->id == next.id);
}

void TestDaemon::mixtureGoesIntoForce() {
    Place place;
    must(place.daemon->startRun(place.request()));
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    Command mix = place.order(CommandKind::SetMixture);
    mix.mixture = {{"Code", 0.5}, {"WebText", 0.5}};
    mix.atStep = 40;
    const Command accepted = must(place.daemon->submit(mix));
    QVERIFY2(accepted.state == CommandState::Accepted, accepted.outcome.c_str());
    QVERIFY2(accepted.diff.find("+Code = 50") != std::string::npos, accepted.diff.c_str());
    QCOMPARE(must(place.daemon->getRun("r")).domains[0].target, 0.25);
    const auto taken = trainer.take();
    QVERIFY(taken && taken->mixture == mix.mixture && taken->atStep == 40);
    trainer.answer(*taken);
    QTRY_COMPARE_WITH_TIMEOUT(must(place.daemon->getRun("r")).domains[0].target, 0.5, kPatience);
}

void TestDaemon::stopEndsTheRun() {
    Place place;
    must(place.daemon->startRun(place.request()));
    {
        FakeTrainer trainer(place);
        QVERIFY(place.becomes(AttemptState::Running));
        trainer.steps(7);
        const Command stop = must(place.daemon->submit(place.order(CommandKind::Stop)));
        const auto taken = trainer.take();
        QVERIFY(taken && taken->saveCheckpoint);
        QVERIFY(place.newest().state == AttemptState::Stopping);
        trainer.answer(*taken);
        trainer.end("stopped", "Stopped at step 7 by an operator.");
        QVERIFY(trainer.link().flush(kPatience));
        QVERIFY(place.becomes(stop.id, CommandState::Applied));
    }
    place.endJob();
    QVERIFY(place.becomes(AttemptState::Stopped));
    QCOMPARE(place.newest().stateText, std::string("Stopped at step 7 by an operator."));
    QVERIFY(place.newest().endedUs > 0);
    const Command late = must(place.daemon->submit(place.order(CommandKind::Checkpoint)));
    QVERIFY(late.state == CommandState::Rejected && late.outcome.find("not running") != std::string::npos);
    QVERIFY(place.events(EventKind::RankFailed).empty());
}

void TestDaemon::aFailedJobShowsItsLastLines() {
    Place place;
    must(place.daemon->startRun(place.request()));
    const Command waiting = must(place.daemon->submit(place.order(CommandKind::Checkpoint)));
    place.endJob(1, 3);
    QVERIFY(place.becomes(AttemptState::Failed));
    QVERIFY(QString::fromStdString(place.newest().stateText).contains("exit code 3"));
    QVERIFY(QString::fromStdString(place.newest().stateText).endsWith("last words"));
    QTRY_COMPARE(place.events(EventKind::RankFailed).size(), std::size_t{1});
    QVERIFY(place.becomes(waiting.id, CommandState::Failed));
}

void TestDaemon::restartMakesANewAttempt() {
    Place place;
    must(place.daemon->startRun(place.request()));
    Command restart = place.order(CommandKind::Restart);
    restart.restart.emplace();
    const Command none = must(place.daemon->submit(restart));
    QVERIFY(none.state == CommandState::Rejected && none.outcome.find("no checkpoint yet") != std::string::npos);
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    trainer.steps(20);
    QVERIFY(trainer.link().flush(kPatience));
    writeCheckpoint(place, 1, 10);
    writeCheckpoint(place, 1, 15);
    restart.id = newUuid();
    restart.restart->checkpointStep = 11;
    const Command absent = must(place.daemon->submit(restart));
    QVERIFY2(absent.state == CommandState::Rejected && absent.outcome.find("there are: 15 of attempt 1, 10 of attempt 1") != std::string::npos, absent.outcome.c_str());
    restart.id = newUuid();
    restart.restart->checkpointStep = 10;
    restart.restart->lrScale = 0.5;
    restart.restart->skipBatches = 3;
    const Command accepted = must(place.daemon->submit(restart));
    QVERIFY2(accepted.state == CommandState::Accepted, accepted.outcome.c_str());
    QVERIFY2(accepted.diff.find("+lr_scale = 0.5") != std::string::npos, accepted.diff.c_str());
    QCOMPARE(accepted.newAttempt, 2u);
    Command second = restart;
    second.id = newUuid();
    QVERIFY(must(place.daemon->submit(second)).outcome.find("under way") != std::string::npos);
    const auto stop = trainer.take();
    QVERIFY(stop && stop->kind == CommandKind::Stop && !stop->saveCheckpoint);
    place.endJob(1);
    QVERIFY(place.becomes(restart.id, CommandState::Applied));
    const RunInfo run = must(place.daemon->getRun("r"));
    QCOMPARE(run.attempts.size(), std::size_t{2});
    QVERIFY(run.attempts[0].state == AttemptState::Superseded);
    QCOMPARE(run.attempts[1].parent, 1u);
    QCOMPARE(run.attempts[1].forkStep, std::int64_t{10});
    QVERIFY(run.attempts[1].configToml.find("a1-step-00000010") != std::string::npos);
    QVERIFY(run.attempts[1].configToml.find("skip_batches = 3") != std::string::npos);
    QCOMPARE(place.command(restart.id).newAttempt, 2u);
    FakeTrainer next(place, 2);
    next.step = 10;
    QVERIFY(place.becomes(AttemptState::Running));
    next.steps(5);
    QVERIFY(next.link().flush(kPatience));
    QCOMPARE(place.stored(0, 15), std::uint64_t{15}); // 1 … 10 of the first, 11 … 15 of the second
}

void TestDaemon::damagedCheckpointsAreNamed() {
    Place place;
    must(place.daemon->startRun(place.request()));
    writeCheckpoint(place, 1, 10);
    writeCheckpoint(place, 1, 20, true);
    QTRY_VERIFY_WITH_TIMEOUT(must(place.daemon->listCheckpoints("r")).at(1).verified, kPatience);
    QTRY_VERIFY_WITH_TIMEOUT(!must(place.daemon->listCheckpoints("r")).at(0).damage.empty(), kPatience);
    const auto list = must(place.daemon->listCheckpoints("r"));
    QCOMPARE(list[0].step, std::int64_t{20});
    QVERIFY(QString::fromStdString(list[0].damage).contains("rank-0.bin has another checksum"));
    QCOMPARE(list[1].trainLoss, 2.5);
    QTRY_COMPARE(place.events(EventKind::CheckpointDamaged).size(), std::size_t{1});
    Command restart = place.order(CommandKind::Restart);
    restart.restart.emplace();
    restart.restart->checkpointStep = 20;
    const Command refused = must(place.daemon->submit(restart));
    QVERIFY(refused.state == CommandState::Rejected && refused.outcome.find("is damaged") != std::string::npos);
}

void TestDaemon::daemonRestartLosesNothing() {
    Place place;
    must(place.daemon->startRun(place.request()));
    const std::string epoch = place.daemon->epoch();
    FakeTrainer trainer(place);
    QVERIFY(place.becomes(AttemptState::Running));
    for (int round = 0; round < 3; ++round) {
        trainer.steps(400);
        place.close();
        trainer.steps(300);
        place.open();
        QVERIFY(place.newest().state == AttemptState::Running); // its job was found again
    }
    QVERIFY(place.daemon->epoch() != epoch);
    trainer.steps(100);
    QVERIFY(trainer.link().flush(kPatience));
    const LinkCounters counters = trainer.link().counters();
    QCOMPARE(place.stored(1, trainer.step), static_cast<std::uint64_t>(trainer.step));
    QTRY_COMPARE_WITH_TIMEOUT(place.newest().pointsStored, counters.pointsEmitted, kPatience);
    QCOMPARE(must(place.daemon->getRun("r")).domains[0].tokensSeen, trainer.step * 32 / 4);
    place.endJob();
    QVERIFY(place.becomes(AttemptState::Lost) || place.newest().state == AttemptState::Stopped); // nobody saw its exit code
}

void TestDaemon::aLeftSpoolIsRead() {
    Place place;
    must(place.daemon->startRun(place.request()));
    place.close();
    {
        FakeTrainer trainer(place, 1, true); // the daemon is away for all of it
        trainer.steps(1000);
        trainer.end("finished", "All steps are done.");
    }
    place.endJob();
    QTest::qWait(300);
    place.open();
    QVERIFY(place.becomes(AttemptState::Finished));
    QCOMPARE(place.stored(1, 1000), std::uint64_t{1000});
    QCOMPARE(place.newest().stateText, std::string("All steps are done."));
    place.close();
    place.open();
    QTest::qWait(100);
    QCOMPARE(place.stored(1, 1000), std::uint64_t{1000}); // and not twice
}

void TestDaemon::countersTellWherePointsAre() {
    Place place;
    must(place.daemon->startRun(place.request()));
    const auto counters = [&] { return must(place.daemon->status()).runs.at(0); };
    {
        FakeTrainer trainer(place);
        trainer.steps(100); // 100 of the loss, 20 of the mixture
        QVERIFY(QTest::qWaitFor([&] { return counters().stored == 120; }, kPatience));
        const RunCounters run = counters();
        QCOMPARE(run.run, std::string("r"));
        QCOMPARE(run.emitted, std::uint64_t{120});
        QCOMPARE(run.acked, std::uint64_t{120});
        QCOMPARE(run.published, std::uint64_t{120});
        QCOMPARE(run.storedSinceStart, std::uint64_t{120});
        QCOMPARE(run.lost, std::uint64_t{0});
        QVERIFY(run.newestUs > 0);
    }
    ClientCounters client{"c-1", "test", "here", "me", 90, 10, 10, 0, 1, 5, 0};
    must(place.daemon->report(client));
    must(place.daemon->report(client)); // again: the same client
    QVERIFY(!place.daemon->report({}));
    const DaemonStatus status = must(place.daemon->status());
    QCOMPARE(status.clients.size(), std::size_t{1});
    QVERIFY(status.clients[0].reportedUs > 0 && status.clients[0].repaired == 10);
    QVERIFY(status.residentBytes > 1'000'000 && status.storeBytes > 0 && status.storeTrouble.empty());
    QCOMPARE(status.daemon.pointsStored, std::uint64_t{120});
    place.close();
    place.open();
    const RunCounters after = counters();
    QVERIFY(after.stored == 120 && after.acked == 120 && after.published == 0 && after.storedSinceStart == 0);
}

void TestDaemon::newsAndWatchersHear() {
    Place place;
    must(place.daemon->startRun(place.request()));
    auto subscriber = must(makeLiveSubscriber(place.daemon->liveEndpoint()));
    QVERIFY(QTest::qWaitFor([&] { (void)subscriber->receive(10); return subscriber->connected(); }, kPatience));
    std::mutex mutex;
    std::vector<WatchUpdate> updates;
    std::atomic<bool> enough{false};
    std::thread watcher([&] {
        must(place.daemon->watch("r", [&](WatchUpdate&& update) {
            const std::lock_guard lock(mutex);
            updates.push_back(std::move(update));
            return !enough;
        }));
    });
    FakeTrainer trainer(place);
    std::uint64_t points = 0, last = 0;
    bool hasState = false, isContiguous = true;
    QVERIFY(QTest::qWaitFor([&] {
        trainer.steps(1);
        while (auto news = must(subscriber->receive(5))) {
            if (news->beat)
                continue;
            points += pointCount(news->batch);
            hasState = hasState || (news->attempt && news->attempt->state == AttemptState::Running);
            isContiguous = isContiguous && (last == 0 || news->news == last + 1);
            last = news->news;
        }
        return points >= 50;
    }, kPatience));
    QVERIFY(isContiguous);
    const Command save = must(place.daemon->submit(place.order(CommandKind::Checkpoint)));
    trainer.answer(*trainer.take());
    const auto has = [&](auto&& wanted) {
        return QTest::qWaitFor([&] {
            const std::lock_guard lock(mutex);
            return std::any_of(updates.begin(), updates.end(), wanted);
        }, kPatience);
    };
    const bool isRun = has([](const WatchUpdate& u) { return u.run && u.run->newest()->step >= 30; });
    const bool isCommand = has([&](const WatchUpdate& u) { return u.command && u.command->id == save.id && u.command->state == CommandState::Applied; });
    const bool isEvent = has([](const WatchUpdate& u) { return u.event && u.event->kind == EventKind::CommandUpdated; });
    enough = true;
    watcher.join();
    QVERIFY(isRun && isCommand && isEvent);
    QVERIFY(!place.daemon->watch("unknown", [](WatchUpdate&&) { return false; }));
}

void TestDaemon::notesAndUnknownRuns() {
    Place place;
    QVERIFY(place.daemon->getRun("r").error().text().find("no runs yet") != std::string::npos);
    must(place.daemon->startRun(place.request()));
    QVERIFY(place.daemon->getRun("x").error().text().find("there are r") != std::string::npos);
    Event note;
    note.key.run = "r";
    note.text = "the loss looks fine";
    const Event stored = must(place.daemon->addNote(note));
    QVERIFY(stored.id > 0 && stored.key.attempt == 1 && stored.kind == EventKind::Note);
    QCOMPARE(must(place.daemon->listEvents({"r", stored.id - 1, 1})).at(0).text, note.text);
    note.key.attempt = 9;
    QVERIFY(!place.daemon->addNote(note));
    QVERIFY(!place.daemon->listCheckpoints("x") && !listAllSeries(*place.daemon, {"x", 0}, "*") && !place.daemon->lineage("x"));
}

void TestDaemon::onlyOneDaemonPerFolder() {
    QTemporaryDir dir;
    auto first = daemon::StateDir::lock(dir.path().toStdString());
    QVERIFY(first);
    const auto second = daemon::StateDir::lock(dir.path().toStdString());
    QVERIFY(!second);
    QVERIFY(QString::fromStdString(second.error().text()).contains("another telehelmd (pid " + QString::number(getpid()) + ")"));
    QVERIFY(!daemon::StateDir::lock("/proc/nowhere"));
}

void TestDaemon::configKeysAreSet() {
    using daemon::setTomlKey;
    QCOMPARE(setTomlKey("a = 1\n[data]\ncorpus = \"x\" # why\n[z]\ncorpus = 2\n", "data", "corpus", "\"/y\""),
             std::string("a = 1\n[data]\ncorpus = \"/y\" # why\n[z]\ncorpus = 2\n"));
    QCOMPARE(setTomlKey("[data]\nseed = 1\n", "data", "corpus", "\"y\""), std::string("[data]\ncorpus = \"y\"\nseed = 1\n"));
    QCOMPARE(setTomlKey("a = 1\n", "parallel", "data", "3"), std::string("a = 1\n\n[parallel]\ndata = 3\n"));
}

QTEST_GUILESS_MAIN(TestDaemon)
#include "tst_daemon.moc"
