// SPDX-License-Identifier: GPL-3.0-or-later
// Both links in detail: state, since when, why, what to try (design picture 08b, "Both links down"). GUI thread only.
#pragma once

#include <QTimer>

#include "dialogs/scrim.h"
#include "session/session.h"

class QGridLayout;
class QLabel;

namespace telehelm::app {

class ConnectionDetails : public ScrimDialog {
    Q_OBJECT
public:
    ConnectionDetails(Session& session, ThemeController& theme);
    [[nodiscard]] QSize wantedSize() const override { return {560, sizeHint().height()}; }
    [[nodiscard]] QString asText() const;

private:
    void refresh();
    Session& m_session;
    QTimer m_timer;
    struct Row {
        QLabel *icon, *name, *state;
    };
    Row addRow(QGridLayout* grid, int row, const QString& name);
    void setRow(const Row& row, const LinkStatus& link);
    Row m_control{}, m_live{};
    QLabel *m_daemon, *m_advice;
};

} // namespace telehelm::app
