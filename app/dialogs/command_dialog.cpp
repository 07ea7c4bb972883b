// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/command_dialog.h"

#include <QAccessible>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSysInfo>
#include <QToolButton>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {

CommandDialog::CommandDialog(Session& session, ThemeController& theme, QString run, Heading heading)
    : ScrimDialog(theme), m_session(session), m_run(std::move(run)) {
    setWindowTitle(heading.title);
    setAccessibleName(heading.title);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(1, 1, 1, 1);
    all->setSpacing(0);
    buildHead(heading);
    m_body = new QVBoxLayout;
    m_body->setContentsMargins(20, 16, 20, 16);
    m_body->setSpacing(10);
    all->addLayout(m_body, 1);
    connect(&session, &Session::commandAnswered, this, [this](JobId job, const ipc::Command& command) {
        if (job == m_job) {
            answered(command);
        }
    });
    connect(&session, &Session::jobFailed, this, [this](JobId job, const Error& error) {
        if (job == m_job && m_job != 0) {
            showRefusal(tr("Not sent: %1").arg(QString::fromStdString(error.text())));
        }
    });
    connect(&session, &Session::runChanged, this, [this](const QString& changed) {
        if (changed == m_run) {
            runMoved();
            refresh();
        }
    });
    connect(&session, &Session::controlLinkChanged, this, &CommandDialog::refresh);
}

void CommandDialog::buildHead(const Heading& heading) {
    auto* head = new QWidget(this);
    head->setObjectName(QStringLiteral("dialogHead"));
    head->setAttribute(Qt::WA_StyledBackground);
    auto* icon = new QLabel(head);
    const QByteArray iconName(heading.icon);
    const auto tint = [icon, iconName, this] { icon->setPixmap(m_theme.icon(iconName.constData(), m_theme.theme().tx).pixmap(18, 18)); };
    tint();
    connect(&m_theme, &ThemeController::changed, icon, tint);
    auto* words = new QVBoxLayout;
    words->setSpacing(1);
    words->addWidget(makeLabel(m_theme, TextRole::WindowTitle, "", heading.title, head));
    auto* subtitle = makeLabel(m_theme, TextRole::Body, "secondary", heading.subtitle, head);
    subtitle->setWordWrap(true);
    words->addWidget(subtitle);
    auto* close = new QToolButton(head);
    close->setIcon(m_theme.icon("close"));
    close->setAccessibleName(tr("Cancel"));
    close->setToolTip(tr("Cancel (Esc)"));
    close->setFixedSize(26, 26);
    close->setFocusPolicy(Qt::NoFocus);
    connect(close, &QToolButton::clicked, this, &QDialog::reject);
    auto* row = new QHBoxLayout(head);
    row->setContentsMargins(16, 10, 12, 10);
    row->setSpacing(10);
    row->addWidget(icon, 0, Qt::AlignTop);
    row->addLayout(words, 1);
    row->addWidget(close, 0, Qt::AlignTop);
    static_cast<QVBoxLayout*>(layout())->addWidget(head);
}

void CommandDialog::setAct(const Act& act) {
    if (m_act == nullptr) {
        m_act = makeButton(m_theme, act.kind, act.icon, act.text, this, true);
        m_act->setObjectName(QStringLiteral("act"));
        connect(m_act, &QPushButton::clicked, this, &CommandDialog::submit);
    }
    m_act->setText(act.text);
    m_act->setAccessibleName(act.text);
}

QPlainTextEdit* CommandDialog::addReason(QVBoxLayout* layout, const QString& caption, bool required) {
    auto* row = new QHBoxLayout;
    row->setSpacing(6);
    row->addWidget(makeLabel(m_theme, TextRole::Section, "", caption, this));
    row->addWidget(makeLabel(m_theme, TextRole::Caption, "quiet",
                             required ? tr("required, at least %1 characters, goes to the audit log").arg(kReasonLength) : tr("optional, goes to the audit log"), this));
    row->addStretch(1);
    layout->addLayout(row);
    m_reason = new QPlainTextEdit(this);
    m_reason->setObjectName(QStringLiteral("reason"));
    m_reason->setAccessibleName(tr("Reason"));
    m_reason->setFont(m_theme.font(TextRole::Body));
    m_reason->setTabChangesFocus(true);
    m_reason->setFixedHeight(60);
    m_reasonRequired = required;
    layout->addWidget(m_reason);
    connect(m_reason, &QPlainTextEdit::textChanged, this, &CommandDialog::refresh);
    return m_reason;
}

QString CommandDialog::reason() const { return m_reason == nullptr ? QString() : m_reason->toPlainText().simplified(); }

QString CommandDialog::missing() const {
    if (run() == nullptr) {
        return tr("The daemon no longer knows this run.");
    }
    if (m_session.controlLink().state != LinkState::Up) {
        return tr("The control link is down; the order cannot be sent.");
    }
    const auto length = reason().size();
    if (m_reasonRequired && length < kReasonLength) {
        return length == 0 ? tr("Reason missing") : tr("Reason: %1 more").arg(text::counted(kReasonLength - length, tr("character"), tr("characters")));
    }
    return {};
}

void CommandDialog::refresh() {
    if (m_act == nullptr || m_missing == nullptr) {
        return;
    }
    const QString lacks = missing();
    m_missing->setText(m_job != 0 ? tr("Waiting for the daemon's answer…") : lacks);
    m_missing->setVisible(!m_missing->text().isEmpty());
    m_act->setEnabled(m_job == 0 && lacks.isEmpty());
    m_act->setAccessibleDescription(lacks);
}

void CommandDialog::finishLayout(QVBoxLayout* where) {
    m_refusalRow = new QWidget(this);
    auto* shape = new QLabel(m_refusalRow);
    shape->setPixmap(severityPixmap(m_theme, int(ipc::Severity::Critical)));
    m_refusal = makeLabel(m_theme, TextRole::Body, "crit", {}, m_refusalRow);
    m_refusal->setObjectName(QStringLiteral("refusal"));
    m_refusal->setWordWrap(true);
    m_refusal->setTextInteractionFlags(Qt::TextSelectableByMouse);
    auto* refusal = new QHBoxLayout(m_refusalRow);
    refusal->setContentsMargins(0, 0, 0, 0);
    refusal->setSpacing(8);
    refusal->addWidget(shape, 0, Qt::AlignTop);
    refusal->addWidget(m_refusal, 1);
    m_refusalRow->hide();
    where->addWidget(m_refusalRow);

    auto* words = new QVBoxLayout;
    words->setSpacing(1);
    m_missing = makeLabel(m_theme, TextRole::Caption, "warn", {}, this);
    m_missing->setObjectName(QStringLiteral("missing"));
    m_signed = makeLabel(m_theme, TextRole::Caption, "quiet", tr("Signed as %1 on %2").arg(m_session.operatorName(), QSysInfo::machineHostName()), this);
    words->addWidget(m_missing);
    words->addWidget(m_signed);
    m_cancel = makeButton(m_theme, "", "", tr("Cancel"), this, true);
    m_cancel->setObjectName(QStringLiteral("cancel"));
    m_cancel->setAutoDefault(true);
    m_cancel->setDefault(true);
    connect(m_cancel, &QPushButton::clicked, this, &QDialog::reject);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    row->addLayout(words, 1);
    row->addWidget(m_cancel);
    row->addWidget(m_act);
    where->addLayout(row);
    QWidget* first = m_reason != nullptr ? static_cast<QWidget*>(m_reason) : m_cancel;
    first->setFocus();
    refresh();
}

void CommandDialog::submit() {
    if (m_job != 0 || !missing().isEmpty()) {
        return;
    }
    m_refusalRow->hide();
    ipc::Command order = command();
    order.key.run = m_run.toStdString();
    order.reason = reason().toStdString();
    m_job = m_session.submit(std::move(order));
    refresh();
}

void CommandDialog::answered(const ipc::Command& command) {
    const bool refused = command.state == ipc::CommandState::Rejected || command.state == ipc::CommandState::Failed;
    if (refused) {
        showRefusal((command.state == ipc::CommandState::Rejected ? tr("Refused: %1") : tr("Failed: %1")).arg(QString::fromStdString(command.outcome)));
        return;
    }
    m_job = 0;
    accept();
}

void CommandDialog::showRefusal(const QString& sentence) {
    m_job = 0;
    m_refusal->setText(sentence);
    m_refusalRow->show();
    refresh();
    QAccessibleEvent alert(m_refusal, QAccessible::Alert);
    QAccessible::updateAccessibility(&alert);
}

QString CommandDialog::refusal() const { return m_refusalRow != nullptr && m_refusalRow->isVisibleTo(this) ? m_refusal->text() : QString(); }

void CommandDialog::keyPressEvent(QKeyEvent* event) {
    if (event->key() == Qt::Key_Escape) {
        reject();
        return;
    }
    ScrimDialog::keyPressEvent(event);
}

} // namespace telehelm::app
