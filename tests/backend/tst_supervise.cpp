// SPDX-License-Identifier: Apache-2.0
// Jobs as shell scripts: started, watched, adopted, never mistaken for a stranger, killed with all their children.
#include <QElapsedTimer>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include "supervise/attempt_machine.h"
#include "supervise/heartbeat_watch.h"
#include "supervise/rank_death.h"
#include "supervise/supervisor.h"

using namespace telehelm;
using namespace telehelm::supervise;
using ipc::AttemptKey;
using ipc::AttemptState;

namespace {

std::filesystem::path script(const QTemporaryDir& dir, const QByteArray& body) {
    QFile file(dir.filePath("job.sh"));
    if (!file.open(QIODevice::WriteOnly))
        qFatal("no script");
    file.write("#!/bin/sh\n" + body);
    file.setPermissions(QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    return file.fileName().toStdString();
}

JobSpec specIn(const QTemporaryDir& dir) {
    JobSpec spec;
    spec.key = {"r", 1};
    spec.attemptDir = dir.path().toStdString();
    spec.checkpointDir = spec.attemptDir / "checkpoints";
    spec.linkFile = spec.attemptDir / "link-endpoint";
    return spec;
}

struct Exits {
    std::mutex mutex;
    std::vector<JobExit> all;
    std::function<void(JobExit)> sink() {
        return [this](JobExit ended) {
            const std::lock_guard lock(mutex);
            all.push_back(std::move(ended));
        };
    }
    std::size_t count() {
        const std::lock_guard lock(mutex);
        return all.size();
    }
};

bool appears(const QString& file) {
    return QTest::qWaitFor([&] { return QFile::exists(file); }, 20'000);
}

QByteArray contents(const QString& file) {
    QFile in(file);
    return in.open(QIODevice::ReadOnly) ? in.readAll() : QByteArray();
}

} // namespace

class TestSupervise : public QObject {
    Q_OBJECT

private slots:
    void exitCodeAndLastLines();
    void runsInItsOwnSession();
    void killTakesTheChildren();
    void terminateLetsItSave();
    void adoptsAfterARestart();
    void aRecycledPidIsAStranger();
    void missingTrainerIsNamed();
    void missingMpirunNamesThePackage();
    void severalRanksGoThroughMpirun();
    void heartbeats();
    void stateMachine();
    void aPageTellsWhereEachRankIs();
    void whoWaitsForNobodyHangs();
    void whoIsStoppedHangs();
    void aRunningJobIsLookedAt();
};

void TestSupervise::exitCodeAndLastLines() {
    QTemporaryDir dir;
    Exits exits;
    Supervisor supervisor(script(dir, "i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; echo \"bad key\" >&2; exit 3\n"), exits.sink());
    QVERIFY(supervisor.launch(specIn(dir)));
    QVERIFY(supervisor.waitUntilGone({"r", 1}, 20'000));
    QTRY_COMPARE(exits.count(), std::size_t{1});
    QCOMPARE(exits.all[0].exitCode, std::optional<int>(3));
    QCOMPARE(exits.all[0].text(), std::string("exit code 3"));
    const QString lines = QString::fromStdString(exits.all[0].lastLogLines);
    QCOMPARE(lines.count('\n'), 11);
    QVERIFY(lines.endsWith("line 29\nbad key"));
}

void TestSupervise::runsInItsOwnSession() {
    QTemporaryDir dir;
    Exits exits;
    Supervisor supervisor(script(dir, "ps -o sid= -p $$ >sid.tmp; echo \"$@\" >args; cat >stdin; mv sid.tmp sid; exec sleep 100\n"), exits.sink());
    const auto process = supervisor.launch(specIn(dir));
    QVERIFY(process);
    QVERIFY(appears(dir.filePath("sid"))); // cat has ended: stdin is empty
    QVERIFY(getsid(process->pid) == process->pid && getsid(0) != process->pid);
    const QByteArray arguments = contents(dir.filePath("args"));
    QVERIFY(arguments.startsWith("--config " + dir.path().toUtf8() + "/config.toml --run r --attempt 1 --run-dir "));
    supervisor.kill({"r", 1});
    QVERIFY(supervisor.waitUntilGone({"r", 1}, 20'000));
    QTRY_COMPARE(exits.count(), std::size_t{1});
    QCOMPARE(exits.all[0].signal, std::optional<int>(SIGKILL));
}

void TestSupervise::killTakesTheChildren() {
    QTemporaryDir dir;
    Exits exits;
    // One child leaves the process group, as the ranks under mpirun do; it stays in the session.
    Supervisor supervisor(script(dir, "set -m; sleep 1000 & echo $! >child.tmp; mv child.tmp child; wait\n"), exits.sink());
    QVERIFY(supervisor.launch(specIn(dir)));
    QVERIFY(appears(dir.filePath("child")));
    const auto child = identify(contents(dir.filePath("child")).trimmed().toInt());
    QVERIFY(child && isAlive(*child));
    supervisor.kill({"r", 1});
    QVERIFY(supervisor.waitUntilGone({"r", 1}, 20'000));
    QTRY_VERIFY_WITH_TIMEOUT(!isAlive(*child), 20'000);
}

void TestSupervise::terminateLetsItSave() {
    QTemporaryDir dir;
    Exits exits;
    Supervisor supervisor(script(dir, "trap 'echo saved >saved; exit 0' TERM\n: >ready\nwhile :; do sleep 0.05; done\n"), exits.sink());
    QVERIFY(supervisor.launch(specIn(dir)));
    QVERIFY(appears(dir.filePath("ready")));
    supervisor.terminate({"r", 1});
    QVERIFY(supervisor.waitUntilGone({"r", 1}, 20'000));
    QTRY_COMPARE(exits.count(), std::size_t{1});
    QCOMPARE(exits.all[0].exitCode, std::optional<int>(0));
    QCOMPARE(contents(dir.filePath("saved")), QByteArray("saved\n"));
}

void TestSupervise::adoptsAfterARestart() {
    QTemporaryDir dir;
    Exits exits;
    const auto job = script(dir, ": >ready\nwhile [ ! -e stop ]; do [ -e ready ] || exit 0; sleep 0.05; done\n");
    pid_t pid = 0;
    {
        Supervisor first(job, exits.sink());
        const auto process = first.launch(specIn(dir));
        QVERIFY(process);
        pid = process->pid;
        QVERIFY(appears(dir.filePath("ready")));
    }
    QVERIFY(isAlive(*identify(pid))); // it outlives its supervisor
    Supervisor second(job, exits.sink());
    QVERIFY(second.adopt({"r", 1}, dir.path().toStdString()));
    QVERIFY(second.isRunning({"r", 1}));
    QVERIFY(QFile(dir.filePath("stop")).open(QIODevice::WriteOnly));
    QVERIFY(second.waitUntilGone({"r", 1}, 20'000)); // our zombie: an adopted job counts as gone
    QTRY_COMPARE(exits.count(), std::size_t{1});
    QVERIFY(!exits.all[0].exitCode && !exits.all[0].signal);
    waitpid(pid, nullptr, 0);
}

void TestSupervise::aRecycledPidIsAStranger() {
    QTemporaryDir dir;
    auto self = identify(getpid());
    QVERIFY(self && isAlive(*self));
    self->startTicks -= 1; // the same pid, an earlier process
    QVERIFY(writePidFile(dir.filePath("pid").toStdString(), *self));
    Exits exits;
    Supervisor supervisor({}, exits.sink());
    QVERIFY(!supervisor.adopt({"r", 1}, dir.path().toStdString()));
    QVERIFY(!supervisor.adopt({"r", 2}, "/nowhere"));
    auto otherBoot = identify(getpid());
    otherBoot->bootId = "another";
    QVERIFY(!isAlive(*otherBoot));
}

void TestSupervise::missingTrainerIsNamed() {
    QTemporaryDir dir;
    Exits exits;
    Supervisor supervisor(dir.filePath("absent").toStdString(), exits.sink());
    const auto launched = supervisor.launch(specIn(dir));
    QVERIFY(!launched);
    QVERIFY(QString::fromStdString(launched.error().text()).contains("absent: cannot be started: No such file"));
}

void TestSupervise::missingMpirunNamesThePackage() {
    QTemporaryDir dir;
    JobSpec spec = specIn(dir);
    spec.ranks = 2;
    const QByteArray path = qgetenv("PATH");
    qputenv("PATH", dir.path().toUtf8());
    const auto command = jobCommand(spec, "/bin/true");
    qputenv("PATH", path);
    QVERIFY(!command);
    QVERIFY(QString::fromStdString(command.error().text()).contains("openmpi-bin"));
}

void TestSupervise::severalRanksGoThroughMpirun() {
    QTemporaryDir dir;
    QFile fake(dir.filePath("mpirun"));
    QVERIFY(fake.open(QIODevice::WriteOnly));
    fake.setPermissions(QFile::ReadOwner | QFile::ExeOwner);
    fake.close();
    JobSpec spec = specIn(dir);
    spec.ranks = 3;
    const QByteArray path = qgetenv("PATH");
    qputenv("PATH", dir.path().toUtf8());
    const auto command = jobCommand(spec, "/opt/rank");
    qputenv("PATH", path);
    QVERIFY(command);
    QCOMPARE(command->at(0), dir.filePath("mpirun").toStdString());
    QCOMPARE(command->at(2), std::string("3"));
    QVERIFY(std::find(command->begin(), command->end(), "/opt/rank") != command->end());
}

void TestSupervise::heartbeats() {
    using namespace std::chrono_literals;
    HeartbeatWatch watch;
    const HeartbeatWatch::Time start{};
    watch.expect({"r", 1}, start);
    QVERIFY(watch.check(start + 9s).empty());
    QCOMPARE(watch.check(start + 10s).size(), std::size_t{1});
    QVERIFY(watch.check(start + 30s).empty()); // told once
    const auto hung = watch.check(start + 61s);
    QVERIFY(hung.size() == 1 && hung[0].verdict == HeartbeatWatch::Verdict::Hung && hung[0].silent == 61s);
    watch.heard({"r", 1}, start + 70s);
    const auto back = watch.check(start + 71s);
    QVERIFY(back.size() == 1 && back[0].verdict == HeartbeatWatch::Verdict::Back && back[0].silent == 70s);
    QCOMPARE(watch.check(start + 81s).size(), std::size_t{1});
    watch.forget({"r", 1});
    watch.heard({"r", 1}, start + 90s);
    QVERIFY(watch.check(start + 900s).empty());
}

void TestSupervise::stateMachine() {
    using S = AttemptState;
    using H = Happening;
    QVERIFY(next(S::Starting, H::TrainerSaidHello) == S::Running);
    QVERIFY(next(S::Paused, H::TrainerSaidHello) == S::Paused);
    QVERIFY(next(S::Running, H::PauseAccepted) == S::Pausing);
    QVERIFY(next(S::Pausing, H::Held) == S::Paused);
    QVERIFY(next(S::Paused, H::ResumeAccepted) == S::Paused);
    QVERIFY(next(S::Paused, H::Resumed) == S::Running);
    QVERIFY(next(S::Pausing, H::StopAccepted) == S::Stopping);
    QVERIFY(next(S::Stopping, H::Held) == S::Stopping);
    QVERIFY(next(S::Pausing, H::CommandRefused) == S::Running);
    for (const S ended : {S::Finished, S::Stopped, S::Failed, S::Lost, S::Superseded})
        for (const H happening : {H::TrainerSaidHello, H::PauseAccepted, H::Held, H::EndedFailed, H::Vanished, H::Replaced})
            QVERIFY(next(ended, happening) == ended);
}

void TestSupervise::aPageTellsWhereEachRankIs() {
    using ipc::RankPhase;
    QTemporaryDir dir;
    const std::filesystem::path file = dir.filePath("ranks").toStdString();
    QVERIFY(ipc::readRankPlaces(file).empty());
    auto second = ipc::RankPage::open(file, 1);
    QVERIFY(second);
    second->at(25, RankPhase::Backward);
    second->talks(true);
    auto first = ipc::RankPage::open(file, 0); // a shorter file it is not made into
    QVERIFY(first);
    using Places = std::vector<ipc::RankPlace>;
    QVERIFY(ipc::readRankPlaces(file) == (Places{{0, RankPhase::Starting, false}, {25, RankPhase::Backward, true}}));
    first->at(1'000'000'000'000, RankPhase::Between);
    second->talks(false);
    QVERIFY(ipc::readRankPlaces(file) == (Places{{1'000'000'000'000, RankPhase::Between, false}, {25, RankPhase::Backward, false}}));
    QVERIFY(ipc::RankPage::open(file, 1)); // a job that is started again in the same folder
    QVERIFY(ipc::readRankPlaces(file)[1] == ipc::RankPlace{});
    const auto refused = ipc::RankPage::open(dir.filePath("none/ranks").toStdString(), 0);
    QVERIFY(!refused && refused.error().text().find("none/ranks") != std::string::npos);
}

void TestSupervise::whoWaitsForNobodyHangs() {
    using ipc::RankPhase;
    using Ranks = std::vector<int>;
    const RankLook waits{ipc::RankPlace{25, RankPhase::Forward, true}, 4710, 'R'};
    const RankLook works{ipc::RankPlace{25, RankPhase::Backward, false}, 4711, 'S'};
    const RankLook before{ipc::RankPlace{25, RankPhase::Forward, false}, 4712, 'R'};
    const RankLook after{ipc::RankPlace{24, RankPhase::Between, false}, 4713, 'R'};
    QCOMPARE(laggards({{0, waits}, {1, works}, {2, waits}}), Ranks{1});
    QCOMPARE(laggards({{0, works}, {1, before}, {2, waits}}), Ranks{1});
    QCOMPARE(laggards({{0, before}, {1, waits}, {2, after}}), Ranks{2});
    QCOMPARE(laggards({{0, before}, {1, waits}, {2, before}}), (Ranks{0, 2}));
    QCOMPARE(laggards({{0, waits}, {1, waits}}), Ranks{});
    QCOMPARE(laggards({{0, RankLook{}}, {1, RankLook{}}}), Ranks{}); // no page
    QCOMPARE(waits.text(), std::string("pid 4710, running: step 25, forward, waiting for other ranks"));
    QCOMPARE(after.text(), std::string("pid 4713, running: after step 24"));
}

/// In the midst of a call, even: who polls there waits for it.
void TestSupervise::whoIsStoppedHangs() {
    using ipc::RankPhase;
    const RankLook waits{ipc::RankPlace{25, RankPhase::Forward, true}, 4710, 'R'};
    RankLook stopped = waits;
    stopped.state = 'T';
    QCOMPARE(laggards({{0, waits}, {1, stopped}}), std::vector<int>{1});
}

void TestSupervise::aRunningJobIsLookedAt() {
    QTemporaryDir dir;
    Exits exits;
    Supervisor supervisor(script(dir, ": >ready\nexec sleep 100\n"), exits.sink());
    const auto process = supervisor.launch(specIn(dir));
    QVERIFY(process && appears(dir.filePath("ready")));
    auto page = ipc::RankPage::open(dir.filePath(ipc::kRankPageFile).toStdString(), 0);
    QVERIFY(page);
    page->at(7, ipc::RankPhase::Data);
    ::kill(process->pid, SIGSTOP);
    const auto look = [&] { return lookAtRanks(*process, dir.path().toStdString()); };
    QTRY_COMPARE_WITH_TIMEOUT(look().at(0).text(), "pid " + std::to_string(process->pid) + ", stopped: step 7, data", 20'000);
    QCOMPARE(look().size(), std::size_t{1});
    supervisor.kill({"r", 1});
    QVERIFY(supervisor.waitUntilGone({"r", 1}, 20'000));
}

QTEST_GUILESS_MAIN(TestSupervise)
#include "tst_supervise.moc"
