// SPDX-License-Identifier: GPL-3.0-or-later
// The left docks of the live page: Runs and Series, with swatches. GUI thread only.
#pragma once

#include <QSortFilterProxyModel>
#include <QStyledItemDelegate>

#include "main_window/dock.h"
#include "models/runs_model.h"
#include "models/series_model.h"
#include "session/session.h"

class QLineEdit;
class QTreeView;

namespace telehelm::app {

/// Swatch and name in the first column, numbers in the others; group rows bold. For RunsModel and SeriesModel.
class SwatchDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    enum class Kind { Runs, Series };
    SwatchDelegate(ThemeController& theme, Kind kind, int rowHeight, QObject* parent);
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    [[nodiscard]] QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    void paintSwatch(QPainter* painter, const QRect& place, const QModelIndex& index, bool hidden) const;
    ThemeController& m_theme;
    Kind m_kind;
    int m_rowHeight;
};

class RunsDock : public Dock {
    Q_OBJECT
public:
    RunsDock(Session& session, ThemeController& theme, RunsModel& model, RunSlots& runSlots, QWidget* parent);
    [[nodiscard]] QTreeView* view() const { return m_view; }

signals:
    void addRunAsked();
    void hovered(const QString& run); // empty: no row

private:
    void selectFocused();
    Session& m_session;
    RunsModel& m_model;
    QSortFilterProxyModel* m_proxy;
    QTreeView* m_view;
    QLineEdit* m_filter;
};

class SeriesDock : public Dock {
    Q_OBJECT
public:
    SeriesDock(Session& session, ThemeController& theme, SeriesModel& model, QWidget* parent);
    [[nodiscard]] QTreeView* view() const { return m_view; }
    void find();

    void select(const QString& series);

private:
    void expandDefault();
    void loadRun(const QString& run);
    Session& m_session;
    SeriesModel& m_model;
    QSortFilterProxyModel* m_proxy;
    QTreeView* m_view;
    QLineEdit* m_filter;
    JobId m_job = 0;
};

} // namespace telehelm::app
