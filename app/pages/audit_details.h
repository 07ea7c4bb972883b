// SPDX-License-Identifier: GPL-3.0-or-later
// One entry of the audit log in full: who, when, reason, diff, and what the measures did after it. GUI thread only.
#pragma once

#include <array>
#include <optional>

#include <QWidget>

#include "models/audit_model.h"
#include "session/session.h"
#include "theme/theme.h"

class QGridLayout;
class QLabel;
class QPushButton;

namespace telehelm::app {

class DiffView;

class AuditDetails : public QWidget {
    Q_OBJECT
public:
    AuditDetails(Session& session, ThemeController& theme, QWidget* parent);
    void setEntry(const AuditEntry& entry);
    void clear();
    [[nodiscard]] QString asText() const; // for the clipboard

signals:
    void showOnPlots(const QString& run, qint64 step);

private:
    void buildEffect();
    void showFacts(const AuditEntry& entry);
    void askEffect();
    void effectCame(const std::vector<ipc::SeriesSegment>& segments);
    void addFact(const QString& name, const QString& value);

    struct EffectRow {
        QLabel *name, *before, *after, *change;
    };
    Session& m_session;
    ThemeController& m_theme;
    std::optional<AuditEntry> m_entry;
    QLabel *m_icon, *m_title, *m_reasonHead, *m_reason, *m_diffHead, *m_effectHead, *m_effectNone;
    QWidget *m_facts, *m_effect, *m_all, *m_empty;
    QGridLayout* m_factGrid;
    DiffView* m_diff;
    std::array<EffectRow, 4> m_rows{};
    QPushButton *m_show, *m_copy;
    QStringList m_factLines;
    qint64 m_window = 1000;
    JobId m_job = 0;
};

} // namespace telehelm::app
