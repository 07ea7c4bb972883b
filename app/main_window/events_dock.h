// SPDX-License-Identifier: GPL-3.0-or-later
// The bottom dock: Events with details, a short audit log, and Messages. GUI thread only.
#pragma once

#include "main_window/dock.h"
#include "models/audit_model.h"
#include "models/events_model.h"
#include "models/messages_model.h"
#include "session/session.h"

class QLabel;
class QPushButton;
class QStackedWidget;
class QTableView;
class QToolButton;

namespace telehelm::app {

class EventsDock : public Dock {
    Q_OBJECT
public:
    EventsDock(Session& session, ThemeController& theme, MessagesModel& messages, QWidget* parent);
    void selectEvent(qint64 id);
    void stepSelection(int by); // F8, Shift+F8
    void showTab(int tab);      // 0 events, 1 audit, 2 messages
    [[nodiscard]] QTableView* eventsView() const { return m_events; }

signals:
    void zoomAsked(qint64 step);
    void restartAsked(qint64 step);
    void auditPageAsked();

private:
    QWidget* buildEvents();
    QWidget* buildDetails();
    QWidget* buildAudit();
    QWidget* buildMessages(MessagesModel& messages);
    void buildTitle();
    void chooseSeverity();
    void showDetails();
    void refreshCount();
    void reload();
    [[nodiscard]] const ipc::Event* selected() const;

    Session& m_session;
    ThemeController& m_theme;
    EventsModel m_model;
    EventsFilter m_filter;
    AuditModel m_audit;
    QTabBar* m_tabs = nullptr;
    QStackedWidget* m_stack = nullptr;
    QTableView* m_events = nullptr;
    QLabel *m_count = nullptr, *m_detailIcon = nullptr, *m_detailTitle = nullptr, *m_detailWhen = nullptr, *m_detailText = nullptr;
    QWidget* m_details = nullptr;
    QPushButton *m_restart = nullptr, *m_zoom = nullptr;
    QToolButton* m_severity = nullptr;
    bool m_loading = false;
};

} // namespace telehelm::app
