// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/mixture_dialog.h"

#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/diff_view.h"
#include "widgets/panel.h"

namespace telehelm::app {

MixtureDialog::MixtureDialog(Session& session, ThemeController& theme, const QString& run, Order order)
    : CommandDialog(session, theme, run,
                    {"mixture", tr("Apply a new mixture to %1").arg(run), tr("In force from step %1 on; written into the checkpoints that follow.").arg(text::count(order.atStep))}),
      m_order(std::move(order)) {
    auto* diff = new DiffView(theme, this);
    diff->setLines(mixtureDiff(m_order.before, m_order.after));
    diff->fitHeight(320);
    body()->addWidget(makeLabel(theme, TextRole::Section, "", tr("Config changes"), this));
    body()->addWidget(diff);
    auto* warning = makeLabel(theme, TextRole::Body, "warn", tr("Changing the mixture midway may shift the gradient norm."), this);
    warning->setWordWrap(true);
    body()->addWidget(warning);
    addReason(body(), tr("Reason"), true)->setPlainText(m_order.reason);
    body()->addSpacing(4);
    setAct({"mixture", "primary", tr("Apply at step %1").arg(text::count(m_order.atStep))});
    finishLayout(body());
}

QString MixtureDialog::missing() const {
    const ipc::RunInfo* info = run();
    if (info != nullptr && info->newest() != nullptr) {
        if (!ipc::isLive(info->newest()->state)) {
            return tr("The run is not running.");
        }
        if (info->newest()->step >= m_order.atStep) {
            return tr("Step %1 has passed; cancel and choose a later one.").arg(text::count(m_order.atStep));
        }
    }
    return CommandDialog::missing();
}

ipc::Command MixtureDialog::command() const {
    ipc::Command command;
    command.kind = ipc::CommandKind::SetMixture;
    command.mixture = m_order.after;
    command.atStep = m_order.atStep;
    return command;
}

void openMixtureDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run, MixtureDialog::Order order, std::function<void()> accepted) {
    if (Scrim::openDialog(parent) != nullptr) {
        return;
    }
    auto* dialog = new MixtureDialog(session, theme, run, std::move(order));
    QObject::connect(dialog, &QDialog::accepted, parent, std::move(accepted));
    Scrim::open(parent, dialog, theme);
}

} // namespace telehelm::app
