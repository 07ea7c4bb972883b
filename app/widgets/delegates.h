// SPDX-License-Identifier: GPL-3.0-or-later
// How table cells are drawn: severity words with their shape, radio and lock marks, shares with their spin box, change bars. GUI thread.
#pragma once

#include <functional>

#include <QStyledItemDelegate>

#include "theme/theme.h"

class QTableView;

namespace telehelm::app {

/// Row height, hidden grid, one selected row, mono fonts in the columns named.
void setUpTable(QTableView* table, ThemeController& theme, int rowHeight);

/// Background of a row, hairline under it; returns the text colour.
QColor paintRow(QPainter* painter, const QStyleOptionViewItem& option, const Theme& theme);

/// Text of any column: font and colour by the callbacks.
class CellDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    struct Look {
        TextRole font = TextRole::TableText;
        QColor colour;     // invalid: the row's
        int severity = 0;  // > 0: its shape before the text
        int padding = 8;
        bool wrap = false;
        bool bold = false;
    };
    using Chooser = std::function<Look(const QModelIndex&)>;
    CellDelegate(ThemeController& theme, Chooser chooser, QObject* parent);
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    QSize sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    ThemeController& m_theme;
    Chooser m_chooser;
};

/// A radio button (checkpoints) or a lock (domains), from Qt::CheckStateRole; a click or Space turns it.
class MarkDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    enum class Shape { Radio, Lock };
    MarkDelegate(ThemeController& theme, Shape shape, QObject* parent);
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    bool editorEvent(QEvent* event, QAbstractItemModel* model, const QStyleOptionViewItem& option, const QModelIndex& index) override;

signals:
    void clicked(int row);

private:
    ThemeController& m_theme;
    Shape m_shape;
};

/// A share in percent, drawn as a spin box, edited in one.
class ShareDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    ShareDelegate(ThemeController& theme, QObject* parent);
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    QWidget* createEditor(QWidget* parent, const QStyleOptionViewItem& option, const QModelIndex& index) const override;
    void setEditorData(QWidget* editor, const QModelIndex& index) const override;
    void setModelData(QWidget* editor, QAbstractItemModel* model, const QModelIndex& index) const override;
    void updateEditorGeometry(QWidget* editor, const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    ThemeController& m_theme;
};

/// A bar to the right (more) or left (less) of the middle, for percentage points.
class DeltaBarDelegate : public QStyledItemDelegate {
    Q_OBJECT
public:
    DeltaBarDelegate(ThemeController& theme, QObject* parent);
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override;

private:
    ThemeController& m_theme;
};

} // namespace telehelm::app
