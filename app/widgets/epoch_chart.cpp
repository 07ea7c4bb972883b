// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/epoch_chart.h"

#include <algorithm>
#include <cmath>

#include <QPainter>

#include "models/text_format.h"
#include "widgets/chart_axis.h"

namespace telehelm::app {

namespace {

constexpr double kMany = 4.0; // passes; more helps little
constexpr std::size_t kLabels = 6;

} // namespace

EpochChart::EpochChart(ThemeController& theme, QWidget* parent) : QWidget(parent), m_theme(theme) {
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
    setAccessibleName(tr("Times each domain is read"));
}

void EpochChart::setRows(std::vector<Row> rows, double now, double apply, double end) {
    m_rows = std::move(rows);
    m_now = now;
    m_apply = apply;
    m_end = end;
    update();
}

void EpochChart::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const Theme& colours = m_theme.theme();
    if (m_rows.empty() || m_end <= 0) {
        paintEmptyText(painter, m_theme, rect(), tr("Shown once the run has told the size of its domains."));
        return;
    }
    double highest = 0.5;
    for (const auto& row : m_rows) {
        highest = std::max({highest, row.endDraft, row.endCurrent});
    }
    ChartFrame frame;
    frame.rect = QRectF(44, 10, width() - 44 - 166, height() - 10 - 38);
    frame.x = {0, m_end};
    frame.y = {0, highest * 1.32};
    const auto xTicks = niceTicks(frame.x, std::max(2, int(frame.rect.width() / 110)));
    const auto yTicks = niceTicks(frame.y, std::max(2, int(frame.rect.height() / 28)));
    frame.paintBackground(painter, m_theme, xTicks, yTicks);
    frame.paintLabels(painter, m_theme, xTicks, yTicks, true);
    painter.setPen(colours.tx3);
    painter.setFont(m_theme.font(TextRole::Caption));
    painter.drawText(QRectF(frame.rect.left(), frame.rect.bottom() + 18, frame.rect.width(), 16), Qt::AlignCenter, tr("Tokens trained"));
    painter.setRenderHint(QPainter::Antialiasing);
    for (std::size_t i = 0; i < m_rows.size(); ++i) {
        const Row& row = m_rows[i];
        const QColor colour = colours.slot(static_cast<int>(i));
        const QPointF start(frame.px(0), frame.py(0)), now(frame.px(m_now), frame.py(row.done)), apply(frame.px(m_apply), frame.py(row.atApply));
        if (row.changed) {
            painter.setPen(QPen(colour, 1.2, Qt::DotLine));
            painter.drawLine(apply, QPointF(frame.px(m_end), frame.py(row.endCurrent)));
        }
        painter.setPen(QPen(colour, 1.6, Qt::SolidLine, Qt::RoundCap));
        const QPointF line[] = {start, now, apply, QPointF(frame.px(m_end), frame.py(row.endDraft))};
        painter.drawPolyline(line, 4);
    }
    painter.setFont(m_theme.font(TextRole::Caption));
    if (frame.y.to > kMany) {
        painter.setPen(QPen(colours.warn, 1, Qt::DashLine));
        painter.drawLine(QPointF(frame.rect.left(), frame.py(kMany)), QPointF(frame.rect.right(), frame.py(kMany)));
        painter.setPen(frame.py(kMany) < frame.rect.bottom() - 12 ? colours.tx2 : QColor(Qt::transparent)); // no room at the foot
        painter.drawText(QRectF(frame.rect.left() + 4, frame.py(kMany) - 17, frame.rect.width() - 12, 16), Qt::AlignRight | Qt::AlignVCenter,
                         tr("4 epochs: repeated data helps little beyond this"));
    }
    painter.setPen(QPen(colours.accent, 1.4));
    const double x = frame.px(std::min(m_apply, m_end));
    painter.drawLine(QPointF(x, frame.rect.top()), QPointF(x, frame.rect.bottom()));
    const QString label = tr("draft applies at %1 tokens").arg(text::tokens(m_apply));
    const bool right = x + QFontMetricsF(painter.font()).horizontalAdvance(label) + 12 < frame.rect.right();
    painter.setPen(colours.accent);
    painter.drawText(QRectF(right ? x + 5 : frame.rect.left(), frame.rect.top() + 1, right ? frame.rect.right() - x : x - 5 - frame.rect.left(), 16),
                     Qt::AlignVCenter | (right ? Qt::AlignLeft : Qt::AlignRight), label);
    paintLegend(painter, frame.rect, frame.y.to);
}

void EpochChart::paintLegend(QPainter& painter, const QRectF& plot, double highest) const {
    // The highest ends and the changed domains are named at the right; labels are pushed down until they no longer overlap.
    std::vector<std::size_t> order(m_rows.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::stable_sort(order.begin(), order.end(), [this](auto a, auto b) {
        return m_rows[a].changed != m_rows[b].changed ? m_rows[a].changed : m_rows[a].endDraft > m_rows[b].endDraft;
    });
    const auto fitting = std::min(kLabels, static_cast<std::size_t>(std::max(1.0, plot.height() / 15)));
    order.resize(std::min(order.size(), fitting));
    std::stable_sort(order.begin(), order.end(), [this](auto a, auto b) { return m_rows[a].endDraft > m_rows[b].endDraft; });
    double lowest = plot.top() - 4;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const Row& row = m_rows[order[i]];
        const double wanted = plot.bottom() - row.endDraft / highest * plot.height() - 8;
        const double latest = plot.bottom() + 4 - 15.0 * double(order.size() - i);
        const double y = std::min(std::max(wanted, lowest), std::max(lowest, latest));
        lowest = y + 15;
        painter.fillRect(QRectF(plot.right() + 6, y + 7, 8, 2.5), m_theme.theme().slot(static_cast<int>(order[i])));
        painter.setPen(m_theme.theme().tx);
        const QString label = QFontMetricsF(painter.font()).elidedText(row.name, Qt::ElideRight, 104) + QLatin1Char(' ') + (row.endDraft >= 1000 ? text::count(std::llround(row.endDraft)) : text::fixed(row.endDraft, 2));
        painter.drawText(QRectF(plot.right() + 18, y, 148, 16), Qt::AlignLeft | Qt::AlignVCenter, label);
    }
}

} // namespace telehelm::app
