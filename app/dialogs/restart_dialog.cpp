// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/restart_dialog.h"

#include <algorithm>

#include <QFrame>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QStackedWidget>
#include <QVBoxLayout>

#include "dialogs/checkpoint_picker.h"
#include "dialogs/loss_boxes.h"
#include "dialogs/restart_overrides.h"
#include "models/config_diff.h"
#include "models/text_format.h"
#include "settings/mixture_drafts.h"
#include "widgets/diff_view.h"
#include "widgets/mixture_table.h"
#include "widgets/panel.h"

namespace telehelm::app {

RestartDialog::RestartDialog(Session& session, ThemeController& theme, const QString& run, std::optional<qint64> suggestedStep)
    : CommandDialog(session, theme, run,
                    {"restart", tr("Restart %1 from a checkpoint").arg(run),
                     suggestedStep ? tr("The run stops, loads the checkpoint and continues with these changes. Advice: restart from step %1 or before.").arg(text::count(*suggestedStep))
                                   : tr("The run stops, loads the checkpoint and continues with these changes.")}) {
    if (this->run() != nullptr) {
        m_mixture.setRun(*this->run(), 0);
    }
    m_picker = new CheckpointPicker(session, theme, run, suggestedStep, this);
    auto* line = new QFrame(this);
    line->setObjectName(QStringLiteral("vline"));
    line->setFixedWidth(1);
    auto* right = new QVBoxLayout;
    right->setContentsMargins(16, 14, 14, 14);
    right->setSpacing(7);
    buildRight(right);
    auto* columns = new QHBoxLayout;
    columns->setSpacing(0);
    columns->addWidget(m_picker, 100);
    columns->addWidget(line);
    columns->addLayout(right, 111);
    body()->setContentsMargins(0, 0, 0, 0);
    body()->addLayout(columns, 1);
    connectParts();
    checkpointChosen();
}

void RestartDialog::buildRight(QVBoxLayout* right) {
    right->addWidget(makeLabel(m_theme, TextRole::Section, "", tr("2. Overrides"), this));
    m_overrides = new RestartOverrides(m_theme, m_mixture, this);
    right->addWidget(m_overrides);
    auto* changesHead = new QHBoxLayout;
    changesHead->addWidget(makeLabel(m_theme, TextRole::Section, "", tr("Config changes"), this));
    changesHead->addStretch(1);
    m_changeCount = makeLabel(m_theme, TextRole::Caption, "secondary", {}, this);
    changesHead->addWidget(m_changeCount);
    right->addSpacing(4);
    right->addLayout(changesHead);
    m_diff = new DiffView(m_theme, this);
    m_diff->setEmptyText(tr("Nothing changes: the run repeats from the checkpoint."));
    m_changes = new QStackedWidget(this);
    m_changes->addWidget(m_diff);
    m_changes->addWidget(new MixtureTable(m_mixture, m_theme, true, this));
    m_changes->setMinimumHeight(90);
    right->addWidget(m_changes, 1);
    right->addSpacing(4);
    right->addWidget(makeLabel(m_theme, TextRole::Section, "", tr("3. What will be lost"), this));
    m_loss = new LossBoxes(m_theme, this);
    right->addWidget(m_loss);
    m_after = makeLabel(m_theme, TextRole::Body, "secondary", {}, this);
    m_after->setWordWrap(true);
    right->addWidget(m_after);
    right->addSpacing(4);
    addReason(right, tr("4. Reason"), true);
    right->addSpacing(4);
    setAct({"restart", "dangerSolid", tr("Restart")});
    finishLayout(right);
}

void RestartDialog::connectParts() {
    connect(m_picker, &CheckpointPicker::chosenChanged, this, &RestartDialog::checkpointChosen);
    connect(m_overrides, &RestartOverrides::changed, this, [this] {
        showChanges();
        refresh();
    });
    connect(m_overrides, &RestartOverrides::editMixtureRequested, this, &RestartDialog::toggleMixtureEditor);
    connect(&session(), &Session::seriesFetched, this, [this](JobId job, const std::vector<ipc::SeriesSegment>& segments) {
        const auto* chosen = m_picker->model().chosen();
        if (job != m_rateJob || chosen == nullptr || chosen->path != m_ratePath) {
            return;
        }
        for (const auto& segment : segments) {
            if (!segment.buckets.empty()) {
                setBase(*chosen, segment.buckets.back().last);
            }
        }
    });
    m_overrides->setMixtures(m_mixture.current(), loadMixtureDraft(runName()));
}

QString RestartDialog::configOf(std::uint32_t attempt) const {
    const ipc::RunInfo* info = run();
    if (info != nullptr) {
        for (const auto& candidate : info->attempts) {
            if (candidate.key.attempt == attempt) {
                return QString::fromStdString(candidate.configToml);
            }
        }
    }
    return {};
}

void RestartDialog::setBase(const ipc::CheckpointInfo& chosen, double rate) {
    const ipc::RunInfo* info = run();
    const double scale = info != nullptr ? lrScaleAt(*info, session().commands(), chosen.key.attempt, chosen.step) : 1.0;
    m_overrides->setBase(configOf(chosen.key.attempt), chosen.step, scale, rate);
}

void RestartDialog::checkpointChosen() {
    const auto* chosen = m_picker->model().chosen();
    if (chosen != nullptr && chosen->path != m_ratePath) {
        m_ratePath = chosen->path;
        setBase(*chosen, 0);
        ipc::SeriesQuery query;
        query.key = chosen->key;
        query.names = {ipc::series::kLearningRate};
        query.from = query.to = chosen->step;
        query.maxBuckets = 0;
        m_rateJob = session().fetchSeries(query);
    }
    const QString step = chosen != nullptr ? text::count(chosen->step) : QString();
    setAct({"restart", "dangerSolid", chosen != nullptr ? tr("Restart from step %1").arg(step) : tr("Restart")});
    showChanges();
    showLoss();
    refresh();
}

ipc::RestartOptions RestartDialog::options() const {
    ipc::RestartOptions options;
    if (const auto* chosen = m_picker->model().chosen(); chosen != nullptr) {
        options.checkpointAttempt = chosen->key.attempt;
        options.checkpointStep = chosen->step;
    }
    m_overrides->fill(options);
    return options;
}

void RestartDialog::showChanges() {
    const auto* chosen = m_picker->model().chosen();
    const ipc::RunInfo* info = run();
    if (chosen == nullptr || info == nullptr) {
        m_diff->setLines({});
        m_changeCount->clear();
        return;
    }
    auto lines = restartDiff(configOf(chosen->key.attempt), options(), QString::fromStdString(chosen->path));
    const int changes = changedSettings(lines);
    m_changeCount->setText(tr("%1 changed, ").arg(text::counted(changes, tr("line"), tr("lines"))) + tr("attempt %1 → %2").arg(chosen->key.attempt).arg(info->newest() != nullptr ? info->newest()->key.attempt + 1 : 1));
    m_diff->setLines(std::move(lines));
}

void RestartDialog::showLoss() {
    const auto* chosen = m_picker->model().chosen();
    const ipc::RunInfo* info = run();
    if (chosen == nullptr || info == nullptr || info->newest() == nullptr) {
        m_loss->clear();
        m_after->clear();
        return;
    }
    RestartLoss loss;
    loss.keptStep = commonStep(*info, *chosen);
    loss.newestStep = std::max<qint64>(info->newest()->step, loss.keptStep);
    loss.tokens = loss.steps() * info->tokensPerStep;
    loss.tokensSoFar = info->newest()->tokens;
    loss.ranks = std::max(1, info->tensorParallel * info->pipelineParallel * info->dataParallel);
    const qint64 since = loss.keptStep == chosen->step ? chosen->savedUs : m_picker->wallUsAt(loss.keptStep);
    const qint64 until = info->newest()->endedUs > 0 ? info->newest()->endedUs : std::max<qint64>(info->newest()->lastHeardUs, since);
    loss.sinceUs = since;
    loss.wallSeconds = since > 0 ? double(std::max<qint64>(0, until - since)) / 1e6 : -1;
    m_loss->setLoss(loss);
    m_after->setText(tr("The discarded steps stay stored as attempt %1; the plots keep their curve as a dotted line.").arg(info->newest()->key.attempt));
}

void RestartDialog::toggleMixtureEditor() {
    const bool editing = m_changes->currentIndex() == 0;
    m_changes->setCurrentIndex(editing ? 1 : 0);
    m_overrides->setEditing(editing);
}

void RestartDialog::runMoved() {
    m_picker->runMoved();
    showLoss();
}

QString RestartDialog::missing() const {
    if (m_picker->loading()) {
        return tr("Asking the daemon for checkpoints…");
    }
    if (m_picker->model().chosen() == nullptr) {
        return m_picker->model().rowCount() == 0 ? tr("There is no checkpoint to restart from.") : tr("No checkpoint is chosen");
    }
    const QString fields = m_overrides->missing();
    return fields.isEmpty() ? CommandDialog::missing() : fields;
}

ipc::Command RestartDialog::command() const {
    ipc::Command command;
    command.kind = ipc::CommandKind::Restart;
    command.restart = options();
    return command;
}

} // namespace telehelm::app
