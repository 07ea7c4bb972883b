// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/stop_dialog.h"

#include <algorithm>

#include <QCheckBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {

StopDialog::StopDialog(Session& session, ThemeController& theme, const QString& run)
    : CommandDialog(session, theme, run, {"stop", tr("Stop %1").arg(run), tr("The job ends on all ranks. It can be restarted later from a checkpoint.")}) {
    m_save = new QCheckBox(tr("Save a checkpoint first"), this);
    m_save->setChecked(true);
    m_save->setFont(theme.font(TextRole::Body));
    m_save->setObjectName(QStringLiteral("saveCheckpoint"));
    m_loss = makeLabel(theme, TextRole::Body, "secondary", {}, this);
    m_loss->setWordWrap(true);
    m_typeRow = new QWidget(this);
    m_typed = new QLineEdit(m_typeRow);
    m_typed->setObjectName(QStringLiteral("typedName"));
    m_typed->setAccessibleName(tr("Name of the run, to confirm"));
    m_typed->setFont(theme.font(TextRole::TableNumber));
    auto* typeRow = new QHBoxLayout(m_typeRow);
    typeRow->setContentsMargins(0, 0, 0, 0);
    typeRow->addWidget(makeLabel(theme, TextRole::Body, "", tr("Type %1 to confirm").arg(run), m_typeRow));
    typeRow->addWidget(m_typed, 1);
    body()->addWidget(m_save);
    body()->addWidget(m_loss);
    body()->addWidget(m_typeRow);
    addReason(body(), tr("Reason"), true);
    body()->addSpacing(4);
    setAct({"stop", "dangerSolid", tr("Stop %1").arg(run)});
    finishLayout(body());
    connect(m_save, &QCheckBox::toggled, this, &StopDialog::modeChanged);
    connect(m_typed, &QLineEdit::textChanged, this, &StopDialog::refresh);
    connect(&session, &Session::checkpointsFetched, this, [this](JobId job, const std::vector<ipc::CheckpointInfo>& checkpoints) {
        if (job != m_checkpointJob || this->run() == nullptr || this->run()->newest() == nullptr) {
            return;
        }
        const auto& attempt = *this->run()->newest();
        m_lastCheckpoint = attempt.forkStep;
        for (const auto& checkpoint : checkpoints) {
            if (checkpoint.damage.empty() && checkpoint.key.attempt == attempt.key.attempt) {
                m_lastCheckpoint = std::max<qint64>(m_lastCheckpoint, checkpoint.step);
            }
        }
        runMoved();
    });
    m_checkpointJob = session.fetchCheckpoints(run);
    modeChanged();
}

void StopDialog::modeChanged() {
    const bool without = !m_save->isChecked();
    m_typeRow->setVisible(without);
    setAct({"stop", "dangerSolid", without ? tr("Stop %1 without checkpoint").arg(runName()) : tr("Stop %1").arg(runName())});
    runMoved();
    refresh();
    resize(width(), sizeHint().height());
}

void StopDialog::runMoved() {
    const ipc::RunInfo* info = run();
    if (info == nullptr || info->newest() == nullptr) {
        return;
    }
    const auto& attempt = *info->newest();
    setRole(m_loss, m_save->isChecked() ? "secondary" : "crit");
    if (m_save->isChecked()) {
        m_loss->setText(tr("Stops after step %1, once the checkpoint is written and verified. Nothing is lost.").arg(text::count(attempt.step + 1)));
    } else if (m_lastCheckpoint < 0) {
        m_loss->setText(tr("Everything since the last checkpoint is lost; asking the daemon which one that is."));
    } else {
        const qint64 lost = std::max<qint64>(0, attempt.step - m_lastCheckpoint);
        m_loss->setText(m_lastCheckpoint == 0 ? tr("There is no checkpoint yet: all %1 steps (%2 tokens) are lost.").arg(text::count(lost), text::tokens(double(lost * info->tokensPerStep)))
                                              : tr("%1 steps (%2 tokens) since the checkpoint of step %3 are lost.")
                                                    .arg(text::count(lost), text::tokens(double(lost * info->tokensPerStep)), text::count(m_lastCheckpoint)));
    }
}

QString StopDialog::missing() const {
    const ipc::RunInfo* info = run();
    if (info != nullptr && (info->newest() == nullptr || !ipc::isLive(info->newest()->state))) {
        return tr("The run is not running.");
    }
    const QString lacks = CommandDialog::missing();
    if (lacks.isEmpty() && !m_save->isChecked() && m_typed->text() != runName()) {
        return tr("The name of the run is not typed");
    }
    return lacks;
}

ipc::Command StopDialog::command() const {
    ipc::Command command;
    command.kind = ipc::CommandKind::Stop;
    command.saveCheckpoint = m_save->isChecked();
    return command;
}

} // namespace telehelm::app
