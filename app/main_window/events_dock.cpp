// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/events_dock.h"

#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QMenu>
#include <QPainter>
#include <QPushButton>
#include <QScrollArea>
#include <QStackedWidget>
#include <QTabBar>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/delegates.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

constexpr int kDetailsWidth = 404;

/// The kind of an event as a chip in its severity's fill.
class ChipDelegate : public QStyledItemDelegate {
public:
    ChipDelegate(ThemeController& theme, QObject* parent) : QStyledItemDelegate(parent), m_theme(theme) {}
    void paint(QPainter* painter, const QStyleOptionViewItem& option, const QModelIndex& index) const override {
        painter->save();
        painter->setRenderHint(QPainter::Antialiasing);
        paintRow(painter, option, m_theme.theme());
        const auto& t = m_theme.theme();
        const auto severity = static_cast<ipc::Severity>(index.data(EventsModel::SeverityRole).toInt());
        const bool crit = severity == ipc::Severity::Critical;
        const QColor fill = crit ? t.critFill : severity == ipc::Severity::Warning ? t.warnFill : severity == ipc::Severity::Benign ? t.okFill : t.infoFill;
        const QColor word = crit ? t.crit : severity == ipc::Severity::Warning ? t.warn : severity == ipc::Severity::Benign ? t.ok : t.info;
        painter->setFont(m_theme.font(TextRole::Caption));
        const auto text = index.data().toString();
        const QRectF chip(option.rect.left() + 8.5, option.rect.center().y() - 8.5, painter->fontMetrics().horizontalAdvance(text) + 16, 18);
        painter->setPen(crit ? QPen(t.crit) : QPen(Qt::NoPen));
        painter->setBrush(fill);
        painter->drawRoundedRect(chip, 3, 3);
        painter->setPen(word);
        painter->drawText(chip, Qt::AlignCenter, text);
        painter->restore();
    }

private:
    ThemeController& m_theme;
};

CellDelegate::Chooser eventLook() {
    return [](const QModelIndex& index) {
        CellDelegate::Look look;
        if (index.column() == EventsModel::Severity)
            look.severity = index.data(EventsModel::SeverityRole).toInt();
        if (index.column() == EventsModel::Raised || index.column() == EventsModel::Step)
            look.font = TextRole::TableNumber;
        return look;
    };
}

void columnWidths(QTableView* table, std::initializer_list<int> widths) {
    table->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
    int column = 0;
    for (const int width : widths)
        table->setColumnWidth(column++, width);
}

} // namespace

EventsDock::EventsDock(Session& session, ThemeController& theme, MessagesModel& messages, QWidget* parent)
    : Dock(theme, QStringLiteral("eventsDock"), tr("Events"), true, parent), m_session(session), m_theme(theme) {
    m_filter.setSourceModel(&m_model);
    buildTitle();
    m_stack = new QStackedWidget(this);
    m_stack->setObjectName(QStringLiteral("panel"));
    m_stack->addWidget(buildEvents());
    m_stack->addWidget(buildAudit());
    m_stack->addWidget(buildMessages(messages));
    setWidget(m_stack);
    connect(m_tabs, &QTabBar::currentChanged, m_stack, &QStackedWidget::setCurrentIndex);
    connect(&session, &Session::eventAdded, this, [this](const ipc::Event& event) {
        m_model.add(event);
        if (const auto entry = auditEntry(event))
            m_audit.upsert(*entry);
        refreshCount();
    });
    connect(&session, &Session::commandChanged, this, [this](const ipc::Command& command) { m_audit.upsert(auditEntry(command)); });
    connect(&session, &Session::runsChanged, this, [this] {
        if (m_session.runs().empty())
            reload();
    });
    connect(&session, &Session::runDeleted, this, &EventsDock::reload);
    connect(&session, &Session::focusedRunChanged, this, [this](const QString& run) {
        m_filter.setRun(run);
        refreshCount();
        showDetails();
    });
    reload();
}

void EventsDock::buildTitle() {
    m_tabs = useTabs({tr("Events"), tr("Audit log"), tr("Messages")});
    m_count = makeLabel(m_theme, TextRole::Caption, "quiet", {}, this);
    m_count->setContentsMargins(0, 0, 10, 0);
    addToTitle(m_count);
    m_severity = new QToolButton(this);
    m_severity->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
    m_severity->setPopupMode(QToolButton::InstantPopup);
    m_severity->setText(tr("All severities"));
    m_severity->setIcon(m_theme.icon("filter"));
    m_severity->setFont(m_theme.font(TextRole::Caption));
    connect(&m_theme, &ThemeController::changed, this, [this] { m_severity->setIcon(m_theme.icon("filter")); });
    chooseSeverity();
    addToTitle(m_severity);
}

void EventsDock::chooseSeverity() {
    auto* menu = new QMenu(m_severity);
    const std::pair<QString, ipc::Severity> choices[] = {
        {tr("All severities"), ipc::Severity::Info}, {tr("Warnings and critical"), ipc::Severity::Warning}, {tr("Critical only"), ipc::Severity::Critical}};
    for (const auto& [word, least] : choices)
        connect(menu->addAction(word), &QAction::triggered, this, [this, word = word, least = least] {
            m_severity->setText(word);
            m_filter.setLeast(least);
            refreshCount();
        });
    m_severity->setMenu(menu);
}

QWidget* EventsDock::buildEvents() {
    auto* page = new QWidget(this);
    auto* row = new QHBoxLayout(page);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(0);
    m_events = new QTableView(page);
    m_events->setAccessibleName(tr("Events"));
    setUpTable(m_events, m_theme, 26);
    m_events->setModel(&m_filter);
    m_events->setWordWrap(false);
    m_events->setItemDelegate(new CellDelegate(m_theme, eventLook(), m_events));
    m_events->setItemDelegateForColumn(EventsModel::Kind, new ChipDelegate(m_theme, m_events));
    columnWidths(m_events, {34, 104, 82, 112});
    row->addWidget(m_events, 1);
    row->addWidget(buildDetails());
    connect(m_events->selectionModel(), &QItemSelectionModel::currentRowChanged, this, &EventsDock::showDetails);
    connect(m_events, &QTableView::doubleClicked, this, [this] {
        if (const auto* event = selected(); event != nullptr && event->step >= 0)
            emit zoomAsked(event->step);
    });
    return page;
}

QWidget* EventsDock::buildDetails() {
    m_details = new QWidget(this);
    m_details->setFixedWidth(kDetailsWidth);
    auto* column = new QVBoxLayout(m_details);
    column->setContentsMargins(14, 10, 12, 10);
    column->setSpacing(6);
    auto* head = new QHBoxLayout;
    head->setSpacing(8);
    m_detailIcon = new QLabel(m_details);
    m_detailTitle = makeLabel(m_theme, TextRole::Section, "", {}, m_details);
    m_detailWhen = makeLabel(m_theme, TextRole::Caption, "quiet", {}, m_details);
    head->addWidget(m_detailIcon);
    head->addWidget(m_detailTitle, 1);
    head->addWidget(m_detailWhen);
    column->addLayout(head);
    m_detailText = makeLabel(m_theme, TextRole::TableText, "secondary", {}, m_details);
    m_detailText->setWordWrap(true);
    m_detailText->setTextInteractionFlags(Qt::TextSelectableByMouse);
    m_detailText->setAlignment(Qt::AlignTop | Qt::AlignLeft);
    auto* scroll = new QScrollArea(m_details);
    scroll->setWidgetResizable(true);
    scroll->setFrameShape(QFrame::NoFrame);
    scroll->setWidget(m_detailText);
    column->addWidget(scroll, 1);
    auto* buttons = new QHBoxLayout;
    buttons->setSpacing(8);
    m_restart = makeButton(m_theme, "danger", "restart", tr("Restart from before…"), m_details);
    m_zoom = makeButton(m_theme, "", "zoom", tr("Zoom"), m_details);
    buttons->addWidget(m_restart);
    buttons->addWidget(m_zoom);
    buttons->addStretch(1);
    column->addLayout(buttons);
    connect(m_zoom, &QPushButton::clicked, this, [this] {
        if (const auto* event = selected())
            emit zoomAsked(event->step);
    });
    connect(m_restart, &QPushButton::clicked, this, [this] {
        if (const auto* event = selected())
            emit restartAsked(event->step);
    });
    m_details->hide();
    return m_details;
}

QWidget* EventsDock::buildAudit() {
    auto* page = new QTableView(this);
    page->setAccessibleName(tr("Audit log, newest first"));
    setUpTable(page, m_theme, 26);
    page->setModel(&m_audit);
    page->setWordWrap(false);
    page->setItemDelegate(new CellDelegate(m_theme,
                                           [](const QModelIndex& index) {
                                               CellDelegate::Look look;
                                               if (index.column() == AuditModel::When || index.column() == AuditModel::Step)
                                                   look.font = TextRole::TableNumber;
                                               if (index.column() == AuditModel::Result)
                                                   look.severity = index.data(AuditModel::SeverityRole).toInt();
                                               return look;
                                           },
                                           page));
    columnWidths(page, {176, 82, 150, 300, 260});
    connect(page, &QTableView::doubleClicked, this, &EventsDock::auditPageAsked);
    return page;
}

QWidget* EventsDock::buildMessages(MessagesModel& messages) {
    auto* page = new QTableView(this);
    page->setAccessibleName(tr("Messages, newest first"));
    setUpTable(page, m_theme, 26);
    page->setModel(&messages);
    page->setWordWrap(false);
    page->setItemDelegate(new CellDelegate(m_theme,
                                           [](const QModelIndex& index) {
                                               CellDelegate::Look look;
                                               if (index.column() == MessagesModel::Severity)
                                                   look.severity = index.data(MessagesModel::SeverityRole).toInt();
                                               if (index.column() == MessagesModel::When)
                                                   look.font = TextRole::TableNumber;
                                               return look;
                                           },
                                           page));
    columnWidths(page, {34, 90});
    return page;
}

void EventsDock::reload() {
    m_model.setEvents(m_session.events());
    std::vector<AuditEntry> entries;
    for (const auto& command : m_session.commands())
        entries.push_back(auditEntry(command));
    for (const auto& event : m_session.events())
        if (const auto entry = auditEntry(event))
            entries.push_back(*entry);
    m_audit.setEntries(std::move(entries));
    refreshCount();
    showDetails();
}

void EventsDock::refreshCount() {
    const int shown = m_filter.rowCount(), all = m_model.rowCount();
    m_count->setText(shown == all ? tr("%1 total").arg(text::count(all)) : tr("%1 shown, %2 total").arg(text::count(shown), text::count(all)));
}

const ipc::Event* EventsDock::selected() const {
    const auto current = m_events->selectionModel()->currentIndex();
    return current.isValid() ? &m_model.event(m_filter.mapToSource(current).row()) : nullptr;
}

void EventsDock::showDetails() {
    const auto* event = selected();
    m_details->setVisible(event != nullptr);
    if (event == nullptr)
        return;
    m_detailIcon->setPixmap(severityPixmap(m_theme, static_cast<int>(event->severity)));
    m_detailTitle->setText(event->step >= 0 ? tr("%1 at step %2").arg(kindText(event->kind), text::count(event->step)) : kindText(event->kind));
    m_detailWhen->setText(text::utcLong(event->wallUs));
    QString body = QString::fromStdString(event->text);
    for (const auto& [key, value] : event->facts)
        body += QStringLiteral("\n%1: %2").arg(QString::fromStdString(key), QString::fromStdString(value));
    m_detailText->setText(body);
    m_zoom->setVisible(event->step >= 0);
    m_restart->setVisible(event->step > 0);
}

void EventsDock::selectEvent(qint64 id) {
    const int row = m_model.rowOf(id);
    if (row < 0)
        return;
    const auto index = m_filter.mapFromSource(m_model.index(row, 0));
    showTab(0);
    m_events->setCurrentIndex(index);
    m_events->scrollTo(index);
}

void EventsDock::stepSelection(int by) {
    if (m_filter.rowCount() == 0)
        return;
    const auto current = m_events->selectionModel()->currentIndex();
    const int row = current.isValid() ? std::clamp(current.row() + by, 0, m_filter.rowCount() - 1) : 0;
    showTab(0);
    m_events->setCurrentIndex(m_filter.index(row, 0));
}

void EventsDock::showTab(int tab) {
    show();
    m_tabs->setCurrentIndex(tab);
}

} // namespace telehelm::app
