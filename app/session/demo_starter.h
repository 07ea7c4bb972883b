// SPDX-License-Identifier: GPL-3.0-or-later
// The demo: prepares its corpus with `telehelm-data demo`, then starts the run, or joins the one that already lives.
// Answers by started() or failed(). GUI thread only; nothing blocks.
#pragma once

#include <QProcess>

#include "session/session.h"

namespace telehelm::app {

class DemoStarter : public QObject {
    Q_OBJECT
public:
    explicit DemoStarter(Session& session, QObject* parent = nullptr);
    ~DemoStarter() override;
    void setConfig(const QString& path) { m_config = path; } // default: configs/demo_cpu.toml of the program
    void start(int ranks); // 0: as the config says
    [[nodiscard]] bool isBusy() const { return m_phase != Phase::Idle; }

signals:
    void progress(const QString& sentence); // what it is doing now
    void started(const QString& run);
    void failed(const QString& sentence);

private:
    enum class Phase { Idle, Corpus, Run };
    void readOutput();
    void corpusDone(int exitCode, QProcess::ExitStatus status);
    void startRun();
    [[nodiscard]] QString configPath() const;
    void end(const QString& failure);
    Session& m_session;
    QProcess m_data;
    QString m_config, m_lastLine, m_lastError;
    QByteArray m_toml; // of the run to be started
    int m_ranks = 0;
    Phase m_phase = Phase::Idle;
    JobId m_job = 0;
};

} // namespace telehelm::app
