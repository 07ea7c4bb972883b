// SPDX-License-Identifier: GPL-3.0-or-later
// A config diff: read-only lines with their signs, red and green behind them. GUI thread only.
#pragma once

#include <vector>

#include <QPlainTextEdit>

#include "models/config_diff.h"
#include "theme/theme.h"

namespace telehelm::app {

class DiffView : public QPlainTextEdit {
    Q_OBJECT
public:
    explicit DiffView(ThemeController& theme, QWidget* parent = nullptr);
    void setLines(std::vector<DiffLine> lines);
    void setEmptyText(const QString& text) { setPlaceholderText(text); }
    /// Tall enough for every line, up to `most`.
    void fitHeight(int most);

private:
    void restyle();
    ThemeController& m_theme;
    std::vector<DiffLine> m_lines;
};

} // namespace telehelm::app
