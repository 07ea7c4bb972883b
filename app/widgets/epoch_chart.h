// SPDX-License-Identifier: GPL-3.0-or-later
// How often each domain is read by the end of the run: solid with the draft, dotted without it. GUI thread only.
#pragma once

#include <vector>

#include <QWidget>

#include "theme/theme.h"

namespace telehelm::app {

class EpochChart : public QWidget {
    Q_OBJECT
public:
    struct Row {
        QString name;
        double done = 0, atApply = 0, endDraft = 0, endCurrent = 0; // epochs
        bool changed = false;
    };
    explicit EpochChart(ThemeController& theme, QWidget* parent = nullptr);
    /// x in tokens.
    void setRows(std::vector<Row> rows, double now, double apply, double end);
    [[nodiscard]] QSize sizeHint() const override { return {560, 180}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {260, 110}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void paintLegend(QPainter& painter, const QRectF& plot, double highest) const;
    ThemeController& m_theme;
    std::vector<Row> m_rows;
    double m_now = 0, m_apply = 0, m_end = 0;
};

} // namespace telehelm::app
