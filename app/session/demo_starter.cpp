// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/demo_starter.h"

#include <QFile>
#include <QRegularExpression>

#include "session/state_paths.h"

namespace telehelm::app {
namespace {

/// The run that a config names; the daemon reads the rest.
QString runNameOf(const QByteArray& toml) {
    static const QRegularExpression name(QStringLiteral(R"re(^\s*name\s*=\s*"([^"]+)")re"), QRegularExpression::MultilineOption);
    return name.match(QString::fromUtf8(toml)).captured(1);
}

QString lastFilledLine(const QByteArray& text) {
    const auto lines = QString::fromUtf8(text).split(QLatin1Char('\n'), Qt::SkipEmptyParts);
    for (auto it = lines.rbegin(); it != lines.rend(); ++it) {
        const auto line = it->section(QLatin1Char('\r'), -1).trimmed();
        if (!line.isEmpty())
            return line;
    }
    return {};
}

} // namespace

DemoStarter::DemoStarter(Session& session, QObject* parent) : QObject(parent), m_session(session) {
    connect(&m_data, &QProcess::readyReadStandardOutput, this, &DemoStarter::readOutput);
    connect(&m_data, &QProcess::readyReadStandardError, this, &DemoStarter::readOutput);
    connect(&m_data, &QProcess::finished, this, &DemoStarter::corpusDone);
    connect(&m_data, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
        if (error == QProcess::FailedToStart)
            end(tr("telehelm-data cannot be started: %1.").arg(m_data.errorString()));
    });
    connect(&session, &Session::runStarted, this, [this](JobId job, const ipc::RunInfo& run) {
        if (job != m_job || m_phase != Phase::Run)
            return;
        m_phase = Phase::Idle;
        emit started(QString::fromStdString(run.run));
    });
    connect(&session, &Session::jobFailed, this, [this](JobId job, const Error& error) {
        if (job == m_job && m_phase == Phase::Run)
            end(tr("The demo run was not started. %1").arg(QString::fromStdString(error.text())));
    });
}

DemoStarter::~DemoStarter() {
    m_data.disconnect(this);
    if (m_data.state() != QProcess::NotRunning) {
        m_data.terminate(); // preparing can go on another time: what is complete is kept
        m_data.waitForFinished(2000);
    }
}

void DemoStarter::start(int ranks) {
    if (isBusy())
        return;
    const auto path = configPath();
    QFile file(path);
    if (path.isEmpty() || !file.open(QIODevice::ReadOnly)) {
        end(path.isEmpty() ? tr("configs/demo_cpu.toml was not found beside the program.") : tr("%1 cannot be read: %2.").arg(path, file.errorString()));
        return;
    }
    m_toml = file.readAll();
    const auto name = runNameOf(m_toml);
    if (const auto* run = m_session.run(name); run != nullptr && run->newest() != nullptr && ipc::isLive(run->newest()->state)) {
        emit started(name);
        return;
    }
    m_ranks = ranks;
    const auto program = findProgram(QStringLiteral("telehelm-data"));
    if (program.isEmpty()) {
        end(tr("The program telehelm-data lies neither beside this program nor in PATH."));
        return;
    }
    m_phase = Phase::Corpus;
    m_lastLine.clear();
    m_lastError.clear();
    emit progress(tr("Preparing the corpus…"));
    m_data.start(program, {QStringLiteral("demo")});
}

void DemoStarter::readOutput() {
    if (const auto line = lastFilledLine(m_data.readAllStandardError()); !line.isEmpty())
        m_lastError = m_lastLine = line;
    if (const auto line = lastFilledLine(m_data.readAllStandardOutput()); !line.isEmpty())
        m_lastLine = line;
    if (!m_lastLine.isEmpty())
        emit progress(m_lastLine);
}

void DemoStarter::corpusDone(int exitCode, QProcess::ExitStatus status) {
    if (status != QProcess::NormalExit || exitCode != 0) {
        const auto why = m_lastError.isEmpty() ? m_lastLine : m_lastError;
        end(tr("The corpus could not be prepared. %1").arg(why.isEmpty() ? tr("telehelm-data ended with status %1.").arg(exitCode) : why));
        return;
    }
    startRun();
}

QString DemoStarter::configPath() const {
    return m_config.isEmpty() ? findSharedFile(QStringLiteral("configs/demo_cpu.toml")) : m_config;
}

void DemoStarter::startRun() {
    m_phase = Phase::Run;
    emit progress(tr("Starting the run…"));
    ipc::StartRequest request;
    request.configToml = m_toml.toStdString();
    request.configPath = configPath().toStdString();
    request.reason = "demo run started from the window";
    request.ranks = m_ranks;
    m_job = m_session.startRun(std::move(request));
}

void DemoStarter::end(const QString& failure) {
    m_phase = Phase::Idle;
    emit failed(failure);
}

} // namespace telehelm::app
