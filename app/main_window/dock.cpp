// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/dock.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QTabBar>
#include <QToolButton>

#include "widgets/panel.h"

namespace telehelm::app {

QToolButton* makeIconButton(ThemeController& theme, const char* icon, const QString& tip, QWidget* parent) {
    auto* button = new QToolButton(parent);
    button->setFixedSize(24, 24);
    button->setIconSize({14, 14});
    button->setToolTip(tip);
    button->setAccessibleName(tip);
    const QByteArray name(icon);
    const auto tint = [button, &theme, name] { button->setIcon(theme.icon(name.constData())); };
    tint();
    QObject::connect(&theme, &ThemeController::changed, button, tint);
    return button;
}

Dock::Dock(ThemeController& theme, const QString& objectName, const QString& title, bool floatAndClose, QWidget* parent)
    : QDockWidget(title, parent), m_theme(theme) {
    setObjectName(objectName);
    auto* bar = new QWidget(this);
    bar->setObjectName(QStringLiteral("dockTitle"));
    bar->setAttribute(Qt::WA_StyledBackground);
    bar->setFixedHeight(27);
    m_row = new QHBoxLayout(bar);
    m_row->setContentsMargins(0, 0, 4, 1);
    m_row->setSpacing(0);
    auto* word = makeLabel(theme, TextRole::PlotTitle, "", title, bar);
    word->setContentsMargins(10, 0, 0, 0);
    m_title = word;
    m_row->addWidget(m_title);
    m_row->addStretch(1);
    m_extras = new QHBoxLayout;
    m_extras->setSpacing(2);
    m_row->addLayout(m_extras);
    if (floatAndClose) {
        auto* floating = makeIconButton(theme, "float", tr("Float %1").arg(title), bar);
        auto* close = makeIconButton(theme, "close", tr("Close %1 (View menu brings it back)").arg(title), bar);
        connect(floating, &QToolButton::clicked, this, [this] { setFloating(!isFloating()); });
        connect(close, &QToolButton::clicked, this, &QDockWidget::close);
        m_row->addWidget(floating);
        m_row->addWidget(close);
    }
    setTitleBarWidget(bar);
}

void Dock::addToTitle(QWidget* widget) {
    widget->setParent(titleBarWidget());
    m_extras->addWidget(widget);
}

QTabBar* Dock::useTabs(const QStringList& titles) {
    auto* tabs = new QTabBar(titleBarWidget());
    tabs->setDrawBase(false);
    tabs->setExpanding(false);
    tabs->setFont(m_theme.font(TextRole::PlotTitle));
    for (const auto& title : titles)
        tabs->addTab(title);
    delete m_row->replaceWidget(m_title, tabs);
    delete m_title;
    m_title = tabs;
    return tabs;
}

} // namespace telehelm::app
