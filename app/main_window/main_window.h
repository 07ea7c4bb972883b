// SPDX-License-Identifier: GPL-3.0-or-later
// The window: menu bar, bridge strip, rail, banner, pages, status bar. It only puts the parts together and passes their wishes on.
// GUI thread only.
#pragma once

#include <map>

#include <QMainWindow>

#include "dialogs/run_dialogs.h"
#include "models/messages_model.h"
#include "models/run_slots.h"
#include "session/session.h"
#include "settings/settings.h"
#include "theme/theme.h"

class QLabel;
class QSettings;
class QStackedWidget;

namespace telehelm::app {

class AuditPage;
class BannerBar;
class BridgeStrip;
class FirstStartPage;
class LiveArea;
class MixturePage;
class Rail;
class StatusStrip;
class ToastBar;

enum class Page { Live, Mixture, Audit, Start };

class MainWindow : public QMainWindow {
    Q_OBJECT
public:
    MainWindow(Session& session, ThemeController& theme, QSettings& settings, const SessionLinks& links, QWidget* parent = nullptr);
    ~MainWindow() override;
    void showPage(Page page);
    [[nodiscard]] Page page() const { return m_current; }
    void notify(ipc::Severity severity, const QString& sentence);
    [[nodiscard]] BridgeStrip* bridge() const { return m_bridge; }
    [[nodiscard]] BannerBar* banner() const { return m_banner; }
    [[nodiscard]] StatusStrip* status() const { return m_status; }
    [[nodiscard]] LiveArea* live() const { return m_live; }
    [[nodiscard]] FirstStartPage* startPage() const { return m_start; }
    [[nodiscard]] ToastBar* toasts() const { return m_toasts; }

signals:
    void connectAsked(const QString& address);
    void demoAsked(int ranks);
    void startDaemonAsked();

protected:
    void resizeEvent(QResizeEvent* event) override;
    void closeEvent(QCloseEvent* event) override;

private:
    void buildPages(const SessionLinks& links);
    void buildFrame();
    void buildMenus();
    void buildRunMenu();
    void buildViewMenu();
    void buildPlotsMenu();
    void buildWindowMenu();
    void buildMenuCorners();
    void connectParts();
    void connectSession();
    void openPalette();
    void openSettings();
    void openConnectionDetails();
    void openAbout();
    void openNote(qint64 step);
    void applySettings(const Settings& settings);
    void refreshActions();
    void refreshClock();
    void layoutCorner();
    void commandMoved(const ipc::Command& command);
    void tellDeleted(const ipc::DeletedRun& deleted);
    void checkpointNow();
    void savePicture();
    void goToStep(const QString& run, qint64 step);
    [[nodiscard]] QString layoutKey() const;
    void saveLayout();
    void restoreLayout();
    [[nodiscard]] QString run() const { return m_session.focusedRun(); }
    QAction* addAction(QMenu* menu, const QString& text, const QString& shortcut, std::function<void()> act, const char* icon = nullptr);

    Session& m_session;
    ThemeController& m_theme;
    QSettings& m_settings;
    RunSlots m_slots;
    MessagesModel m_messages;
    const qint64 m_openedUs;
    std::map<std::string, ipc::CommandState> m_told; // commands whose state the operator was told of
    Page m_current = Page::Start;
    QString m_layoutAddress; // whose layout is shown
    BridgeStrip* m_bridge = nullptr;
    Rail* m_rail = nullptr;
    BannerBar* m_banner = nullptr;
    QStackedWidget* m_stack = nullptr;
    StatusStrip* m_status = nullptr;
    LiveArea* m_live = nullptr;
    MixturePage* m_mixture = nullptr;
    AuditPage* m_audit = nullptr;
    FirstStartPage* m_start = nullptr;
    ToastBar* m_toasts = nullptr;
    QLabel *m_server = nullptr, *m_operator = nullptr, *m_clock = nullptr;
    QAction *m_pause = nullptr, *m_resume = nullptr, *m_checkpoint = nullptr, *m_restart = nullptr, *m_stop = nullptr, *m_note = nullptr;
    std::vector<QAction*> m_pageActions;
};

} // namespace telehelm::app
