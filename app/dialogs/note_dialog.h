// SPDX-License-Identifier: GPL-3.0-or-later
// A note at a step of a run: a flag on the plots and a row among the events, for all who watch. GUI thread only.
#pragma once

#include "dialogs/scrim.h"
#include "session/session.h"

class QLabel;
class QPlainTextEdit;
class QPushButton;
class QSpinBox;

namespace telehelm::app {

class NoteDialog : public ScrimDialog {
    Q_OBJECT
public:
    NoteDialog(Session& session, ThemeController& theme, const QString& run, qint64 step);
    [[nodiscard]] QSize wantedSize() const override { return {480, sizeHint().height()}; }

private:
    void refresh();
    void send();
    Session& m_session;
    const QString m_run;
    QSpinBox* m_step;
    QPlainTextEdit* m_text;
    QLabel* m_missing;
    QPushButton* m_add;
    JobId m_job = 0;
};

/// Opens it over the window of `parent`, unless another dialog is open.
void openNoteDialog(QWidget* parent, Session& session, ThemeController& theme, const QString& run, qint64 step);

} // namespace telehelm::app
