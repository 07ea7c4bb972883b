// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/panel.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QStyle>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

Panel::Panel(ThemeController& theme, const QString& title, QWidget* parent) : QFrame(parent), m_theme(theme) {
    setObjectName(QStringLiteral("panel"));
    auto* bar = new QWidget(this);
    bar->setObjectName(QStringLiteral("dockTitle"));
    bar->setAttribute(Qt::WA_StyledBackground);
    bar->setFixedHeight(27);
    m_titleBar = new QHBoxLayout(bar);
    m_titleBar->setContentsMargins(10, 0, 10, 0);
    m_titleBar->setSpacing(8);
    m_title = makeLabel(theme, TextRole::PlotTitle, "", title, bar);
    m_count = makeLabel(theme, TextRole::CaptionNumber, "", {}, bar);
    m_count->hide();
    m_remark = makeLabel(theme, TextRole::Caption, "quiet", {}, bar);
    m_titleBar->addWidget(m_title);
    m_titleBar->addWidget(m_count, 0, Qt::AlignVCenter);
    m_titleBar->addWidget(m_remark);
    m_titleBar->addStretch(1);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(0, 0, 0, 0);
    all->setSpacing(0);
    all->addWidget(bar);
    m_content = new QVBoxLayout;
    m_content->setContentsMargins(0, 0, 0, 0);
    m_content->setSpacing(0);
    all->addLayout(m_content, 1);
    connect(&theme, &ThemeController::changed, this, &Panel::restyle);
    restyle();
}

void Panel::setTitle(const QString& title) { m_title->setText(title); }

void Panel::setCount(int count) {
    m_count->setVisible(count >= 0);
    m_count->setText(QString::number(count));
}

void Panel::setRemark(const QString& remark) { m_remark->setText(remark); }

void Panel::restyle() {
    m_count->setStyleSheet(QStringLiteral("QLabel { background: %1; color: %2; border-radius: 7px; padding: 0 5px; }")
                               .arg(m_theme.theme().hover.name(), m_theme.theme().tx.name()));
}

QLabel* makeLabel(ThemeController& theme, TextRole textRole, const char* role, const QString& text, QWidget* parent) {
    auto* label = new QLabel(text, parent);
    label->setFont(theme.font(textRole));
    label->setProperty("role", QString::fromLatin1(role));
    QObject::connect(&theme, &ThemeController::changed, label, [label, &theme, textRole] { label->setFont(theme.font(textRole)); });
    return label;
}

QPushButton* makeButton(ThemeController& theme, const char* kind, const char* icon, const QString& text, QWidget* parent, bool dialogSize) {
    auto* button = new QPushButton(text, parent);
    button->setProperty("kind", QString::fromLatin1(kind));
    if (dialogSize) {
        button->setProperty("size", QStringLiteral("dialog"));
    }
    button->setAutoDefault(false);
    const QString kindName = QString::fromLatin1(kind);
    const QByteArray iconName(icon);
    const auto tint = [button, &theme, kindName, iconName] {
        button->setFont(theme.font(TextRole::Body));
        if (!iconName.isEmpty()) {
            const Theme& colours = theme.theme();
            const QColor colour = kindName == QLatin1String("dangerSolid") ? colours.onSolid
                                  : kindName == QLatin1String("danger")    ? colours.crit
                                  : kindName == QLatin1String("primary")   ? colours.accentTx
                                                                           : colours.tx;
            button->setIcon(theme.icon(iconName.constData(), colour));
        }
    };
    tint();
    QObject::connect(&theme, &ThemeController::changed, button, tint);
    return button;
}

void setRole(QWidget* widget, const char* role) {
    widget->setProperty("role", QString::fromLatin1(role));
    widget->style()->unpolish(widget);
    widget->style()->polish(widget);
}

QPixmap severityPixmap(const ThemeController& theme, int severity, int size) {
    using Shape = ThemeController::SeverityShape;
    switch (static_cast<ipc::Severity>(severity)) {
    case ipc::Severity::Critical: return theme.severityIcon(Shape::Critical).pixmap(size, size);
    case ipc::Severity::Warning: return theme.severityIcon(Shape::Warning).pixmap(size, size);
    case ipc::Severity::Benign: return theme.severityIcon(Shape::Benign).pixmap(size, size);
    case ipc::Severity::Info: return theme.severityIcon(Shape::Note).pixmap(size, size);
    }
    return {};
}

} // namespace telehelm::app
