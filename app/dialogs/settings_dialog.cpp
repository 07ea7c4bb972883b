// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/settings_dialog.h"

#include <QComboBox>
#include <QDoubleSpinBox>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>

#include "widgets/panel.h"

namespace telehelm::app {

SettingsDialog::SettingsDialog(ThemeController& theme, const Settings& settings, const QString& defaultOperator, Apply apply)
    : ScrimDialog(theme), m_before(settings), m_apply(std::move(apply)) {
    setAccessibleName(tr("Settings"));
    m_themeChoice = new QComboBox(this);
    m_themeChoice->addItems({tr("Dark"), tr("Light"), tr("Follow the system")});
    m_themeChoice->setCurrentIndex(static_cast<int>(settings.theme));
    m_textScale = new QComboBox(this);
    for (const int percent : {100, 112, 125, 150}) {
        m_textScale->addItem(tr("%1 %").arg(percent), percent);
    }
    m_textScale->setCurrentIndex(m_textScale->findData(settings.textScale));
    m_operator = new QLineEdit(settings.operatorName, this);
    m_operator->setPlaceholderText(defaultOperator);
    m_smoothing = new QDoubleSpinBox(this);
    m_smoothing->setRange(0, 0.999);
    m_smoothing->setDecimals(3);
    m_smoothing->setSingleStep(0.01);
    m_smoothing->setValue(settings.smoothing);
    auto* form = new QFormLayout;
    form->setVerticalSpacing(10);
    form->setHorizontalSpacing(24);
    const std::pair<QString, QWidget*> rows[] = {{tr("Theme"), m_themeChoice}, {tr("Text size"), m_textScale}, {tr("Operator name"), m_operator}, {tr("Smoothing of plots"), m_smoothing}};
    for (const auto& [name, field] : rows) {
        field->setFont(theme.font(TextRole::Body));
        field->setAccessibleName(name);
        form->addRow(makeLabel(theme, TextRole::Body, "", name, this), field);
    }
    auto* cancel = makeButton(theme, "", "", tr("Cancel"), this, true);
    auto* save = makeButton(theme, "primary", "", tr("Save settings"), this, true);
    save->setObjectName(QStringLiteral("save"));
    cancel->setDefault(true);
    auto* buttons = new QHBoxLayout;
    buttons->addWidget(makeLabel(theme, TextRole::Caption, "quiet", tr("The operator's name signs every order in the audit log."), this), 1);
    buttons->addWidget(cancel);
    buttons->addWidget(save);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(20, 16, 20, 16);
    all->setSpacing(16);
    all->addWidget(makeLabel(theme, TextRole::WindowTitle, "", tr("Settings"), this));
    all->addLayout(form);
    all->addLayout(buttons);
    const auto show = [this] { m_apply(chosen()); };
    connect(m_themeChoice, &QComboBox::currentIndexChanged, this, show);
    connect(m_textScale, &QComboBox::currentIndexChanged, this, show);
    connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
    connect(save, &QPushButton::clicked, this, &QDialog::accept);
}

Settings SettingsDialog::chosen() const {
    return {static_cast<ThemeChoice>(m_themeChoice->currentIndex()), m_textScale->currentData().toInt(), m_operator->text().trimmed(), m_smoothing->value()};
}

void SettingsDialog::done(int result) {
    if (result == QDialog::Accepted) {
        saveSettings(chosen());
        m_apply(chosen());
    } else {
        m_apply(m_before);
    }
    ScrimDialog::done(result);
}

void openSettingsDialog(QWidget* parent, ThemeController& theme, const Settings& settings, const QString& defaultOperator, SettingsDialog::Apply apply) {
    if (Scrim::openDialog(parent) == nullptr) {
        Scrim::open(parent, new SettingsDialog(theme, settings, defaultOperator, std::move(apply)), theme);
    }
}

} // namespace telehelm::app
