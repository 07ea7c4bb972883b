// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/scrim.h"

#include <algorithm>

#include <QApplication>
#include <QEvent>
#include <QMouseEvent>
#include <QPainter>

namespace telehelm::app {

ScrimDialog::ScrimDialog(ThemeController& theme) : m_theme(theme) {
    setAttribute(Qt::WA_StyledBackground);
    connect(&theme, &ThemeController::changed, this, &ScrimDialog::restyle);
    restyle();
}

void ScrimDialog::restyle() {
    setObjectName(QStringLiteral("scrimDialog"));
    const Theme& colours = m_theme.theme();
    setStyleSheet(QStringLiteral("QDialog#scrimDialog { background: %1; border: 1px solid %2; border-radius: 5px; }"
                                 "QWidget#dialogHead { background: %3; border-bottom: 1px solid %4; border-top-left-radius: 5px; border-top-right-radius: 5px; }")
                      .arg(colours.panel.name(), colours.line2.name(), colours.raised.name(), colours.line.name()));
}

bool ScrimDialog::focusNextPrevChild(bool next) {
    QWidget* const start = focusWidget() != nullptr ? focusWidget() : this;
    for (QWidget* w = next ? start->nextInFocusChain() : start->previousInFocusChain(); w != start; w = next ? w->nextInFocusChain() : w->previousInFocusChain()) {
        if (isAncestorOf(w) && w->isEnabled() && w->isVisibleTo(this) && (w->focusPolicy() & Qt::TabFocus) == Qt::TabFocus) {
            w->setFocus(next ? Qt::TabFocusReason : Qt::BacktabFocusReason);
            return true;
        }
    }
    return true; // nothing else inside: stay, never leave for the window behind
}

ScrimDialog* Scrim::openDialog(QWidget* parent) {
    for (const auto* scrim : parent->window()->findChildren<Scrim*>(QString(), Qt::FindDirectChildrenOnly))
        if (scrim->m_dialog != nullptr) // one whose dialog is done waits to be deleted
            return scrim->m_dialog;
    return nullptr;
}

void Scrim::open(QWidget* parent, ScrimDialog* dialog, ThemeController& theme) {
    auto* scrim = new Scrim(parent->window(), dialog, theme);
    scrim->show();
    scrim->raise();
    dialog->open();
    scrim->place();
    if (dialog->focusWidget() != nullptr) {
        dialog->focusWidget()->setFocus(Qt::OtherFocusReason);
    } else {
        dialog->setFocus(Qt::OtherFocusReason);
    }
}

Scrim::Scrim(QWidget* window, ScrimDialog* dialog, ThemeController& theme)
    : QWidget(window), m_theme(theme), m_dialog(dialog), m_focusBefore(QApplication::focusWidget()) {
    setObjectName(QStringLiteral("scrim"));
    dialog->setParent(this, Qt::Widget);
    dialog->setAttribute(Qt::WA_DeleteOnClose, false);
    window->installEventFilter(this);
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
    connect(dialog, &QDialog::finished, this, [this] {
        m_dialog = nullptr;
        hide();
        deleteLater();
        if (m_focusBefore != nullptr) {
            m_focusBefore->setFocus(Qt::OtherFocusReason);
        }
    });
    place();
}

void Scrim::place() {
    setGeometry(parentWidget()->rect());
    if (m_dialog != nullptr) {
        const QSize room = size() - QSize(8, 8);
        const QSize wanted = m_dialog->wantedSize().expandedTo(m_dialog->minimumSizeHint()).boundedTo(room);
        m_dialog->resize(wanted);
        m_dialog->move((width() - m_dialog->width()) / 2, m_dialog->atTop() ? std::min(110, height() / 8) : (height() - m_dialog->height()) / 2);
    }
}

void Scrim::paintEvent(QPaintEvent*) { QPainter(this).fillRect(rect(), m_theme.theme().scrim); }

void Scrim::mousePressEvent(QMouseEvent* event) {
    event->accept(); // the window behind does not see it
    if (m_dialog != nullptr && m_dialog->atTop()) {
        m_dialog->reject();
    }
}

bool Scrim::eventFilter(QObject* watched, QEvent* event) {
    if (watched == parentWidget() && event->type() == QEvent::Resize) {
        place();
    }
    return QWidget::eventFilter(watched, event);
}

} // namespace telehelm::app
