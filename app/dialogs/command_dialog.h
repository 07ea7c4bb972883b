// SPDX-License-Identifier: GPL-3.0-or-later
// What every dialog that gives an order has: a heading, the missing item named beside the button, who signs, the daemon's answer
// (a refusal keeps the dialog open with its sentence, an acceptance closes it). GUI thread only.
#pragma once

#include "dialogs/scrim.h"
#include "session/session.h"

class QLabel;
class QPlainTextEdit;
class QPushButton;
class QVBoxLayout;

namespace telehelm::app {

/// Reasons for stop, restart and mixture need this many characters (design.md, section 13).
inline constexpr int kReasonLength = 12;

class CommandDialog : public ScrimDialog {
    Q_OBJECT
public:
    struct Heading {
        const char* icon;
        QString title, subtitle;
    };
    struct Act {
        const char* icon;
        const char* kind; // "primary" or "dangerSolid"
        QString text;
    };
    CommandDialog(Session& session, ThemeController& theme, QString run, Heading heading);

    [[nodiscard]] QPushButton* actButton() const { return m_act; }
    [[nodiscard]] QString refusal() const;

protected:
    [[nodiscard]] QVBoxLayout* body() const { return m_body; }
    [[nodiscard]] Session& session() const { return m_session; }
    [[nodiscard]] const QString& runName() const { return m_run; }
    [[nodiscard]] const ipc::RunInfo* run() const { return m_session.run(m_run); }

    void setAct(const Act& act);
    /// A reason field of three lines; `required`: at least kReasonLength characters.
    QPlainTextEdit* addReason(QVBoxLayout* layout, const QString& caption, bool required);
    [[nodiscard]] QString reason() const;
    /// What keeps the button off, said in words; empty: nothing does.
    [[nodiscard]] virtual QString missing() const;
    [[nodiscard]] virtual ipc::Command command() const = 0;
    /// The run moved on while the dialog is open.
    virtual void runMoved() {}
    /// To call whenever a field changed.
    void refresh();
    /// Puts the footer under what body() has; last call of a constructor.
    void finishLayout(QVBoxLayout* where);

    void keyPressEvent(QKeyEvent* event) override;

private:
    void buildHead(const Heading& heading);
    void submit();
    void answered(const ipc::Command& command);
    void showRefusal(const QString& sentence);

    Session& m_session;
    QString m_run;
    QVBoxLayout* m_body = nullptr;
    QLabel *m_signed = nullptr, *m_missing = nullptr, *m_refusal = nullptr;
    QWidget* m_refusalRow = nullptr;
    QPushButton *m_cancel = nullptr, *m_act = nullptr;
    QPlainTextEdit* m_reason = nullptr;
    bool m_reasonRequired = false;
    JobId m_job = 0;
};

} // namespace telehelm::app
