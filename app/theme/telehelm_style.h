// SPDX-License-Identifier: GPL-3.0-or-later
// Fusion with the small parts that a style sheet cannot tint: check and radio marks, branch and spin arrows, focus ring. GUI thread.
#pragma once

#include <QPointer>
#include <QProxyStyle>

#include "theme/theme.h"

namespace telehelm::app {

class TelehelmStyle : public QProxyStyle {
    Q_OBJECT
public:
    explicit TelehelmStyle(const ThemeController& theme);
    void drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter, const QWidget* widget) const override;
    int pixelMetric(PixelMetric metric, const QStyleOption* option, const QWidget* widget) const override;
    int styleHint(StyleHint hint, const QStyleOption* option, const QWidget* widget, QStyleHintReturn* data) const override;

private:
    void drawCheckBox(const QStyleOption& option, QPainter& painter) const;
    void drawRadio(const QStyleOption& option, QPainter& painter) const;
    void drawGlyph(const char* name, const QStyleOption& option, QPainter& painter, int size) const;
    QPointer<const ThemeController> m_theme; // lives in main(), may go before the application's style does
};

} // namespace telehelm::app
