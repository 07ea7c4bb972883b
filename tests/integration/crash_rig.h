// SPDX-License-Identifier: Apache-2.0
// A real telehelmd whose only run is fed by crash_feeder.h, and what is needed to end it roughly and to look at what it kept.
#pragma once

#include <QProcess>
#include <QString>
#include <QStringList>
#include <QTemporaryDir>

#include <memory>

#include "crash_feeder.h"
#include "telehelm/ipc/control_client.h"

namespace telehelm::tests {

inline constexpr int kCrashPatience = 30'000;
inline const ipc::AttemptKey kFedAttempt{"fed", 1};

class CrashRig {
public:
    CrashRig();
    ~CrashRig(); // ends daemon and feeder

    [[nodiscard]] QString path(const QString& name) const { return m_dir.filePath(name); }
    [[nodiscard]] QString state() const { return path("state"); }
    [[nodiscard]] QString store() const { return state() + "/telehelm.db"; }

    /// Starts the daemon without waiting for anything.
    void launch();
    /// Waits until it serves; false when it has ended or does not.
    [[nodiscard]] bool serves();
    [[nodiscard]] bool start() { launch(); return serves(); }
    /// Starts it with --read-only and waits until it serves.
    [[nodiscard]] bool showReadOnly();
    void kill();            // SIGKILL
    [[nodiscard]] bool terminate(); // SIGTERM; false when it does not end by itself with 0
    /// Its exit code when it ends by itself within the patience; −1 when it does not.
    [[nodiscard]] int exitCode();
    /// telehelmd check: its exit code; what it says goes to `said`.
    [[nodiscard]] int check(QString* said = nullptr) const;
    /// What the daemon has said since the last call of forgetLog().
    [[nodiscard]] QStringList log() const;
    void forgetLog();

    void startRun();
    [[nodiscard]] ipc::ControlApi& client() { return *m_client; }
    [[nodiscard]] FeedReport& feed() { return *m_feed; }
    /// Waits until `points` more are acked than now.
    [[nodiscard]] bool acksMore(std::uint64_t points);
    /// Lets the feeder end and waits until its run has finished.
    [[nodiscard]] bool finish();

    /// "" when every emitted point of the run is stored exactly once, in order, bit by bit, and the summaries agree; else what is wrong.
    [[nodiscard]] QString compareWithEmitted();
    /// The same for one series, of which at least `points` must be there; `count` says how many are.
    [[nodiscard]] QString compareSeries(int series, std::uint64_t points, std::uint64_t* count = nullptr);
    /// The answer of a query for one series: points in all, or the error.
    [[nodiscard]] Result<std::vector<ipc::SeriesSegment>> query(int series, std::uint32_t maxBuckets);

private:
    QTemporaryDir m_dir;
    QProcess m_daemon;
    QString m_logFile;
    std::unique_ptr<ipc::ControlApi> m_client;
    FeedReport* m_feed = nullptr;
};

} // namespace telehelm::tests
