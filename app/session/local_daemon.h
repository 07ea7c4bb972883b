// SPDX-License-Identifier: GPL-3.0-or-later
// Finds the telehelmd of this computer by <state>/daemon.json and shares it, or starts one, detached, that outlives the window.
// Answers by exactly one of its signals. GUI thread only; nothing blocks.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>

namespace telehelm::app {

class LocalDaemon : public QObject {
    Q_OBJECT
public:
    explicit LocalDaemon(QString stateDir, QObject* parent = nullptr);
    void find(); // → ready() or failed()
    [[nodiscard]] bool startedByUs() const { return m_started; }
    [[nodiscard]] QString stateDir() const { return m_stateDir; }
    [[nodiscard]] QString logFile() const { return m_stateDir + QStringLiteral("/telehelmd.log"); }

    struct Entry { // daemon.json
        qint64 pid = 0;
        QString control, live;
    };
    /// Empty control: no daemon there (or its process is gone).
    [[nodiscard]] static Entry readEntry(const QString& stateDir);

signals:
    void ready(const QString& controlAddress);
    void failed(const QString& sentence);

private:
    bool start(QString* why);
    void poll();
    [[nodiscard]] QString lastLogLines() const;
    const QString m_stateDir;
    QTimer m_timer;
    QElapsedTimer m_since;
    qint64 m_pid = 0;
    bool m_started = false;
};

} // namespace telehelm::app
