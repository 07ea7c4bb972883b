// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/mixture_table.h"

#include <algorithm>

#include <QHeaderView>
#include <QPainter>
#include <QTableView>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/delegates.h"
#include "widgets/panel.h"

namespace telehelm::app {

namespace {

constexpr int kRowHeight = 31;

/// Stands under the view with the same columns, so that the sum is in sight whatever is scrolled.
class TotalRow : public QWidget {
public:
    TotalRow(MixtureModel& model, QTableView* view, ThemeController& theme, QWidget* parent) : QWidget(parent), m_model(model), m_view(view), m_theme(theme) {
        setFixedHeight(kRowHeight);
        connect(&model, &MixtureModel::draftChanged, this, qOverload<>(&QWidget::update));
        connect(view->horizontalHeader(), &QHeaderView::sectionResized, this, qOverload<>(&QWidget::update));
        connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
    }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter painter(this);
        const Theme& colours = m_theme.theme();
        const qint64 total = m_model.total();
        const bool whole = total == kWholeMixture;
        qint64 current = 0;
        for (int row = 0; row < m_model.rowCount(); ++row) {
            current += m_model.currentHundredths(row);
        }
        cell(painter, MixtureModel::Domain, MixtureModel::tr("Total"), Qt::AlignLeft, colours.tx, false, true);
        cell(painter, MixtureModel::Current, text::fixed(double(current) / 100, 2), Qt::AlignRight, colours.tx, true, false);
        cell(painter, MixtureModel::New, text::fixed(double(total) / 100, 2), Qt::AlignRight, whole ? colours.tx : colours.crit, true, true, 25);
        cell(painter, MixtureModel::Change, text::withSign(double(total - current) / 100, 2), Qt::AlignRight, colours.tx, true, false);
        const QRect verdict = place(MixtureModel::Delta);
        painter.drawPixmap(verdict.left() + 8, height() / 2 - 7, severityPixmap(m_theme, whole ? 2 : 4, 14));
        painter.setFont(m_theme.font(TextRole::Caption));
        painter.setPen(whole ? colours.ok : colours.crit);
        painter.drawText(verdict.adjusted(28, 0, 0, 0), Qt::AlignVCenter | Qt::AlignLeft,
                         whole ? MixtureModel::tr("adds up to 100 %") : MixtureModel::tr("%1 off 100 %").arg(text::withSign(double(total - kWholeMixture) / 100, 2)));
        cell(painter, MixtureModel::TokensSeen, text::tokens(double(m_model.tokensSeen())), Qt::AlignRight, colours.tx, true, false);
    }

private:
    [[nodiscard]] QRect place(int column) const {
        return {m_view->columnViewportPosition(column), 0, m_view->isColumnHidden(column) ? 0 : m_view->columnWidth(column), height()};
    }
    void cell(QPainter& painter, int column, const QString& text, int alignment, const QColor& colour, bool number, bool bold, int right = 0) const {
        if (m_view->isColumnHidden(column)) {
            return;
        }
        QFont font = m_theme.font(number ? TextRole::TableNumber : TextRole::TableText);
        font.setWeight(bold ? QFont::DemiBold : font.weight());
        painter.setFont(font);
        painter.setPen(colour);
        painter.drawText(place(column).adjusted(8, 0, -8 - right, 0), alignment | Qt::AlignVCenter, text);
    }
    MixtureModel& m_model;
    QTableView* m_view;
    ThemeController& m_theme;
};

} // namespace

MixtureTable::MixtureTable(MixtureModel& model, ThemeController& theme, bool compact, QWidget* parent) : QFrame(parent), m_model(model), m_theme(theme) {
    m_view = new QTableView(this);
    m_view->setModel(&model);
    m_view->setObjectName(QStringLiteral("domains"));
    m_view->setAccessibleName(tr("Domains"));
    setUpTable(m_view, theme, kRowHeight);
    m_view->setEditTriggers(QAbstractItemView::AllEditTriggers);
    setColumns(compact);
    m_total = new TotalRow(model, m_view, theme, this);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(0, 0, 0, 0);
    all->setSpacing(0);
    all->addWidget(m_view, 1);
    all->addWidget(m_total);
    connect(&model, &QAbstractItemModel::modelReset, this, [this] { updateGeometry(); });
}

QSize MixtureTable::sizeHint() const { return {600, 27 + kRowHeight * (m_model.rowCount() + 1) + 2}; }

void MixtureTable::setColumns(bool compact) {
    using M = MixtureModel;
    auto* cells = new CellDelegate(
        m_theme,
        [this](const QModelIndex& index) {
            CellDelegate::Look look;
            const Theme& colours = m_theme.theme();
            const bool locked = index.data(M::LockedRole).toBool(), changed = index.data(M::ChangedRole).toBool();
            const bool number = index.column() >= M::Current;
            look.font = number ? TextRole::TableNumber : TextRole::TableText;
            if (index.column() == M::Language || index.column() == M::Current) {
                look.colour = colours.tx2;
            }
            if (index.column() == M::Change && !changed) {
                look.colour = colours.tx3;
            }
            if (index.column() == M::Domain && locked && !changed) {
                look.colour = colours.tx2;
            }
            if (index.data(M::WarnRole).toBool()) {
                look.severity = 3;
                look.colour = colours.warn;
            }
            return look;
        },
        this);
    m_view->setItemDelegate(cells);
    m_view->setItemDelegateForColumn(M::Lock, new MarkDelegate(m_theme, MarkDelegate::Shape::Lock, this));
    m_view->setItemDelegateForColumn(M::New, new ShareDelegate(m_theme, this));
    m_view->setItemDelegateForColumn(M::Delta, new DeltaBarDelegate(m_theme, this));
    auto* header = m_view->horizontalHeader();
    header->setStretchLastSection(!compact);
    const std::pair<int, int> widths[] = {{M::Lock, 38}, {M::Domain, 152}, {M::Language, 100}, {M::Current, 80}, {M::New, 100}, {M::Change, 88},
                                          {M::Delta, 150}, {M::TokensSeen, 106}, {M::EpochsDone, 100}, {M::EpochsAtEnd, 110}};
    for (const auto& [column, width] : widths) {
        m_view->setColumnWidth(column, compact ? std::min(width, 120) : width);
    }
    for (const int column : {M::Domain, M::Language, M::Delta}) {
        header->setSectionResizeMode(column, column == M::Delta || compact ? QHeaderView::Stretch : QHeaderView::Interactive);
    }
    for (const int column : {M::Language, M::TokensSeen, M::EpochsDone, M::EpochsAtEnd}) {
        m_view->setColumnHidden(column, compact);
    }
}

} // namespace telehelm::app
