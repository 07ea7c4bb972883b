// SPDX-License-Identifier: GPL-3.0-or-later
// The network goes away between trainer and daemon and between daemon and window: afterwards nothing is missing on either side.
// A few seconds each; a minute with TELEHELM_SOAK=1.
#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QTest>

#undef emit // Qt's macro; the trainer link has a method of this name

#include <fstream>
#include <set>
#include <thread>

#include "daemon/daemon.h"
#include "data/live_curves.h"
#include "session/session.h"
#include "tcp_proxy.h"
#include "telehelm/ipc/control_client.h"
#include "telehelm/ipc/control_server.h"
#include "telehelm/ipc/trainer_link.h"

using namespace telehelm;
using namespace telehelm::ipc;
using telehelm::testing::TcpProxy;

namespace {

constexpr int kPatience = 60'000;
constexpr const char* kSeries[] = {"train/loss", "train/grad_norm", "valid/loss"}; // the last one lags behind the steps

int portOf(const std::string& endpoint) { return std::stoi(endpoint.substr(endpoint.rfind(':') + 1)); }
std::chrono::seconds cutLength() { return std::chrono::seconds(qEnvironmentVariableIntValue("TELEHELM_SOAK") != 0 ? 60 : 3); }

void writeFile(const QString& name, const QByteArray& text) {
    QDir().mkpath(QFileInfo(name).path());
    QFile file(name);
    if (!file.open(QIODevice::WriteOnly) || file.write(text) != text.size())
        qFatal("cannot write %s", qPrintable(name));
}

/// Emits steps at a pace until told to stop. Its own thread.
class Trainer {
public:
    explicit Trainer(TrainerLinkOptions options) {
        auto made = makeTrainerLink(std::move(options));
        if (!made)
            qFatal("%s", made.error().text().c_str());
        m_link = std::move(*made);
        m_thread = std::thread([this] {
            while (!m_stopping) {
                const std::int64_t step = ++m_steps;
                for (const char* series : kSeries)
                    m_link->emit(series, {std::string(series) == "valid/loss" ? std::max<std::int64_t>(1, step - 40) : step, step * 100, nowUs(),
                                          1.0 / static_cast<double>(step)});
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
            }
        });
    }
    ~Trainer() { stop(); }
    void stop() {
        m_stopping = true;
        if (m_thread.joinable())
            m_thread.join();
    }
    [[nodiscard]] bool flush() { return m_link->flush(kPatience); }
    [[nodiscard]] std::int64_t steps() const { return m_steps; }
    [[nodiscard]] LinkCounters counters() const { return m_link->counters(); }

private:
    std::unique_ptr<TrainerLink> m_link;
    std::atomic<std::int64_t> m_steps{0};
    std::atomic<bool> m_stopping{false};
    std::thread m_thread;
};

} // namespace

class TestNetworkCut : public QObject {
    Q_OBJECT

    QTemporaryDir m_dir;
    std::unique_ptr<daemon::Daemon> m_daemon;
    std::unique_ptr<ControlServer> m_control;
    std::unique_ptr<TcpProxy> m_toTrainers, m_toControl, m_toLive;

    void startDaemon() {
        writeFile(m_dir.filePath("job.sh"), "#!/bin/sh\nwhile [ ! -e exit ]; do [ -e config.toml ] || exit 0; sleep 0.05; done\n");
        QFile::setPermissions(m_dir.filePath("job.sh"), QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
        writeFile(m_dir.filePath("corpus/manifest.json"),
                  R"({"format": "telehelm-corpus", "domains": [{"name": "Code", "languages": "code", "train": {"tokens": 1000}}]})");
        daemon::DaemonOptions options;
        options.stateDir = m_dir.filePath("state").toStdString();
        options.rankProgram = m_dir.filePath("job.sh").toStdString();
        QDir().mkpath(m_dir.filePath("state"));
        m_daemon = std::move(daemon::Daemon::open(options).value());
        m_control = std::move(serveControl(*m_daemon, "127.0.0.1:0").value());
        m_toTrainers = std::make_unique<TcpProxy>(portOf(m_daemon->linkEndpoint()));
        m_toControl = std::make_unique<TcpProxy>(m_control->port());
        m_toLive = std::make_unique<TcpProxy>(portOf(m_daemon->liveEndpoint()));
    }
    void startRun() {
        StartRequest request;
        request.configToml = "name = \"r\"\nsteps = 1000000\n[model]\nlayers = 1\nhidden_size = 16\nattention_heads = 1\nffn_hidden_size = 32\n"
                             "vocab_size = 272\ncontext_length = 16\n[optimizer]\nlearning_rate = 1.0e-3\n[batch]\nsequences = 2\n[data]\ncorpus = \"" +
                             m_dir.filePath("corpus").toStdString() + "\"\n[data.mixture]\nCode = 100.0\n";
        request.configPath = "test.toml";
        request.author = "tester";
        request.commandId = newUuid();
        const auto started = m_daemon->startRun(request);
        QVERIFY2(started.has_value(), started ? "" : started.error().text().c_str());
    }
    TrainerLinkOptions trainerOptions() const {
        TrainerLinkOptions options;
        options.endpoint = "tcp://" + m_toTrainers->address();
        options.key = {"r", 1};
        options.spoolFile = m_dir.filePath("spool").toStdString();
        return options;
    }
    app::SessionLinks windowLinks() const {
        return {[](const std::string& address) -> std::shared_ptr<ControlApi> { return makeControlClient(address, 3000); },
                [endpoint = "tcp://" + m_toLive->address()](const std::string&, std::uint32_t protocol) {
                    return makeLiveSubscriber(endpoint, {{}, {}, protocol});
                }};
    }
    void setLines(TcpProxy::Line trainer, TcpProxy::Line window) {
        m_toTrainers->set(trainer);
        m_toControl->set(window);
        m_toLive->set(window);
    }
    RunCounters counters() {
        const auto status = m_daemon->status();
        return status && !status->runs.empty() ? status->runs.front() : RunCounters{};
    }
    std::multiset<double> storedValues(const std::string& series) {
        SeriesQuery query;
        query.key = {"r", 1};
        query.names = {series};
        query.maxBuckets = 0;
        std::multiset<double> values;
        const auto done = m_daemon->querySeries(query, [&](SeriesSegment&& segment) {
            for (const Bucket& bucket : segment.buckets)
                values.insert(bucket.first);
            return true;
        });
        return done ? values : std::multiset<double>();
    }

private slots:
    void cleanup() { writeFile(m_dir.filePath("state/runs/r/attempt-1/exit"), "0"); }

    void nothingIsMissingAfterCuts() {
        startDaemon();
        startRun();
        if (QTest::currentTestFailed())
            return;
        app::Session window(windowLinks());
        app::LiveCurves curves(window, {kSeries[0], kSeries[1], kSeries[2]});
        curves.setCountsRepairs(true);
        curves.setMaxBuckets(1'000'000); // every point, so that every one can be looked for
        window.open(QString::fromStdString(m_toControl->address()));
        QTRY_COMPARE_WITH_TIMEOUT(window.liveLink().state, app::LinkState::Up, kPatience);
        QTRY_VERIFY_WITH_TIMEOUT(window.run("r") != nullptr, kPatience);
        curves.setRuns({"r"});
        Trainer trainer(trainerOptions());
        QTRY_VERIFY_WITH_TIMEOUT(window.fidelity().received > 100, kPatience);

        struct Cut {
            TcpProxy::Line trainer, window;
        };
        using enum TcpProxy::Line;
        for (const Cut cut : {Cut{Silent, Silent}, Cut{Broken, Up}, Cut{Up, Broken}}) {
            const std::int64_t before = trainer.steps();
            setLines(cut.trainer, cut.window);
            QTest::qWait(static_cast<int>(std::chrono::milliseconds(cutLength()).count()));
            QVERIFY2(trainer.steps() > before + 50, "the trainer waited for the network");
            if (cut.trainer != Up) // it was cut indeed
                QVERIFY(counters().stored + 50 < trainer.counters().pointsEmitted);
            else
                QVERIFY(window.fidelity().received + 50 < counters().published);
            setLines(Up, Up);
            const std::int64_t healed = trainer.steps();
            const auto newest = [&] {
                const Point* point = curves.latest("r", kSeries[0]);
                return point ? point->step : 0;
            };
            QTRY_VERIFY_WITH_TIMEOUT(newest() > healed, kPatience);
        }
        trainer.stop();
        QVERIFY(trainer.flush());
        const auto steps = static_cast<std::size_t>(trainer.steps());

        // The store has each point once.
        std::multiset<double> wanted;
        for (std::size_t step = 1; step <= steps; ++step)
            wanted.insert(1.0 / static_cast<double>(step));
        for (const char* series : kSeries)
            QVERIFY2(storedValues(series) == wanted, series);
        QTRY_COMPARE_WITH_TIMEOUT(counters().emitted, std::uint64_t(steps * std::size(kSeries)), kPatience);
        const RunCounters counted = counters();
        QCOMPARE(counted.stored, counted.emitted);
        QCOMPARE(counted.acked, counted.emitted);
        QCOMPARE(counted.published, counted.emitted);

        // The window has each point once, and knows that it has.
        for (const char* series : {kSeries[0], kSeries[1]})
            QVERIFY2(QTest::qWaitFor([&] {
                         const auto drawn = curves.curves("r", series);
                         return !drawn.empty() && drawn[0].x.size() == steps && drawn[0].x.back() == static_cast<double>(steps);
                     }, kPatience),
                     series);
        QTRY_VERIFY_WITH_TIMEOUT(std::all_of(curves.gaps("r").begin(), curves.gaps("r").end(), [](const auto& gap) { return gap.closed; }), kPatience);
        QCOMPARE(window.fidelity().lost, quint64{0});
        QVERIFY(window.fidelity().repaired > 0 && window.fidelity().repaired >= window.fidelity().missed);
        QCOMPARE(window.fidelity().received + window.fidelity().repaired, quint64(steps * std::size(kSeries)));
        qInfo("%zu steps, window: %llu received, %llu missed, %llu repaired, %llu lost; trainer: %llu batches sent again", steps,
              window.fidelity().received, window.fidelity().missed, window.fidelity().repaired, window.fidelity().lost,
              static_cast<unsigned long long>(trainer.counters().batchesResent));

        // And the daemon knows what the window knows.
        QVERIFY(QTest::qWaitFor([&] {
            const auto status = m_daemon->status();
            return status && std::any_of(status->clients.begin(), status->clients.end(), [&](const ClientCounters& client) {
                       return client.received == window.fidelity().received && client.repaired == window.fidelity().repaired && client.lost == 0;
                   });
        }, kPatience));
    }
};

QTEST_GUILESS_MAIN(TestNetworkCut)
#include "tst_network_cut.moc"
