// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/share_bars.h"

#include <algorithm>
#include <cmath>

#include <QPainter>

#include "models/text_format.h"
#include "widgets/chart_axis.h"

namespace telehelm::app {

namespace {

constexpr double kLowest = 0.01; // percent, left end of the log scale

double logShare(double percent) { return std::clamp(std::log10(std::max(percent, kLowest) / kLowest) / 4.0, 0.0, 1.0); }

double nameWidth(const QFont& font, const QStringList& names) {
    double widest = 0;
    for (const QString& name : names) {
        widest = std::max(widest, QFontMetricsF(font).horizontalAdvance(name));
    }
    return widest;
}

} // namespace

ShareBars::ShareBars(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
    setAccessibleName(tr("Share of tokens by domain, logarithmic"));
}

void ShareBars::setRows(std::vector<Row> rows) {
    m_rows = std::move(rows);
    updateGeometry();
    update();
}

QSize ShareBars::sizeHint() const { return {420, 56 + 22 * static_cast<int>(m_rows.size())}; }

void ShareBars::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const Theme& colours = m_theme.theme();
    if (m_rows.empty()) {
        paintEmptyText(painter, m_theme, rect(), tr("No domains are known yet."));
        return;
    }
    QStringList names;
    for (const auto& row : m_rows) {
        names << row.name;
    }
    const QFont nameFont = m_theme.font(TextRole::Caption), numberFont = m_theme.font(TextRole::CaptionNumber);
    const QRectF area(nameWidth(nameFont, names) + 22, 14, 0, 0);
    const QRectF plot(area.left(), area.top(), width() - area.left() - 46, height() - area.top() - 26);
    painter.setFont(numberFont);
    for (const double tick : {0.01, 0.1, 1.0, 10.0, 100.0}) {
        const double x = std::round(plot.left() + logShare(tick) * plot.width());
        painter.fillRect(QRectF(x, plot.top(), 1, plot.height()), colours.grid);
        painter.setPen(colours.tx3);
        painter.drawText(QRectF(x - 40, plot.bottom() + 5, 80, 16), Qt::AlignCenter, QString::number(tick) + QStringLiteral(" %"));
    }
    const double step = plot.height() / double(m_rows.size()), bar = std::clamp(step * 0.3, 3.0, 6.5);
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const Row& row = m_rows[i];
        const double middle = plot.top() + (double(i) + 0.5) * step;
        const bool changed = std::abs(row.draft - row.current) >= 0.005;
        const QColor quiet = colours.dark ? colours.axis : colours.line2;
        painter.fillRect(QRectF(plot.left(), middle - bar - 0.5, std::max(1.0, logShare(row.current) * plot.width()), bar), quiet);
        const QColor colour = !changed ? colours.tx3 : colours.slot(row.draft > row.current ? 0 : 1);
        painter.fillRect(QRectF(plot.left(), middle + 0.5, std::max(1.0, logShare(row.draft) * plot.width()), bar), colour);
        painter.setFont(nameFont);
        painter.setPen(changed ? colours.tx : colours.tx2);
        painter.drawText(QRectF(0, middle - 9, plot.left() - 8, 18), Qt::AlignRight | Qt::AlignVCenter, row.name);
        painter.setFont(numberFont);
        painter.setPen(changed ? colours.tx : colours.tx3);
        const double end = plot.left() + std::max(logShare(row.current), logShare(row.draft)) * plot.width();
        painter.drawText(QRectF(end + 6, middle - 9, 60, 18), Qt::AlignLeft | Qt::AlignVCenter, text::fixed(row.draft, 2));
    }
}

ShareLegend::ShareLegend(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    setMinimumWidth(190);
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

void ShareLegend::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const Theme& colours = m_theme.theme();
    painter.setFont(m_theme.font(TextRole::Caption));
    const std::pair<QString, QColor> parts[] = {{tr("lower"), colours.slot(1)}, {tr("higher"), colours.slot(0)}, {tr("current"), colours.dark ? colours.axis : colours.line2}};
    double right = width();
    for (const auto& [word, colour] : parts) {
        const double textWidth = QFontMetricsF(painter.font()).horizontalAdvance(word);
        painter.setPen(colours.tx2);
        painter.drawText(QRectF(right - textWidth - 1, 0, textWidth + 2, height()), Qt::AlignVCenter, word);
        painter.fillRect(QRectF(right - textWidth - 18, height() / 2.0 - 3.5, 12, 7), colour);
        right -= textWidth + 30;
    }
}

ValueBars::ValueBars(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

void ValueBars::setRows(std::vector<Row> rows, const QString& footer) {
    m_rows = std::move(rows);
    m_footer = footer;
    updateGeometry();
    update();
}

void ValueBars::setEmptyText(const QString& text) {
    m_emptyText = text;
    update();
}

void ValueBars::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const Theme& colours = m_theme.theme();
    if (m_rows.empty()) {
        paintEmptyText(painter, m_theme, rect(), m_emptyText);
        return;
    }
    QStringList names;
    double largest = 0, lowest = 0;
    for (const auto& row : m_rows) {
        names << row.name;
        largest = std::max(largest, std::abs(row.value));
        lowest = std::max(lowest, row.value); // bars that got worse go the other way
    }
    const QFont nameFont = m_theme.font(TextRole::Caption), numberFont = m_theme.font(TextRole::CaptionNumber);
    const double left = nameWidth(nameFont, names) + 24, room = std::max(20.0, width() - left - 76);
    const double step = std::min(26.0, (height() - 34.0) / double(m_rows.size()));
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const Row& row = m_rows[i];
        const double middle = 10 + (double(i) + 0.5) * step;
        painter.setFont(nameFont);
        painter.setPen(colours.tx2);
        painter.drawText(QRectF(0, middle - 9, left - 10, 18), Qt::AlignRight | Qt::AlignVCenter, row.name);
        const double length = largest > 0 ? std::max(1.0, std::abs(row.value) / largest * room) : 1.0;
        const double thick = std::clamp(step * 0.5, 4.0, 11.0);
        painter.fillRect(QRectF(left, middle - thick / 2, length, thick), colours.slot(row.value <= 0 ? 0 : 1)); // falling BPB is progress
        painter.setFont(numberFont);
        painter.setPen(colours.tx);
        painter.drawText(QRectF(left + length + 6, middle - 9, 80, 18), Qt::AlignLeft | Qt::AlignVCenter, row.text);
    }
    painter.setFont(nameFont);
    painter.setPen(colours.tx3);
    painter.drawText(QRectF(left, height() - 22, width() - left - 4, 18), Qt::AlignLeft | Qt::AlignVCenter, m_footer);
}

} // namespace telehelm::app
