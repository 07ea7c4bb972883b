// SPDX-License-Identifier: GPL-3.0-or-later
// The table of domains with locks, editable shares and change bars, and its pinned total row. GUI thread only.
#pragma once

#include <QFrame>

#include "models/mixture_model.h"
#include "theme/theme.h"

class QTableView;

namespace telehelm::app {

class MixtureTable : public QFrame {
    Q_OBJECT
public:
    /// `compact`: without tokens and epochs (dialogs).
    MixtureTable(MixtureModel& model, ThemeController& theme, bool compact, QWidget* parent = nullptr);
    [[nodiscard]] QTableView* view() const { return m_view; }
    [[nodiscard]] QSize sizeHint() const override;

private:
    void setColumns(bool compact);
    MixtureModel& m_model;
    ThemeController& m_theme;
    QTableView* m_view;
    QWidget* m_total;
};

} // namespace telehelm::app
