// SPDX-License-Identifier: GPL-3.0-or-later
// The form that sends a draft mixture: step, reason, what is still missing, and what became of the last order. GUI thread only.
#pragma once

#include "dialogs/mixture_dialog.h"
#include "models/mixture_model.h"
#include "session/session.h"
#include "theme/theme.h"

#include <QWidget>

class QLabel;
class QPlainTextEdit;
class QPushButton;
class QSpinBox;

namespace telehelm::app {

class MixtureApplyBox : public QWidget {
    Q_OBJECT
public:
    MixtureApplyBox(Session& session, ThemeController& theme, MixtureModel& model, QWidget* parent);
    void setRun(const QString& run);
    /// The run moved on.
    void runMoved();
    [[nodiscard]] qint64 applyStep() const;
    [[nodiscard]] QPushButton* applyButton() const { return m_apply; }
    [[nodiscard]] QString missing() const;

signals:
    void saveDraftRequested();
    void applied(); // the daemon accepted the order
    void applyStepChanged(qint64 step);

private:
    QWidget* buildWarning();
    void refresh();
    void showLastOrder();
    void openConfirmation();
    [[nodiscard]] double secondsPerStep() const;

    Session& m_session;
    ThemeController& m_theme;
    MixtureModel& m_model;
    QString m_run;
    QSpinBox* m_step;
    QLabel *m_stepNote, *m_missing, *m_signed, *m_order, *m_orderIcon;
    QPlainTextEdit* m_reason;
    QPushButton *m_save, *m_apply;
    bool m_stepChosen = false; // by the operator; else it keeps ahead of the run
};

} // namespace telehelm::app
