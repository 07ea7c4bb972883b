// SPDX-License-Identifier: GPL-3.0-or-later
// The audit log of the focused run: entries, filters, details (design picture 10). GUI thread only.
#pragma once

#include <QWidget>

#include "models/audit_model.h"
#include "session/session.h"
#include "theme/theme.h"

class QComboBox;
class QLineEdit;
class QTableView;

namespace telehelm::app {

class AuditDetails;
class Panel;

class AuditPage : public QWidget {
    Q_OBJECT
public:
    AuditPage(Session& session, ThemeController& theme, QWidget* parent = nullptr);
    [[nodiscard]] const AuditModel& model() const { return m_model; }

signals:
    void showOnPlots(const QString& run, qint64 step);

private:
    QWidget* buildHeader();
    QWidget* buildTable();
    QWidget* buildDetails();
    void connectSession();
    void reload();
    void countChanged();
    void selectionChanged();
    void exportCsv();
    [[nodiscard]] bool concerns(const ipc::AttemptKey& key) const;

    Session& m_session;
    ThemeController& m_theme;
    AuditModel m_model;
    AuditFilter m_filter;
    QComboBox* m_operator;
    QLineEdit* m_search;
    QTableView* m_table;
    QWidget* m_empty;
    Panel *m_entries, *m_entryPanel;
    AuditDetails* m_details;
    QString m_shownKey;
};

} // namespace telehelm::app
