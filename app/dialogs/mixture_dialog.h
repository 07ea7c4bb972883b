// SPDX-License-Identifier: GPL-3.0-or-later
// Confirms a new mixture with its diff before it is sent. GUI thread only.
#pragma once

#include <functional>

#include "dialogs/command_dialog.h"
#include "models/config_diff.h"

namespace telehelm::app {

class MixtureDialog : public CommandDialog {
    Q_OBJECT
public:
    struct Order {
        ipc::Mixture before, after;
        qint64 atStep = 0;
        QString reason;
    };
    MixtureDialog(Session& session, ThemeController& theme, const QString& run, Order order);
    [[nodiscard]] QSize wantedSize() const override { return {560, sizeHint().height()}; }

protected:
    [[nodiscard]] QString missing() const override;
    [[nodiscard]] ipc::Command command() const override;

private:
    Order m_order;
};

/// Opens the confirmation; `accepted` is called after the daemon has said yes.
void openMixtureDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run, MixtureDialog::Order order,
                       std::function<void()> accepted);

} // namespace telehelm::app
