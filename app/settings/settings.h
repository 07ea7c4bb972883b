// SPDX-License-Identifier: GPL-3.0-or-later
// What the operator chose, as plain values in QSettings (XDG config folder, or whatever the program set up). GUI thread only.
#pragma once

#include <QString>

#include "theme/theme.h"

namespace telehelm::app {

struct Settings {
    ThemeChoice theme = ThemeChoice::Dark;
    int textScale = 100;      // percent: 100, 112, 125, 150
    QString operatorName;     // empty: $USER
    double smoothing = 0.99;  // EMA weight that plots start with
    bool operator==(const Settings&) const = default;
};

[[nodiscard]] Settings loadSettings();
void saveSettings(const Settings& settings);

} // namespace telehelm::app
