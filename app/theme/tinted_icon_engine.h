// SPDX-License-Identifier: GPL-3.0-or-later
// Draws one of the project's SVG icons in a colour of the theme: `currentColor` is replaced before rendering. GUI thread only.
#pragma once

#include <QByteArray>
#include <QColor>
#include <QIconEngine>
#include <QString>

namespace telehelm::app {

struct IconColours {
    QColor normal, disabled, on; // `on`: a checked button
};

class TintedIconEngine : public QIconEngine {
public:
    TintedIconEngine(QByteArray svg, IconColours colours) : m_svg(std::move(svg)), m_colours(std::move(colours)) {}
    void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State state) override;
    QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) override;
    QPixmap scaledPixmap(const QSize& size, QIcon::Mode mode, QIcon::State state, qreal scale) override;
    [[nodiscard]] QIconEngine* clone() const override { return new TintedIconEngine(*this); }
    [[nodiscard]] QString key() const override { return QStringLiteral("telehelm-tinted"); }

private:
    [[nodiscard]] QColor colour(QIcon::Mode mode, QIcon::State state) const;
    QByteArray m_svg;
    IconColours m_colours;
};

/// The icon's SVG text from the resources; empty and a warning on stderr for a name that does not exist.
[[nodiscard]] QByteArray iconSource(const char* name);
/// "crit" and "warn" as the design's filled severity shapes: the outline filled, the mark drawn in `mark`.
[[nodiscard]] QByteArray filledShape(QByteArray svg, const QColor& mark);

} // namespace telehelm::app
