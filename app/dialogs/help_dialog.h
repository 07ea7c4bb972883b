// SPDX-License-Identifier: GPL-3.0-or-later
// F1: what the mouse and the keys do. GUI thread only.
#pragma once

#include "dialogs/scrim.h"

namespace telehelm::app {

class HelpDialog : public ScrimDialog {
    Q_OBJECT
public:
    explicit HelpDialog(ThemeController& theme);
    [[nodiscard]] QSize wantedSize() const override { return {880, sizeHint().height()}; }
};

/// Opens it over the window of `parent`, unless another dialog is open.
void openHelpDialog(QWidget* parent, ThemeController& theme);

} // namespace telehelm::app
