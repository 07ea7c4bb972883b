// SPDX-License-Identifier: GPL-3.0-or-later
#include "settings/settings.h"

#include <algorithm>

#include <QSettings>

namespace telehelm::app {

namespace {

const char* const kThemes[] = {"dark", "light", "system"};

} // namespace

Settings loadSettings() {
    const QSettings store;
    Settings settings;
    const QString theme = store.value(QStringLiteral("look/theme")).toString();
    for (int i = 0; i < 3; ++i) {
        if (theme == QLatin1String(kThemes[i])) {
            settings.theme = static_cast<ThemeChoice>(i);
        }
    }
    const int scale = store.value(QStringLiteral("look/text_percent"), settings.textScale).toInt();
    if (scale == 100 || scale == 112 || scale == 125 || scale == 150) {
        settings.textScale = scale;
    }
    settings.operatorName = store.value(QStringLiteral("operator/name")).toString();
    settings.smoothing = std::clamp(store.value(QStringLiteral("plots/smoothing"), settings.smoothing).toDouble(), 0.0, 0.999);
    return settings;
}

void saveSettings(const Settings& settings) {
    QSettings store;
    store.setValue(QStringLiteral("look/theme"), QLatin1String(kThemes[static_cast<int>(settings.theme)]));
    store.setValue(QStringLiteral("look/text_percent"), settings.textScale);
    store.setValue(QStringLiteral("operator/name"), settings.operatorName);
    store.setValue(QStringLiteral("plots/smoothing"), settings.smoothing);
}

} // namespace telehelm::app
