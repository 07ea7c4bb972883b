// SPDX-License-Identifier: GPL-3.0-or-later
// Pause and resume: when it takes effect and what idling costs. GUI thread only.
#pragma once

#include "dialogs/command_dialog.h"

namespace telehelm::app {

class PauseDialog : public CommandDialog {
    Q_OBJECT
public:
    PauseDialog(Session& session, ThemeController& theme, const QString& run, bool resume);
    [[nodiscard]] QSize wantedSize() const override { return {480, sizeHint().height()}; }

protected:
    [[nodiscard]] QString missing() const override;
    [[nodiscard]] ipc::Command command() const override;
    void runMoved() override;

private:
    bool m_resume;
    QLabel* m_effect;
    QLabel* m_cost;
};

} // namespace telehelm::app
