// SPDX-License-Identifier: GPL-3.0-or-later
// Stop with or without a checkpoint; without one, the run's name must be typed. GUI thread only.
#pragma once

#include "dialogs/command_dialog.h"

class QCheckBox;
class QLineEdit;

namespace telehelm::app {

class StopDialog : public CommandDialog {
    Q_OBJECT
public:
    StopDialog(Session& session, ThemeController& theme, const QString& run);
    [[nodiscard]] QSize wantedSize() const override { return {600, sizeHint().height()}; }

protected:
    [[nodiscard]] QString missing() const override;
    [[nodiscard]] ipc::Command command() const override;
    void runMoved() override;

private:
    void modeChanged();
    QCheckBox* m_save;
    QLabel* m_loss;
    QWidget* m_typeRow;
    QLineEdit* m_typed;
    JobId m_checkpointJob = 0;
    qint64 m_lastCheckpoint = -1; // -1: not known yet; 0: none
};

} // namespace telehelm::app
