// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/note_dialog.h"

#include <algorithm>
#include <limits>

#include <QHBoxLayout>
#include <QLabel>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSpinBox>
#include <QVBoxLayout>

#include "widgets/panel.h"

namespace telehelm::app {

NoteDialog::NoteDialog(Session& session, ThemeController& theme, const QString& run, qint64 step) : ScrimDialog(theme), m_session(session), m_run(run) {
    setAccessibleName(tr("Add a note"));
    m_step = new QSpinBox(this);
    m_step->setObjectName(QStringLiteral("noteStep"));
    m_step->setAccessibleName(tr("Step of the note"));
    m_step->setRange(0, std::numeric_limits<int>::max());
    m_step->setGroupSeparatorShown(true);
    m_step->setFont(theme.font(TextRole::TableNumber));
    m_step->setValue(static_cast<int>(std::clamp<qint64>(step, 0, std::numeric_limits<int>::max())));
    m_text = new QPlainTextEdit(this);
    m_text->setObjectName(QStringLiteral("noteText"));
    m_text->setAccessibleName(tr("Text of the note"));
    m_text->setPlaceholderText(tr("What happened, in a sentence"));
    m_text->setFont(theme.font(TextRole::Body));
    m_text->setTabChangesFocus(true);
    m_text->setFixedHeight(64);
    auto* where = new QHBoxLayout;
    where->addWidget(makeLabel(theme, TextRole::Body, "", tr("At step"), this));
    where->addWidget(m_step);
    where->addStretch(1);
    m_missing = makeLabel(theme, TextRole::Caption, "quiet", {}, this);
    m_missing->setWordWrap(true);
    auto* cancel = makeButton(theme, "", "", tr("Cancel"), this, true);
    cancel->setDefault(true);
    m_add = makeButton(theme, "primary", "note", tr("Add note"), this, true);
    m_add->setObjectName(QStringLiteral("act"));
    auto* buttons = new QHBoxLayout;
    buttons->addWidget(m_missing, 1);
    buttons->addWidget(cancel);
    buttons->addWidget(m_add);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(20, 16, 20, 16);
    all->setSpacing(12);
    all->addWidget(makeLabel(theme, TextRole::WindowTitle, "", tr("Add a note to %1").arg(run), this));
    all->addLayout(where);
    all->addWidget(m_text);
    all->addLayout(buttons);
    connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
    connect(m_add, &QPushButton::clicked, this, &NoteDialog::send);
    connect(m_text, &QPlainTextEdit::textChanged, this, &NoteDialog::refresh);
    connect(&session, &Session::controlLinkChanged, this, &NoteDialog::refresh);
    connect(&session, &Session::noteAdded, this, [this](JobId job) {
        if (job == m_job)
            accept();
    });
    connect(&session, &Session::jobFailed, this, [this](JobId job, const Error& error) {
        if (job != m_job)
            return;
        m_job = 0;
        refresh();
        m_missing->setText(tr("The note was not stored. %1").arg(QString::fromStdString(error.text())));
    });
    refresh();
    m_text->setFocus();
}

void NoteDialog::refresh() {
    const bool up = m_session.controlLink().state == LinkState::Up, empty = m_text->toPlainText().trimmed().isEmpty();
    m_missing->setText(!up ? tr("The control link is down") : empty ? tr("Text missing") : QString());
    m_add->setEnabled(up && !empty && m_job == 0);
}

void NoteDialog::send() {
    ipc::Event note;
    note.kind = ipc::EventKind::Note;
    note.severity = ipc::Severity::Info;
    note.key.run = m_run.toStdString();
    note.step = m_step->value();
    note.wallUs = ipc::nowUs();
    note.text = m_text->toPlainText().simplified().toStdString();
    m_job = m_session.addNote(std::move(note));
    m_add->setEnabled(false);
}

void openNoteDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run, qint64 step) {
    if (Scrim::openDialog(parent) == nullptr)
        Scrim::open(parent, new NoteDialog(session, theme, run, step), theme);
}

} // namespace telehelm::app
