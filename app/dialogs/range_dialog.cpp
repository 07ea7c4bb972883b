// SPDX-License-Identifier: GPL-3.0-or-later
#include "dialogs/range_dialog.h"

#include <QCheckBox>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QVBoxLayout>

#include "widgets/panel.h"

namespace telehelm::app {

RangeDialog::RangeDialog(ThemeController& theme, const QString& plot, const PlotRanges& ranges, Readable readable, Apply apply)
    : ScrimDialog(theme), m_positiveY(ranges.positiveY), m_readable(std::move(readable)), m_apply(std::move(apply)) {
    setAccessibleName(tr("Set range"));
    const auto field = [&](const char* name, const QString& text, const QString& accessible) {
        auto* edit = new QLineEdit(text, this);
        edit->setObjectName(QLatin1String(name));
        edit->setAccessibleName(accessible);
        edit->setFont(theme.font(TextRole::TableNumber));
        connect(edit, &QLineEdit::textChanged, this, &RangeDialog::refresh);
        return edit;
    };
    m_missing = makeLabel(theme, TextRole::Caption, "quiet", {}, this);
    m_set = makeButton(theme, "primary", "", tr("Set range"), this, true);
    m_set->setObjectName(QStringLiteral("act"));
    m_automatic = new QCheckBox(tr("automatic"), this);
    m_automatic->setObjectName(QStringLiteral("automaticY"));
    m_automatic->setFont(theme.font(TextRole::Body));
    m_automatic->setChecked(ranges.automaticY);
    m_x = field("rangeX", ranges.x, tr("Range of the x axis"));
    m_low = field("rangeLow", QString::number(ranges.y.first, 'g', 6), tr("Lowest value"));
    m_high = field("rangeHigh", QString::number(ranges.y.second, 'g', 6), tr("Highest value"));
    auto* values = new QHBoxLayout;
    values->addWidget(m_low);
    values->addWidget(makeLabel(theme, TextRole::Body, "quiet", QStringLiteral("–"), this));
    values->addWidget(m_high);
    values->addWidget(m_automatic);
    auto* form = new QFormLayout;
    form->setVerticalSpacing(10);
    form->setHorizontalSpacing(24);
    form->addRow(makeLabel(theme, TextRole::Body, "", tr("x axis"), this), m_x);
    form->addRow(makeLabel(theme, TextRole::Body, "", tr("Values"), this), values);
    auto* cancel = makeButton(theme, "", "", tr("Cancel"), this, true);
    auto* buttons = new QHBoxLayout;
    buttons->addWidget(m_missing, 1);
    buttons->addWidget(cancel);
    buttons->addWidget(m_set);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(20, 16, 20, 16);
    all->setSpacing(14);
    all->addWidget(makeLabel(theme, TextRole::WindowTitle, "", tr("Range of %1").arg(plot), this));
    all->addLayout(form);
    all->addLayout(buttons);
    m_set->setDefault(true);
    connect(m_automatic, &QCheckBox::toggled, this, &RangeDialog::refresh);
    connect(cancel, &QPushButton::clicked, this, &QDialog::reject);
    connect(m_set, &QPushButton::clicked, this, &QDialog::accept);
    refresh();
}

QString RangeDialog::missing() const {
    if (!m_readable(m_x->text()))
        return tr("The x axis wants two ends, such as %1").arg(QStringLiteral("100 – 200"));
    if (m_automatic->isChecked())
        return {};
    bool lowOk = false, highOk = false;
    const double low = m_low->text().toDouble(&lowOk), high = m_high->text().toDouble(&highOk);
    if (!lowOk || !highOk)
        return tr("The values want two numbers");
    if (low >= high)
        return tr("The first value must be lower");
    return m_positiveY && low <= 0 ? tr("A log axis begins above 0") : QString();
}

void RangeDialog::refresh() {
    if (m_missing == nullptr || m_high == nullptr)
        return;
    m_low->setEnabled(!m_automatic->isChecked());
    m_high->setEnabled(!m_automatic->isChecked());
    const QString why = missing();
    m_missing->setText(why);
    m_set->setEnabled(why.isEmpty());
}

void RangeDialog::done(int result) {
    if (result == QDialog::Accepted)
        m_apply(m_x->text(), m_automatic->isChecked() ? std::nullopt : std::optional(std::pair(m_low->text().toDouble(), m_high->text().toDouble())));
    ScrimDialog::done(result);
}

void openRangeDialog(QWidget* parent, ThemeController& theme, const QString& plot, const PlotRanges& ranges, RangeDialog::Readable readable,
                     RangeDialog::Apply apply) {
    if (Scrim::openDialog(parent) == nullptr)
        Scrim::open(parent, new RangeDialog(theme, plot, ranges, std::move(readable), std::move(apply)), theme);
}

} // namespace telehelm::app
