// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/run_lists.h"

#include <QHeaderView>
#include <QLineEdit>
#include <QMouseEvent>
#include <QPainter>
#include <QToolButton>
#include <QTreeView>
#include <QVBoxLayout>

#include "widgets/delegates.h"

namespace telehelm::app {
namespace {

constexpr int kValueWidth = 63; // "1.471e-4", "352.4k", "100.0 %"

/// Middle click hides or shows what it hits (design.md, section 8).
class ListView : public QTreeView {
public:
    using QTreeView::QTreeView;
    std::function<void(const QModelIndex&)> onMiddleClick;
    std::function<void()> onLeave;

protected:
    void leaveEvent(QEvent* event) override {
        QTreeView::leaveEvent(event);
        if (onLeave)
            onLeave();
    }
    void mousePressEvent(QMouseEvent* event) override {
        const auto index = indexAt(event->pos());
        if (event->button() == Qt::MiddleButton && index.isValid() && onMiddleClick)
            onMiddleClick(index.siblingAtColumn(0));
        else
            QTreeView::mousePressEvent(event);
    }
    void keyPressEvent(QKeyEvent* event) override {
        if (event->key() == Qt::Key_Space && currentIndex().isValid() && onMiddleClick)
            onMiddleClick(currentIndex().siblingAtColumn(0));
        else
            QTreeView::keyPressEvent(event);
    }
};

ListView* makeView(QWidget* parent, const QString& name) {
    auto* view = new ListView(parent);
    view->setAccessibleName(name);
    view->setRootIsDecorated(false);
    view->setUniformRowHeights(true);
    view->setFrameShape(QFrame::NoFrame);
    view->setSelectionMode(QAbstractItemView::SingleSelection);
    view->setEditTriggers(QAbstractItemView::NoEditTriggers);
    view->setVerticalScrollMode(QAbstractItemView::ScrollPerPixel);
    view->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    view->setIndentation(0);
    view->setMouseTracking(true);
    return view;
}

QLineEdit* makeFilter(QWidget* parent, const QString& placeholder) {
    auto* filter = new QLineEdit(parent);
    filter->setPlaceholderText(placeholder);
    filter->setAccessibleName(placeholder);
    filter->setClearButtonEnabled(true);
    filter->hide();
    return filter;
}

void toggleFilter(QLineEdit* filter) {
    filter->setVisible(!filter->isVisible());
    if (filter->isVisible())
        filter->setFocus();
    else
        filter->clear();
}

QWidget* stacked(QWidget* parent, QWidget* first, QWidget* second) {
    auto* body = new QWidget(parent);
    body->setObjectName(QStringLiteral("panel"));
    auto* column = new QVBoxLayout(body);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(0);
    column->addWidget(first);
    column->addWidget(second, 1);
    return body;
}

} // namespace

SwatchDelegate::SwatchDelegate(ThemeController& theme, Kind kind, int rowHeight, QObject* parent)
    : QStyledItemDelegate(parent), m_theme(theme), m_kind(kind), m_rowHeight(rowHeight) {}

QSize SwatchDelegate::sizeHint(const QStyleOptionViewItem&, const QModelIndex&) const { return {40, m_rowHeight}; }

void SwatchDelegate::paintSwatch(QPainter* painter, const QRect& place, const QModelIndex& index, bool hidden) const {
    const auto& t = m_theme.theme();
    QColor colour = t.slot(RunSlots::colourOf(index.data(m_kind == Kind::Runs ? int(RunsModel::SlotRole) : int(SeriesModel::SlotRole)).toInt()));
    colour.setAlphaF(hidden ? 0.5F : 1.0F);
    const QPointF centre = QRectF(place).center();
    if (m_kind == Kind::Runs) {
        painter->setPen(Qt::NoPen);
        painter->setBrush(colour);
        painter->drawRoundedRect(QRectF(centre.x() - 5.5, centre.y() - 5.5, 11, 11), 2, 2);
        return;
    }
    if (hidden) {
        m_theme.icon("eyeoff", t.tx3).paint(painter, QRect(place.left(), place.center().y() - 7, 15, 15));
        return;
    }
    painter->setPen(QPen(colour, index.data(SeriesModel::ValidationRole).toBool() ? 1.4 : 2));
    painter->drawLine(QPointF(place.left(), centre.y()), QPointF(place.right() + 1, centre.y()));
    if (index.data(SeriesModel::ValidationRole).toBool()) {
        painter->setBrush(t.panel);
        painter->drawEllipse(centre, 2.6, 2.6);
    }
}

void SwatchDelegate::paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const {
    const auto& t = m_theme.theme();
    painter->save();
    painter->setRenderHint(QPainter::Antialiasing);
    const bool group = m_kind == Kind::Series && index.data(SeriesModel::GroupRole).toBool();
    const bool selected = option.state.testFlag(QStyle::State_Selected) && !group;
    const bool hidden = index.siblingAtColumn(0).data(m_kind == Kind::Runs ? int(RunsModel::HiddenRole) : int(SeriesModel::HiddenRole)).toBool();
    painter->fillRect(option.rect, selected ? t.accentFill : group ? t.rowAlt : option.state.testFlag(QStyle::State_MouseOver) ? t.hover : t.panel);
    painter->fillRect(QRect(option.rect.left(), option.rect.bottom(), option.rect.width(), 1), t.line);
    const QColor quiet = hidden ? t.tx3 : t.tx2;
    QRect place = option.rect.adjusted(10, 0, -8, -1);
    TextRole role = TextRole::TableText;
    QColor colour = hidden ? t.tx3 : selected ? t.accentTx : t.tx;
    if (group) {
        role = TextRole::PlotTitle;
        if (index.column() == 0 && option.widget != nullptr) {
            const auto* view = qobject_cast<const QTreeView*>(option.widget);
            m_theme.icon(view != nullptr && view->isExpanded(index) ? "down" : "right").paint(painter, QRect(place.left() - 2, place.center().y() - 6, 13, 13));
            place.adjust(18, 0, 0, 0);
        }
    } else if (index.column() == 0) {
        paintSwatch(painter, QRect(place.left(), place.top(), 15, place.height()), index, hidden);
        place.adjust(22, 0, m_kind == Kind::Runs ? 0 : 6, 0); // a value column keeps its own distance
    } else if (m_kind == Kind::Series) {
        role = TextRole::TableNumber;
        place = option.rect.adjusted(0, 0, -7, -1);
        colour = index.column() == SeriesModel::AtCursor && !selected ? (hidden ? t.tx3 : t.tx) : selected ? t.accentTx : quiet;
    } else {
        colour = selected ? t.accentTx : quiet;
    }
    painter->setFont(m_theme.font(role));
    painter->setPen(colour);
    const auto text = painter->fontMetrics().elidedText(index.data().toString(), Qt::ElideRight, place.width());
    painter->drawText(place, (index.column() == 0 ? Qt::AlignLeft : Qt::AlignRight) | Qt::AlignVCenter | Qt::TextSingleLine, text);
    painter->restore();
}

RunsDock::RunsDock(Session& session, ThemeController& theme, RunsModel& model, RunSlots& runSlots, QWidget* parent)
    : Dock(theme, QStringLiteral("runsDock"), tr("Runs"), false, parent), m_session(session), m_model(model),
      m_proxy(new QSortFilterProxyModel(this)) {
    auto* view = makeView(this, tr("Runs"));
    m_view = view;
    m_filter = makeFilter(this, tr("Find a run"));
    m_proxy->setSourceModel(&model);
    m_proxy->setFilterCaseSensitivity(Qt::CaseInsensitive);
    view->setModel(m_proxy);
    view->setItemDelegate(new SwatchDelegate(theme, SwatchDelegate::Kind::Runs, 26, view));
    view->setHeaderHidden(true);
    view->header()->setStretchLastSection(false);
    view->header()->setSectionResizeMode(RunsModel::Name, QHeaderView::Stretch);
    view->header()->setSectionResizeMode(RunsModel::State, QHeaderView::Fixed);
    view->header()->resizeSection(RunsModel::State, 82);
    view->onMiddleClick = [&runSlots](const QModelIndex& index) {
        const auto run = index.data(RunsModel::RunRole).toString();
        runSlots.setHidden(run, !runSlots.isHidden(run));
    };
    view->onLeave = [this] { emit hovered({}); };
    connect(view, &QTreeView::entered, this, [this](const QModelIndex& index) { emit hovered(index.siblingAtColumn(0).data(RunsModel::RunRole).toString()); });
    auto* add = makeIconButton(theme, "plus", tr("Connect to a backend or start the demo run"), this);
    auto* filter = makeIconButton(theme, "filter", tr("Find a run"), this);
    addToTitle(add);
    addToTitle(filter);
    setWidget(stacked(this, m_filter, view));
    connect(add, &QToolButton::clicked, this, &RunsDock::addRunAsked);
    connect(filter, &QToolButton::clicked, this, [this] { toggleFilter(m_filter); });
    connect(m_filter, &QLineEdit::textChanged, m_proxy, &QSortFilterProxyModel::setFilterFixedString);
    connect(view, &QTreeView::clicked, this, [this](const QModelIndex& index) {
        m_session.setFocusedRun(index.siblingAtColumn(0).data(RunsModel::RunRole).toString());
    });
    connect(&session, &Session::focusedRunChanged, this, &RunsDock::selectFocused);
    connect(m_proxy, &QAbstractItemModel::modelReset, this, &RunsDock::selectFocused);
}

void RunsDock::selectFocused() {
    const int row = m_model.rowOf(m_session.focusedRun());
    if (row >= 0)
        m_view->setCurrentIndex(m_proxy->mapFromSource(m_model.index(row, 0)));
}

SeriesDock::SeriesDock(Session& session, ThemeController& theme, SeriesModel& model, QWidget* parent)
    : Dock(theme, QStringLiteral("seriesDock"), tr("Series"), false, parent), m_session(session), m_model(model),
      m_proxy(new QSortFilterProxyModel(this)) {
    auto* view = makeView(this, tr("Series"));
    m_view = view;
    m_filter = makeFilter(this, tr("Find a series"));
    m_proxy->setSourceModel(&model);
    m_proxy->setRecursiveFilteringEnabled(true);
    m_proxy->setFilterCaseSensitivity(Qt::CaseInsensitive);
    view->setModel(m_proxy);
    view->setItemDelegate(new SwatchDelegate(theme, SwatchDelegate::Kind::Series, 23, view));
    view->header()->setStretchLastSection(false);
    view->header()->setFixedHeight(25);
    view->header()->setFont(theme.font(TextRole::Caption));
    view->header()->setSectionResizeMode(SeriesModel::Name, QHeaderView::Stretch);
    for (const int column : {SeriesModel::AtCursor, SeriesModel::Latest}) {
        view->header()->setSectionResizeMode(column, QHeaderView::Fixed);
        view->header()->resizeSection(column, kValueWidth);
    }
    view->onMiddleClick = [&model](const QModelIndex& index) {
        const auto series = index.data(SeriesModel::SeriesRole).toString();
        if (!series.isEmpty())
            model.setHidden(series, !model.isHidden(series));
    };
    auto* search = makeIconButton(theme, "search", tr("Find a series (Ctrl+F)"), this);
    addToTitle(search);
    setWidget(stacked(this, m_filter, view));
    connect(search, &QToolButton::clicked, this, [this] { toggleFilter(m_filter); });
    connect(m_filter, &QLineEdit::textChanged, m_proxy, &QSortFilterProxyModel::setFilterFixedString);
    connect(m_filter, &QLineEdit::textChanged, view, &QTreeView::expandAll);
    connect(view, &QTreeView::clicked, this, [this](const QModelIndex& index) {
        const auto first = index.siblingAtColumn(0);
        if (first.data(SeriesModel::GroupRole).toBool())
            m_view->setExpanded(first, !m_view->isExpanded(first));
    });
    connect(m_proxy, &QAbstractItemModel::rowsInserted, this, [this](const QModelIndex& parentIndex) {
        if (!parentIndex.isValid())
            expandDefault();
    });
    connect(&session, &Session::focusedRunChanged, this, &SeriesDock::loadRun);
    connect(&session, &Session::gapFound, this, [this](const QString& run) {
        if (run == m_session.focusedRun())
            loadRun(run);
    });
    connect(&session, &Session::seriesListFetched, this, [this](JobId job, const std::vector<ipc::SeriesInfo>& series) {
        if (job == m_job)
            m_model.setSeries(series);
    });
}

void SeriesDock::loadRun(const QString& run) {
    if (!run.isEmpty())
        m_job = m_session.fetchSeriesList({run.toStdString(), 0}, QStringLiteral("*"));
}

/// Training, Validation, BPB and System stand open; the long lists per domain wait closed.
void SeriesDock::expandDefault() {
    for (int row = 0; row < m_proxy->rowCount(); ++row) {
        const auto group = m_proxy->index(row, 0);
        const auto title = group.data().toString();
        m_view->setFirstColumnSpanned(row, {}, true);
        if (!title.startsWith(SeriesModel::tr("Loss")) && !title.startsWith(SeriesModel::tr("Mixture")) && !title.startsWith(SeriesModel::tr("Chinese BPB")))
            m_view->expand(group);
    }
}

void SeriesDock::select(const QString& series) {
    show();
    const auto index = m_proxy->mapFromSource(m_model.indexOf(series));
    m_view->expand(index.parent());
    m_view->setCurrentIndex(index);
    m_view->scrollTo(index);
}

void SeriesDock::find() {
    show();
    m_filter->show();
    m_filter->setFocus();
    m_filter->selectAll();
}

} // namespace telehelm::app
