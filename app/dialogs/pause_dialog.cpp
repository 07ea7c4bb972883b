// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/pause_dialog.h"

#include <QLabel>
#include <QPlainTextEdit>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {

PauseDialog::PauseDialog(Session& session, ThemeController& theme, const QString& run, bool resume)
    : CommandDialog(session, theme, run,
                    {resume ? "play" : "pause", resume ? tr("Resume %1").arg(run) : tr("Pause %1").arg(run),
                     resume ? tr("All ranks go on with the next step, as if there had been no pause.")
                            : tr("All ranks hold at the next step boundary and keep their memory.")}),
      m_resume(resume) {
    m_effect = makeLabel(theme, TextRole::Body, "", {}, this);
    m_effect->setWordWrap(true);
    m_cost = makeLabel(theme, TextRole::Body, "secondary", {}, this);
    m_cost->setWordWrap(true);
    body()->addWidget(m_effect);
    body()->addWidget(m_cost);
    addReason(body(), tr("Reason"), false);
    body()->addSpacing(4);
    setAct({resume ? "play" : "pause", "primary", resume ? tr("Resume") : tr("Pause")});
    finishLayout(body());
    runMoved();
    refresh();
}

void PauseDialog::runMoved() {
    const ipc::RunInfo* info = run();
    if (info == nullptr || info->newest() == nullptr) {
        return;
    }
    const auto& attempt = *info->newest();
    const int ranks = info->tensorParallel * info->pipelineParallel * info->dataParallel;
    m_effect->setText(m_resume ? tr("Takes effect at once: step %1 is next.").arg(text::count(attempt.step + 1))
                               : tr("Takes effect after step %1, the one now running.").arg(text::count(attempt.step + 1)));
    m_cost->setText(m_resume ? tr("The pause itself lost no step.") : tr("While paused, %1 reserved: %2 rank hours per hour.").arg(ranks == 1 ? tr("1 rank stays") : tr("%1 ranks stay").arg(ranks)).arg(ranks));
    m_cost->setVisible(!m_resume);
}

QString PauseDialog::missing() const {
    const QString lacks = CommandDialog::missing();
    if (!lacks.isEmpty()) {
        return lacks;
    }
    const ipc::AttemptInfo* attempt = run()->newest();
    if (attempt == nullptr || !ipc::isLive(attempt->state)) {
        return tr("The run is not running.");
    }
    const bool paused = attempt->state == ipc::AttemptState::Paused;
    const bool pausing = attempt->state == ipc::AttemptState::Pausing;
    if (m_resume) {
        return paused || pausing ? QString() : tr("The run is not paused.");
    }
    return paused || pausing ? tr("The run is paused already.") : QString();
}

ipc::Command PauseDialog::command() const {
    ipc::Command command;
    command.kind = m_resume ? ipc::CommandKind::Resume : ipc::CommandKind::Pause;
    return command;
}

} // namespace telehelm::app
