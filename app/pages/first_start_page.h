// SPDX-License-Identifier: GPL-3.0-or-later
// What an operator without an open run sees: connect to a backend, start the demo run, go back to a recent one (design picture 07).
// GUI thread only.
#pragma once

#include <memory>

#include <QWidget>

#include "session/session.h"
#include "theme/theme.h"

class QButtonGroup;
class QFrame;
class QGridLayout;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QSettings;
class QStandardItemModel;
class QTableView;
class QVBoxLayout;

namespace telehelm::app {

class FirstStartPage : public QWidget {
    Q_OBJECT
public:
    /// `links`: for the test of a connection, which opens a session of its own.
    FirstStartPage(Session& session, ThemeController& theme, QSettings& settings, SessionLinks links, QWidget* parent = nullptr);
    void setAddress(const QString& address);
    void showDemoProgress(const QString& sentence); // empty: idle again
    void showDemoFailure(const QString& sentence);
    /// Puts a connection on top of the recent ones.
    void remember(const QString& address, const ipc::RunInfo* run);
    [[nodiscard]] QPushButton* connectButton() const { return m_connect; }
    [[nodiscard]] QPushButton* demoButton() const { return m_demo; }
    [[nodiscard]] QPushButton* testButton() const { return m_test; }
    [[nodiscard]] QString testResults() const; // one line a check

signals:
    void connectAsked(const QString& address);
    void demoAsked(int ranks);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    QWidget* buildHead();
    QWidget* buildConnectCard();
    QWidget* buildDemoCard();
    QWidget* buildRecent();
    QFrame* makeCard(const char* icon, const QString& title, const QString& what, QVBoxLayout** body);
    void addCheck(QGridLayout* grid, int row, const QString& name);
    void setCheck(int row, ipc::Severity severity, const QString& text);
    void runTest();
    void refreshTest();
    void fillRecent();
    [[nodiscard]] QString address() const;

    Session& m_session;
    ThemeController& m_theme;
    QSettings& m_settings;
    const SessionLinks m_links;
    std::unique_ptr<Session> m_probe; // while a test runs
    QLineEdit *m_host = nullptr, *m_port = nullptr;
    QPushButton *m_test = nullptr, *m_connect = nullptr, *m_demo = nullptr, *m_clear = nullptr;
    struct Check {
        QLabel *icon, *name, *text;
    };
    std::vector<Check> m_checks;
    QWidget* m_checkArea = nullptr;
    QButtonGroup* m_ranks = nullptr;
    QLabel *m_demoState = nullptr, *m_meshText = nullptr;
    QProgressBar* m_demoBar = nullptr;
    QTableView* m_recent = nullptr;
    QStandardItemModel* m_recentModel = nullptr;
    QWidget* m_recentCard = nullptr;
};

} // namespace telehelm::app
