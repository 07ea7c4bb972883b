// SPDX-License-Identifier: GPL-3.0-or-later
// What happens around the window from the first event to the last: finding or starting the daemon, the demo, the screenshot, the end.
// GUI thread only.
#pragma once

#include <QObject>

#include "main_window/command_line.h"
#include "session/demo_starter.h"
#include "session/local_daemon.h"

namespace telehelm::app {

class Startup : public QObject {
    Q_OBJECT
public:
    Startup(const CommandLine& line, Session& session, MainWindow& window, QObject* parent = nullptr);
    void begin();
    /// After the event loop: stops the daemon and its runs when asked to, and says what goes on otherwise. Returns the exit code.
    [[nodiscard]] int finish(int exitCode);

private:
    void connectTo(const QString& address);
    void daemonReady(const QString& address);
    void startDemo(int ranks);
    void runsCame();
    void daemonFailed(const QString& sentence);
    void scheduleScreenshot();
    void takeScreenshot();
    void complain(const QString& sentence);
    void logLinks();
    [[nodiscard]] bool stopDaemon(const QString& address);

    const CommandLine m_line;
    Session& m_session;
    MainWindow& m_window;
    LocalDaemon m_daemon;
    DemoStarter m_demo;
    bool m_demoWanted, m_wantedRunFound = false, m_pageShown = false;
    int m_exitCode = 0;
    QString m_lastLog, m_localAddress;
};

} // namespace telehelm::app
