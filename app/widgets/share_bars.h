// SPDX-License-Identifier: GPL-3.0-or-later
// Horizontal bars: shares of tokens on a log scale (in force beside the draft), and signed values. GUI thread only.
#pragma once

#include <vector>

#include <QWidget>

#include "theme/theme.h"

namespace telehelm::app {

class ShareBars : public QWidget {
    Q_OBJECT
public:
    struct Row {
        QString name;
        double current = 0, draft = 0; // percent
    };
    explicit ShareBars(ThemeController& theme, QWidget* parent = nullptr);
    void setRows(std::vector<Row> rows);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override { return {260, 60 + 15 * static_cast<int>(m_rows.size())}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    ThemeController& m_theme;
    std::vector<Row> m_rows;
};

/// "current", "higher", "lower" with their swatches.
class ShareLegend : public QWidget {
    Q_OBJECT
public:
    explicit ShareLegend(ThemeController& theme, QWidget* parent = nullptr);
    [[nodiscard]] QSize sizeHint() const override { return {200, 18}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    ThemeController& m_theme;
};

class ValueBars : public QWidget {
    Q_OBJECT
public:
    struct Row {
        QString name;
        double value = 0;
        QString text;
    };
    explicit ValueBars(ThemeController& theme, QWidget* parent = nullptr);
    void setRows(std::vector<Row> rows, const QString& footer);
    void setEmptyText(const QString& text);
    [[nodiscard]] QSize sizeHint() const override { return {300, 40 + 24 * static_cast<int>(m_rows.size())}; }
    [[nodiscard]] QSize minimumSizeHint() const override { return {200, 80}; }

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    ThemeController& m_theme;
    std::vector<Row> m_rows;
    QString m_footer, m_emptyText;
};

} // namespace telehelm::app
