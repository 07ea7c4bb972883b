// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/delegates.h"

#include <algorithm>
#include <cmath>

#include <QDoubleSpinBox>
#include <QHeaderView>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QTableView>

#include "models/mixture_model.h"
#include "widgets/panel.h"

namespace telehelm::app {

void setUpTable(QTableView* table, ThemeController& theme, int rowHeight) {
    table->setShowGrid(false);
    table->setFrameShape(QFrame::NoFrame);
    table->setSelectionBehavior(QAbstractItemView::SelectRows);
    table->setSelectionMode(QAbstractItemView::SingleSelection);
    table->setEditTriggers(QAbstractItemView::NoEditTriggers);
    table->setHorizontalScrollMode(QAbstractItemView::ScrollPerPixel);
    table->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    table->setWordWrap(true);
    table->setMouseTracking(true);
    table->verticalHeader()->hide();
    table->verticalHeader()->setMinimumSectionSize(16);
    table->verticalHeader()->setDefaultSectionSize(rowHeight);
    table->horizontalHeader()->setFixedHeight(25);
    table->horizontalHeader()->setHighlightSections(false);
    table->horizontalHeader()->setStretchLastSection(true);
    const auto restyle = [table, &theme] { 
        // By style sheet: the header takes its font from there once it has been polished.
        table->horizontalHeader()->setStyleSheet(QStringLiteral("QHeaderView::section { font-size: %1px; }").arg(theme.font(TextRole::Caption).pixelSize()));
    };
    restyle();
    QObject::connect(&theme, &ThemeController::changed, table, restyle);
}

QColor paintRow(QPainter* painter, const QStyleOptionViewItem& option, const Theme& theme) {
    const bool selected = option.state.testFlag(QStyle::State_Selected);
    if (selected) {
        painter->fillRect(option.rect, theme.accentFill);
    } else if (option.state.testFlag(QStyle::State_MouseOver)) {
        painter->fillRect(option.rect, theme.rowAlt);
    }
    painter->fillRect(QRect(option.rect.left(), option.rect.bottom(), option.rect.width(), 1), theme.line);
    return !option.state.testFlag(QStyle::State_Enabled) ? theme.txDis : selected ? theme.accentTx : theme.tx;
}

CellDelegate::CellDelegate(ThemeController& theme, Chooser chooser, QObject* parent)
    : QStyledItemDelegate(parent), m_theme(theme), m_chooser(std::move(chooser)) {}

void CellDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
    painter->save();
    const QColor rowColour = paintRow(painter, option, m_theme.theme());
    const Look look = m_chooser(index);
    const bool enabled = option.state.testFlag(QStyle::State_Enabled) && index.flags().testFlag(Qt::ItemIsEnabled);
    QRect place = option.rect.adjusted(look.padding, 0, -look.padding, -1);
    const int alignment = index.data(Qt::TextAlignmentRole).toInt() != 0 ? index.data(Qt::TextAlignmentRole).toInt() : int(Qt::AlignVCenter | Qt::AlignLeft);
    const QString text = index.data(Qt::DisplayRole).toString();
    QFont font = m_theme.font(look.font);
    font.setWeight(look.bold ? QFont::DemiBold : font.weight());
    painter->setFont(font);
    if (look.severity > 0) {
        const int icon = 14;
        const bool right = (alignment & Qt::AlignRight) != 0;
        const int x = right ? place.right() - QFontMetrics(font).horizontalAdvance(text) - icon - 6 : place.left();
        painter->drawPixmap(x, place.center().y() - icon / 2 + 1, severityPixmap(m_theme, look.severity, icon));
        place.setLeft(right ? place.left() : place.left() + icon + 6);
    }
    painter->setPen(look.colour.isValid() && enabled ? look.colour : rowColour);
    painter->drawText(place, alignment | (look.wrap ? Qt::TextWordWrap : Qt::TextSingleLine),
                      look.wrap ? text : QFontMetrics(font).elidedText(text, Qt::ElideRight, place.width() + 1));
    painter->restore();
}

QSize CellDelegate::sizeHint(const QStyleOptionViewItem& option, const QModelIndex& index) const {
    const Look look = m_chooser(index);
    const QFontMetrics metrics(m_theme.font(look.font));
    const QString text = index.data(Qt::DisplayRole).toString();
    const int extra = 2 * look.padding + (look.severity > 0 ? 20 : 0);
    if (!look.wrap || option.rect.width() <= extra) {
        return {metrics.horizontalAdvance(text) + extra + 2, 26};
    }
    const QRect needed = metrics.boundingRect(QRect(0, 0, option.rect.width() - extra, 1000), Qt::TextWordWrap, text);
    return {option.rect.width(), std::max(26, needed.height() + 10)};
}

MarkDelegate::MarkDelegate(ThemeController& theme, Shape shape, QObject* parent) : QStyledItemDelegate(parent), m_theme(theme), m_shape(shape) {}

void MarkDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
    painter->save();
    const Theme& colours = m_theme.theme();
    const QColor text = paintRow(painter, option, colours);
    const bool on = index.data(Qt::CheckStateRole).toInt() == Qt::Checked;
    const QPoint centre = option.rect.center();
    if (m_shape == Shape::Lock) {
        const QColor colour = on ? text : colours.tx3;
        painter->drawPixmap(centre.x() - 7, centre.y() - 7, m_theme.icon(on ? "lock" : "unlock", colour).pixmap(14, 14));
    } else {
        painter->setRenderHint(QPainter::Antialiasing);
        const bool usable = index.flags().testFlag(Qt::ItemIsSelectable);
        painter->setPen(QPen(!usable ? colours.line2 : on ? colours.accent : colours.ctl, 1.2));
        painter->setBrush(colours.inset);
        painter->drawEllipse(QPointF(centre), 6.5, 6.5);
        if (on) {
            painter->setPen(Qt::NoPen);
            painter->setBrush(colours.accent);
            painter->drawEllipse(QPointF(centre), 3.2, 3.2);
        }
    }
    painter->restore();
}

bool MarkDelegate::editorEvent(QEvent* event, QAbstractItemModel* model, const QStyleOptionViewItem&, const QModelIndex& index) {
    const bool click = event->type() == QEvent::MouseButtonRelease && static_cast<QMouseEvent*>(event)->button() == Qt::LeftButton;
    const bool space = event->type() == QEvent::KeyPress && static_cast<QKeyEvent*>(event)->key() == Qt::Key_Space;
    if (!click && !space) {
        return false;
    }
    if (m_shape == Shape::Lock) {
        const bool on = index.data(Qt::CheckStateRole).toInt() == Qt::Checked;
        model->setData(index, on ? Qt::Unchecked : Qt::Checked, Qt::CheckStateRole);
    }
    emit clicked(index.row());
    return true;
}

ShareDelegate::ShareDelegate(ThemeController& theme, QObject* parent) : QStyledItemDelegate(parent), m_theme(theme) {}

void ShareDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
    painter->save();
    const Theme& colours = m_theme.theme();
    paintRow(painter, option, colours);
    const bool locked = index.data(MixtureModel::LockedRole).toBool(), changed = index.data(MixtureModel::ChangedRole).toBool();
    const QRectF box = QRectF(option.rect).adjusted(6.5, 3.5, -6.5, -4.5);
    painter->setRenderHint(QPainter::Antialiasing);
    painter->setPen(QPen(changed && !locked ? colours.accent : locked ? colours.line : colours.ctl, 1));
    painter->setBrush(locked ? colours.panel : colours.inset);
    painter->drawRoundedRect(box, 3, 3);
    if (!locked) {
        painter->setPen(QPen(colours.line, 1));
        painter->drawLine(QPointF(box.right() - 18, box.top() + 1), QPointF(box.right() - 18, box.bottom() - 1));
        painter->drawPixmap(int(box.right()) - 14, int(box.center().y()) - 9, m_theme.icon("up", colours.tx3).pixmap(10, 10));
        painter->drawPixmap(int(box.right()) - 14, int(box.center().y()) - 1, m_theme.icon("down", colours.tx3).pixmap(10, 10));
    }
    painter->setFont(m_theme.font(TextRole::TableNumber));
    painter->setPen(locked ? colours.tx3 : colours.tx);
    painter->drawText(box.adjusted(6, 0, locked ? -7 : -25, 0), Qt::AlignVCenter | Qt::AlignRight, index.data(Qt::DisplayRole).toString());
    painter->restore();
}

QWidget* ShareDelegate::createEditor(QWidget* parent, const QStyleOptionViewItem&, const QModelIndex& index) const {
    auto* box = new QDoubleSpinBox(parent);
    box->setRange(0, 100);
    box->setDecimals(2);
    box->setSingleStep(0.1);
    box->setAlignment(Qt::AlignRight);
    box->setFont(m_theme.font(TextRole::TableNumber));
    box->setAccessibleName(tr("New share of %1, percent").arg(index.siblingAtColumn(MixtureModel::Domain).data().toString()));
    // Each step of the arrows is at once in the table, not only when the editor closes.
    auto* self = const_cast<ShareDelegate*>(this);
    connect(box, &QDoubleSpinBox::valueChanged, self, [self, box] { emit self->commitData(box); });
    return box;
}

void ShareDelegate::setEditorData(QWidget* editor, const QModelIndex& index) const {
    if (!editor->property("filled").toBool()) { // later: what the operator types wins over news of the run
        const QSignalBlocker quiet(editor);
        static_cast<QDoubleSpinBox*>(editor)->setValue(index.data(Qt::EditRole).toDouble());
        editor->setProperty("filled", true);
    }
}

void ShareDelegate::setModelData(QWidget* editor, QAbstractItemModel* model, const QModelIndex& index) const {
    auto* box = static_cast<QDoubleSpinBox*>(editor);
    box->interpretText();
    model->setData(index, box->value(), Qt::EditRole);
}

void ShareDelegate::updateEditorGeometry(QWidget* editor, const QStyleOptionViewItem& option, const QModelIndex&) const {
    editor->setGeometry(option.rect.adjusted(6, 3, -6, -4));
}

DeltaBarDelegate::DeltaBarDelegate(ThemeController& theme, QObject* parent) : QStyledItemDelegate(parent), m_theme(theme) {}

void DeltaBarDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
    painter->save();
    const Theme& colours = m_theme.theme();
    paintRow(painter, option, colours);
    const double value = index.data(MixtureModel::ValueRole).toDouble();
    double largest = 1.0; // percentage points: smaller changes keep small bars
    for (int row = 0; row < index.model()->rowCount(); ++row) {
        largest = std::max(largest, std::abs(index.siblingAtRow(row).data(MixtureModel::ValueRole).toDouble()));
    }
    const QRect area = option.rect.adjusted(8, 0, -8, -1);
    const double middle = area.center().x(), half = area.width() / 2.0 - 4;
    painter->fillRect(QRectF(middle - 0.5, area.center().y() - 7, 1, 15), colours.axis);
    if (value != 0) {
        const double length = std::max(2.0, std::abs(value) / largest * half);
        painter->fillRect(QRectF(value > 0 ? middle : middle - length, area.center().y() - 3.5, length, 8), colours.slot(value > 0 ? 0 : 1));
    }
    painter->restore();
}

} // namespace telehelm::app
