// SPDX-License-Identifier: GPL-3.0-or-later
// The status bar: how live the picture is, both links, sample rate, repaired gaps, and how far history is complete. GUI thread only.
#pragma once

#include <QStatusBar>
#include <QTimer>

#include "session/session.h"
#include "theme/theme.h"

class QLabel;

namespace telehelm::app {

class StatusStrip : public QStatusBar {
    Q_OBJECT
public:
    StatusStrip(Session& session, ThemeController& theme, QWidget* parent = nullptr);
    /// The live page's Follow; without it the left field says that older steps are shown.
    void setFollowing(bool following);
    void refresh();
    [[nodiscard]] QString leftText() const;

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    struct Part {
        QString words, number, rest;
    };
    QLabel* addCell(const char* name);
    void setCell(QLabel* cell, const Part& part, const char* role = "secondary");
    void refreshLeft();
    void rememberDeleted(const ipc::DeletedRun& run);
    void focusMoved(const QString& run);
    [[nodiscard]] Part linkPart(const QString& name, const LinkStatus& link) const;
    Session& m_session;
    ThemeController& m_theme;
    QTimer m_timer;
    bool m_following = true;
    QString m_deleted, m_whyDeleted;   // the run that was open when it was deleted, until the operator opens another
    bool m_isReplacedByItself = false; // the session, not the operator, has opened the next one
    QLabel *m_lamp, *m_left, *m_control, *m_live, *m_rate, *m_gaps, *m_complete;
};

} // namespace telehelm::app
