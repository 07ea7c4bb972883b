// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/mixture_apply_box.h"

#include <algorithm>
#include <cmath>

#include <QFrame>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {

namespace {

constexpr double kLeadSeconds = 40; // how far ahead the step is set by itself: time to read the confirmation

} // namespace

MixtureApplyBox::MixtureApplyBox(Session& session, ThemeController& theme, MixtureModel& model, QWidget* parent)
    : QWidget(parent), m_session(session), m_theme(theme), m_model(model) {
    m_step = new QSpinBox(this);
    m_step->setObjectName(QStringLiteral("applyStep"));
    m_step->setAccessibleName(tr("Apply at step"));
    m_step->setGroupSeparatorShown(true);
    m_step->setRange(1, 2'000'000'000);
    m_step->setFont(theme.font(TextRole::TableNumber));
    m_step->setFixedWidth(104);
    m_stepNote = makeLabel(theme, TextRole::Caption, "quiet", {}, this);
    m_stepNote->setWordWrap(true);
    m_reason = new QPlainTextEdit(this);
    m_reason->setObjectName(QStringLiteral("reason"));
    m_reason->setAccessibleName(tr("Reason"));
    m_reason->setPlaceholderText(tr("Why the mixture changes, at least %1 characters").arg(kReasonLength));
    m_reason->setTabChangesFocus(true);
    m_reason->setFont(theme.font(TextRole::Body));
    m_reason->setFixedHeight(48);
    m_save = makeButton(theme, "", "", tr("Save draft"), this, true);
    m_save->setObjectName(QStringLiteral("saveDraft"));
    m_apply = makeButton(theme, "primary", "mixture", tr("Apply…"), this, true);
    m_apply->setObjectName(QStringLiteral("applyMixture"));
    m_missing = makeLabel(theme, TextRole::Caption, "warn", {}, this);
    m_missing->setObjectName(QStringLiteral("missing"));
    m_missing->setWordWrap(true);
    m_signed = makeLabel(theme, TextRole::Caption, "quiet", tr("Signed as %1, kept in the audit log").arg(session.operatorName()), this);
    m_signed->setWordWrap(true);
    m_orderIcon = new QLabel(this);
    m_order = makeLabel(theme, TextRole::Body, "secondary", {}, this);
    m_order->setObjectName(QStringLiteral("lastOrder"));
    m_order->setWordWrap(true);
    auto* form = new QGridLayout;
    form->setHorizontalSpacing(10);
    form->setVerticalSpacing(9);
    form->setColumnMinimumWidth(0, 90);
    form->setColumnStretch(1, 1);
    auto* stepRow = new QHBoxLayout;
    stepRow->setSpacing(12);
    stepRow->addWidget(m_step);
    stepRow->addWidget(m_stepNote, 1);
    form->addWidget(makeLabel(theme, TextRole::Body, "", tr("Apply at step"), this), 0, 0);
    form->addLayout(stepRow, 0, 1);
    form->addWidget(makeLabel(theme, TextRole::Body, "", tr("Reason"), this), 1, 0, Qt::AlignTop);
    form->addWidget(m_reason, 1, 1);
    auto* orderRow = new QHBoxLayout;
    orderRow->setSpacing(8);
    orderRow->addWidget(m_orderIcon, 0, Qt::AlignTop);
    orderRow->addWidget(m_order, 1);
    auto* words = new QVBoxLayout;
    words->setSpacing(1);
    words->addWidget(m_missing);
    words->addWidget(m_signed);
    auto* buttons = new QHBoxLayout;
    buttons->setSpacing(8);
    buttons->addLayout(words, 1);
    buttons->addWidget(m_save);
    buttons->addWidget(m_apply);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(14, 12, 14, 14);
    all->setSpacing(11);
    all->addWidget(buildWarning());
    all->addLayout(form);
    all->addLayout(orderRow);
    all->addLayout(buttons);
    connect(m_step, &QSpinBox::valueChanged, this, [this](int step) {
        m_stepChosen = true;
        emit applyStepChanged(step);
        refresh();
    });
    connect(m_reason, &QPlainTextEdit::textChanged, this, &MixtureApplyBox::refresh);
    connect(&model, &MixtureModel::draftChanged, this, &MixtureApplyBox::refresh);
    connect(m_save, &QPushButton::clicked, this, &MixtureApplyBox::saveDraftRequested);
    connect(m_apply, &QPushButton::clicked, this, &MixtureApplyBox::openConfirmation);
    connect(&session, &Session::controlLinkChanged, this, &MixtureApplyBox::refresh);
    connect(&session, &Session::commandChanged, this, [this](const ipc::Command& command) {
        if (command.kind == ipc::CommandKind::SetMixture) {
            showLastOrder();
        }
    });
}

QWidget* MixtureApplyBox::buildWarning() {
    auto* box = new QFrame(this);
    box->setObjectName(QStringLiteral("warningBox"));
    auto* shape = new QLabel(box);
    auto* words = makeLabel(m_theme, TextRole::Body, "secondary",
                            tr("<b>Changing the mixture midway may shift the gradient norm.</b> A step in the norm right after the change is expected; "
                               "a norm that keeps rising after it is not."),
                            box);
    words->setTextFormat(Qt::RichText);
    words->setWordWrap(true);
    auto* row = new QHBoxLayout(box);
    row->setContentsMargins(12, 9, 12, 9);
    row->setSpacing(10);
    row->addWidget(shape, 0, Qt::AlignTop);
    row->addWidget(words, 1);
    const auto restyle = [this, box, shape] {
        const Theme& colours = m_theme.theme();
        box->setStyleSheet(QStringLiteral("QFrame#warningBox { background: %1; border: 1px solid %2; }").arg(colours.warnFill.name(), colours.warn.name()));
        shape->setPixmap(severityPixmap(m_theme, int(ipc::Severity::Warning)));
    };
    restyle();
    connect(&m_theme, &ThemeController::changed, box, restyle);
    return box;
}

void MixtureApplyBox::setRun(const QString& run) {
    if (run != m_run) {
        m_run = run;
        m_stepChosen = false;
        m_reason->clear();
    }
    runMoved();
    showLastOrder();
}

double MixtureApplyBox::secondsPerStep() const {
    const ipc::RunInfo* info = m_session.run(m_run);
    if (info == nullptr || info->newest() == nullptr || info->newest()->step <= info->newest()->forkStep) {
        return 0;
    }
    const auto& attempt = *info->newest();
    return double(std::max<qint64>(0, attempt.lastHeardUs - attempt.startedUs)) / 1e6 / double(attempt.step - attempt.forkStep);
}

void MixtureApplyBox::runMoved() {
    const ipc::RunInfo* info = m_session.run(m_run);
    if (info != nullptr && info->newest() != nullptr && !m_stepChosen) {
        const double pace = secondsPerStep();
        const qint64 step = info->newest()->step;
        const qint64 lead = pace > 0 ? std::clamp<qint64>(std::llround(kLeadSeconds / pace), 5, 1000) : 20;
        const qint64 last = info->totalSteps > 0 ? std::max<qint64>(info->totalSteps, step + 1) : step + lead;
        if (m_step->value() <= step + lead / 2 || m_step->value() > step + 2 * lead) {
            const QSignalBlocker quiet(m_step);
            m_step->setValue(static_cast<int>(std::min(step + lead, last)));
            emit applyStepChanged(m_step->value());
        }
    }
    m_signed->setText(tr("Signed as %1, kept in the audit log").arg(m_session.operatorName()));
    refresh();
}

qint64 MixtureApplyBox::applyStep() const { return m_step->value(); }

QString MixtureApplyBox::missing() const {
    const ipc::RunInfo* info = m_session.run(m_run);
    if (info == nullptr || info->newest() == nullptr) {
        return tr("No run is open.");
    }
    if (m_session.controlLink().state != LinkState::Up) {
        return tr("The control link is down; the order cannot be sent.");
    }
    if (!ipc::isLive(info->newest()->state)) {
        return tr("The run is not running.");
    }
    if (!m_model.isChanged()) {
        return tr("No share is changed");
    }
    if (m_model.total() != kWholeMixture) {
        return tr("Shares add up to %1 %, not 100.00 %").arg(text::fixed(double(m_model.total()) / 100.0, 2));
    }
    if (m_step->value() <= info->newest()->step) {
        return tr("Step %1 has passed; choose a later one").arg(text::count(m_step->value()));
    }
    if (info->totalSteps > 0 && m_step->value() > info->totalSteps) {
        return tr("The run ends at step %1").arg(text::count(info->totalSteps));
    }
    const auto length = m_reason->toPlainText().simplified().size();
    if (length < kReasonLength) {
        return length == 0 ? tr("Reason missing") : tr("Reason: %1 more").arg(text::counted(kReasonLength - length, tr("character"), tr("characters")));
    }
    return {};
}

void MixtureApplyBox::refresh() {
    const QString lacks = missing();
    m_missing->setText(lacks);
    m_missing->setVisible(!lacks.isEmpty());
    m_apply->setEnabled(lacks.isEmpty());
    m_apply->setAccessibleDescription(lacks);
    m_apply->setText(tr("Apply at step %1…").arg(text::count(m_step->value())));
    m_save->setEnabled(m_model.isChanged());
    const ipc::RunInfo* info = m_session.run(m_run);
    if (info == nullptr || info->newest() == nullptr) {
        m_stepNote->clear();
        return;
    }
    const qint64 ahead = m_step->value() - info->newest()->step;
    const double pace = secondsPerStep();
    QString note = ahead <= 0 ? tr("already trained") : pace > 0 ? tr("in %1 steps, about %2").arg(text::count(ahead), text::duration(pace * double(ahead))) : tr("in %1 steps").arg(text::count(ahead));
    if (ahead > 0 && info->checkpointEvery > 0 && (m_step->value() - 1) % info->checkpointEvery == 0) {
        note += tr(", after a checkpoint");
    }
    m_stepNote->setText(note);
}

void MixtureApplyBox::showLastOrder() {
    const ipc::Command* last = nullptr;
    for (const auto& command : m_session.commands()) {
        if (command.kind == ipc::CommandKind::SetMixture && QString::fromStdString(command.key.run) == m_run && (last == nullptr || command.requestedUs > last->requestedUs)) {
            last = &command;
        }
    }
    m_order->setVisible(last != nullptr);
    m_orderIcon->setVisible(last != nullptr);
    if (last == nullptr) {
        return;
    }
    const QString step = text::count(last->appliedStep >= 0 ? last->appliedStep : last->atStep), outcome = QString::fromStdString(last->outcome);
    ipc::Severity severity = ipc::Severity::Info;
    switch (last->state) {
    case ipc::CommandState::Requested: m_order->setText(tr("Sent; waiting for the daemon's answer.")); break;
    case ipc::CommandState::Accepted: m_order->setText(tr("Accepted: in force from step %1 on.").arg(step)); break;
    case ipc::CommandState::Applied:
        severity = ipc::Severity::Benign;
        m_order->setText(tr("Applied at step %1.").arg(step));
        break;
    case ipc::CommandState::Rejected:
    case ipc::CommandState::Failed:
        severity = ipc::Severity::Critical;
        m_order->setText((last->state == ipc::CommandState::Rejected ? tr("Refused: %1") : tr("Failed: %1")).arg(outcome));
        break;
    }
    m_orderIcon->setPixmap(severityPixmap(m_theme, int(severity)));
}

void MixtureApplyBox::openConfirmation() {
    if (!missing().isEmpty()) {
        return;
    }
    openMixtureDialog(this, m_session, m_theme, m_run, {m_model.current(), m_model.draft(), m_step->value(), m_reason->toPlainText()}, [this] {
        m_reason->clear();
        m_stepChosen = false;
        emit applied();
        showLastOrder();
        runMoved();
    });
}

} // namespace telehelm::app
