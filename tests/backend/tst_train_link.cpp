// SPDX-License-Identifier: Apache-2.0
// telehelm-rank on two ranks, steered over the real trainer link; the link's server goes away once and comes back elsewhere.
#include <QtTest>

#include <fstream>
#include <mutex>
#include <set>

#include <QProcess>
#include <QStandardPaths>

#include "trainer_rig.h"

using namespace telehelm;
using namespace telehelm::tests;
namespace fs = std::filesystem;

namespace {

/// Stores as a daemon does: each batch once.
class Store final : public ipc::TrainerHandler {
public:
    Result<std::uint64_t> onHello(const ipc::TrainerHello& hello) override {
        const std::lock_guard lock(m_mutex);
        ranks = hello.ranks;
        return m_last;
    }
    Result<std::uint64_t> onBatch(ipc::TelemetryBatch&& batch) override {
        const std::lock_guard lock(m_mutex);
        if (batch.sequence > m_last) {
            gaps += batch.sequence != m_last + 1 ? 1 : 0;
            m_last = batch.sequence;
            for (const ipc::SeriesBlock& block : batch.series) {
                auto& points = m_points[block.name];
                points.insert(points.end(), block.points.begin(), block.points.end());
            }
            m_events.insert(m_events.end(), batch.events.begin(), batch.events.end());
            m_outcomes.insert(m_outcomes.end(), batch.outcomes.begin(), batch.outcomes.end());
        }
        return batch.sequence;
    }
    void onHeartbeat(const ipc::TrainerHeartbeat& beat) override {
        const std::lock_guard lock(m_mutex);
        m_phase = beat.phase;
    }
    void onGone(const ipc::AttemptKey&, bool) override {}

    std::int64_t lastStep() {
        const std::lock_guard lock(m_mutex);
        const auto& points = m_points["train/loss"];
        return points.empty() ? 0 : points.back().step;
    }
    std::vector<ipc::Point> points(const std::string& series) {
        const std::lock_guard lock(m_mutex);
        return m_points[series];
    }
    std::string outcome(const std::string& id) {
        const std::lock_guard lock(m_mutex);
        for (const ipc::CommandOutcome& outcome : m_outcomes) {
            if (outcome.id == id) {
                return std::string(ipc::name(outcome.state)) + ": " + outcome.text;
            }
        }
        return {};
    }
    std::string phase() {
        const std::lock_guard lock(m_mutex);
        return m_phase;
    }
    std::vector<ipc::Event> events() {
        const std::lock_guard lock(m_mutex);
        return m_events;
    }
    int ranks = 0, gaps = 0;

private:
    std::mutex m_mutex;
    std::uint64_t m_last = 0;
    std::map<std::string, std::vector<ipc::Point>> m_points;
    std::vector<ipc::Event> m_events;
    std::vector<ipc::CommandOutcome> m_outcomes;
    std::string m_phase;
};

} // namespace

class TrainLinkTest : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    fs::path folder(const char* name) const { return m_dir.path().toStdString() + "/" + name; }
    std::unique_ptr<ipc::TrainerLinkServer> serve(Store& store) const {
        auto server = ipc::serveTrainers(store, "tcp://127.0.0.1:*");
        if (!server) {
            return nullptr;
        }
        std::ofstream(folder("link-endpoint")) << (*server)->endpoint();
        return std::move(*server);
    }

private slots:
    void steered() {
        if (QStandardPaths::findExecutable("mpirun").isEmpty()) {
            QSKIP("mpirun (Debian package openmpi-bin) is missing");
        }
        makeTinyCorpus(folder("corpus"));
        std::string text = tinyConfig(folder("corpus"));
        text.replace(text.find("[parallel]\ndata = 1"), 19, "[parallel]\ndata = 2");
        text.replace(text.find("steps = 20"), 10, "steps = 1000000");
        text.replace(text.find("every_steps = 5"), 15, "every_steps = 0");
        std::ofstream(folder("link.toml")) << text;

        Store store;
        auto server = serve(store);
        QVERIFY(server);
        const ipc::AttemptKey key{"tiny", 1};
        QProcess job;
        job.setProcessChannelMode(QProcess::MergedChannels);
        const auto path = [&](const char* name) { return QString::fromStdString(folder(name)); };
        job.start("mpirun",
                  {"-np", "2", "--oversubscribe", "--bind-to", "none", qEnvironmentVariable("TELEHELM_BIN") + "/telehelm-rank",
                   "--config", path("link.toml"), "--threads", "1", "--run-dir", path("run/attempt-1"), "--link-file",
                   path("link-endpoint"), "--log-level", "warn"});
        QTRY_VERIFY2_WITH_TIMEOUT(store.lastStep() >= 5, job.readAll().constData(), 20'000);
        QCOMPARE(store.ranks, 2);

        QVERIFY(server->send(key, command("pause", ipc::CommandKind::Pause)));
        QTRY_VERIFY_WITH_TIMEOUT(store.outcome("pause").starts_with("applied: Held before step "), 30'000);
        QTRY_COMPARE_WITH_TIMEOUT(store.phase(), std::string("paused"), 30'000);
        const std::int64_t held = store.lastStep();

        // The server goes and comes back on another port while the run is held; nothing is lost or doubled.
        server.reset();
        server = serve(store);
        QVERIFY(server);
        QTRY_VERIFY_WITH_TIMEOUT(server->connected(key), 30'000);
        QCOMPARE(store.lastStep(), held);

        ipc::Command mixture = command("mix", ipc::CommandKind::SetMixture);
        mixture.mixture = {{"Book", 1.0}};
        QVERIFY(server->send(key, mixture));
        QVERIFY(server->send(key, command("save", ipc::CommandKind::Checkpoint)));
        QTRY_VERIFY_WITH_TIMEOUT(store.outcome("save").starts_with("applied: Saved as a1-step-"), 30'000);
        QVERIFY(server->send(key, command("go", ipc::CommandKind::Resume)));
        QTRY_VERIFY_WITH_TIMEOUT(store.outcome("go").starts_with("applied: Resumes with step "), 30'000);
        QTRY_VERIFY_WITH_TIMEOUT(store.lastStep() >= held + 20, 60'000);
        QCOMPARE(store.outcome("mix"), "applied: In force from step " + std::to_string(held + 1) + " on.");

        QVERIFY(server->send(key, command("stop", ipc::CommandKind::Stop)));
        QVERIFY2(job.waitForFinished(60'000), job.readAll().constData());
        QVERIFY2(job.exitCode() == 0, job.readAll().constData());
        QVERIFY(store.outcome("stop").starts_with("applied: Stopped by command after step "));
        QCOMPARE(store.gaps, 0);
        std::int64_t step = 0;
        for (const ipc::Point& point : store.points("train/loss")) {
            QCOMPARE(point.step, ++step); // every step once, in order
        }
        const auto events = store.events();
        QCOMPARE(events.front().kind, ipc::EventKind::AttemptStarted);
        QCOMPARE(events.back().kind, ipc::EventKind::AttemptEnded);
        QCOMPARE(events.back().facts.at("reason"), std::string("stopped"));
    }
};

QTEST_GUILESS_MAIN(TrainLinkTest)
#include "tst_train_link.moc"
