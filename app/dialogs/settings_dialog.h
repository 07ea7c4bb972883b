// SPDX-License-Identifier: GPL-3.0-or-later
// Theme, text size, operator's name, smoothing of new plots. Changes show at once; Cancel takes them back. GUI thread only.
#pragma once

#include <functional>

#include "dialogs/scrim.h"
#include "settings/settings.h"

class QComboBox;
class QDoubleSpinBox;
class QLineEdit;

namespace telehelm::app {

class SettingsDialog : public ScrimDialog {
    Q_OBJECT
public:
    using Apply = std::function<void(const Settings&)>;
    SettingsDialog(ThemeController& theme, const Settings& settings, const QString& defaultOperator, Apply apply);
    [[nodiscard]] QSize wantedSize() const override { return {480, sizeHint().height()}; }

protected:
    void done(int result) override;

private:
    [[nodiscard]] Settings chosen() const;
    QComboBox *m_themeChoice, *m_textScale;
    QLineEdit* m_operator;
    QDoubleSpinBox* m_smoothing;
    Settings m_before;
    Apply m_apply;
};

/// Opens it over the window of `parent`. `apply` is called for each change and, on Cancel, with what was before; saving is done here.
void openSettingsDialog(QWidget* parent, ThemeController& theme, const Settings& settings, const QString& defaultOperator, SettingsDialog::Apply apply);

} // namespace telehelm::app
