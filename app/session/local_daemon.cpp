// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/local_daemon.h"

#include <cerrno>
#include <csignal>

#include <QDir>
#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <QProcess>

#include "session/state_paths.h"

namespace telehelm::app {
namespace {

constexpr int kPollMs = 100;
constexpr int kGiveUpMs = 20'000;

bool processLives(qint64 pid) { return pid > 0 && (::kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM); }

} // namespace

LocalDaemon::LocalDaemon(QString stateDir, QObject* parent) : QObject(parent), m_stateDir(std::move(stateDir)) {
    m_timer.setInterval(kPollMs);
    connect(&m_timer, &QTimer::timeout, this, &LocalDaemon::poll);
}

LocalDaemon::Entry LocalDaemon::readEntry(const QString& stateDir) {
    QFile file(stateDir + QStringLiteral("/daemon.json"));
    if (!file.open(QIODevice::ReadOnly))
        return {};
    const auto json = QJsonDocument::fromJson(file.readAll()).object();
    const auto pid = json.value(QStringLiteral("pid")).toInteger();
    if (!processLives(pid))
        return {}; // left behind by one that was killed
    return {pid, json.value(QStringLiteral("control")).toString(), json.value(QStringLiteral("live")).toString()};
}

void LocalDaemon::find() {
    if (const auto entry = readEntry(m_stateDir); !entry.control.isEmpty()) {
        emit ready(entry.control);
        return;
    }
    QString why;
    if (!start(&why)) {
        emit failed(why);
        return;
    }
    m_since.start();
    m_timer.start();
}

bool LocalDaemon::start(QString* why) {
    const auto program = findProgram(QStringLiteral("telehelmd"));
    if (program.isEmpty()) {
        *why = tr("The program telehelmd lies neither beside this program nor in PATH. Build it, or name a running one with --server HOST:PORT.");
        return false;
    }
    if (!QDir().mkpath(m_stateDir)) {
        *why = tr("The state folder %1 cannot be made. Choose another one with --state-dir.").arg(m_stateDir);
        return false;
    }
    QProcess process;
    process.setProgram(program);
    process.setArguments({QStringLiteral("--state-dir"), m_stateDir});
    process.setStandardInputFile(QProcess::nullDevice());
    process.setStandardOutputFile(logFile(), QIODevice::Append);
    process.setStandardErrorFile(logFile(), QIODevice::Append);
    if (!process.startDetached(&m_pid)) {
        *why = tr("%1 cannot be started: %2.").arg(program, process.errorString());
        return false;
    }
    m_started = true;
    return true;
}

QString LocalDaemon::lastLogLines() const {
    QFile file(logFile());
    if (!file.open(QIODevice::ReadOnly))
        return {};
    file.seek(qMax<qint64>(0, file.size() - 2000));
    const auto lines = QString::fromUtf8(file.readAll()).trimmed().split(QLatin1Char('\n'));
    return lines.mid(qMax<qsizetype>(0, lines.size() - 3)).join(QLatin1Char('\n'));
}

void LocalDaemon::poll() {
    if (const auto entry = readEntry(m_stateDir); !entry.control.isEmpty()) {
        m_timer.stop();
        emit ready(entry.control);
    } else if (!processLives(m_pid)) {
        m_timer.stop();
        emit failed(tr("telehelmd ended at once. The end of %1:\n%2").arg(logFile(), lastLogLines()));
    } else if (m_since.elapsed() > kGiveUpMs) {
        m_timer.stop();
        emit failed(tr("telehelmd (process %1) did not open its ports within 20 s. The end of %2:\n%3").arg(m_pid).arg(logFile(), lastLogLines()));
    }
}

} // namespace telehelm::app
