// SPDX-License-Identifier: GPL-3.0-or-later
// Restart from a checkpoint: which one, what changes, what is lost, why (design picture 04). GUI thread only.
#pragma once

#include "dialogs/command_dialog.h"
#include "models/config_diff.h"
#include "models/mixture_model.h"

class QStackedWidget;

namespace telehelm::app {

class CheckpointPicker;
class DiffView;
class LossBoxes;
class RestartOverrides;

class RestartDialog : public CommandDialog {
    Q_OBJECT
public:
    RestartDialog(Session& session, ThemeController& theme, const QString& run, std::optional<qint64> suggestedStep);
    [[nodiscard]] QSize wantedSize() const override { return {1180, 752}; }

protected:
    [[nodiscard]] QString missing() const override;
    [[nodiscard]] ipc::Command command() const override;
    void runMoved() override;

private:
    void buildRight(QVBoxLayout* right);
    void connectParts();
    void checkpointChosen();
    void setBase(const ipc::CheckpointInfo& chosen, double rate);
    void showChanges();
    void showLoss();
    void toggleMixtureEditor();
    [[nodiscard]] ipc::RestartOptions options() const;
    [[nodiscard]] QString configOf(std::uint32_t attempt) const;

    MixtureModel m_mixture;
    CheckpointPicker* m_picker = nullptr;
    RestartOverrides* m_overrides = nullptr;
    DiffView* m_diff = nullptr;
    QStackedWidget* m_changes = nullptr;
    QLabel *m_changeCount = nullptr, *m_after = nullptr;
    LossBoxes* m_loss = nullptr;
    JobId m_rateJob = 0;
    std::string m_ratePath; // of the checkpoint that the job asks for
};

} // namespace telehelm::app
