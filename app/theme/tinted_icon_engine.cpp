// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/tinted_icon_engine.h"

#include <QFile>
#include <QPainter>
#include <QPixmap>
#include <QSvgRenderer>

namespace telehelm::app {

QColor TintedIconEngine::colour(QIcon::Mode mode, QIcon::State state) const {
    if (mode == QIcon::Disabled)
        return m_colours.disabled;
    return state == QIcon::On || mode == QIcon::Selected ? m_colours.on : m_colours.normal;
}

void TintedIconEngine::paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State state) {
    QByteArray svg = m_svg;
    svg.replace("currentColor", colour(mode, state).name(QColor::HexRgb).toLatin1());
    QSvgRenderer renderer(svg);
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    renderer.render(painter, QRectF(rect));
    painter->restore();
}

QPixmap TintedIconEngine::pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) {
    return scaledPixmap(size, mode, state, 1.0);
}

QPixmap TintedIconEngine::scaledPixmap(const QSize& size, QIcon::Mode mode, QIcon::State state, qreal scale) {
    QPixmap pixmap(size);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    paint(&painter, QRect(QPoint(0, 0), size), mode, state);
    painter.end();
    pixmap.setDevicePixelRatio(scale);
    return pixmap;
}

QByteArray iconSource(const char* name) {
    QFile file(QStringLiteral(":/icons/%1.svg").arg(QLatin1String(name)));
    if (!file.open(QIODevice::ReadOnly)) {
        qWarning("no icon named “%s” in resources/icons", name);
        return {};
    }
    return file.readAll();
}

QByteArray filledShape(QByteArray svg, const QColor& mark) {
    const auto first = svg.indexOf("<path ");
    if (first < 0)
        return svg;
    svg.insert(first + 6, "fill=\"currentColor\" ");
    const auto second = svg.indexOf("<path ", first + 6);
    if (second >= 0)
        svg.insert(second + 6, "stroke=\"" + mark.name(QColor::HexRgb).toLatin1() + "\" ");
    return svg;
}

} // namespace telehelm::app
