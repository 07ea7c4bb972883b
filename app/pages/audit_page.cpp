// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/audit_page.h"

#include <QAction>
#include <QButtonGroup>
#include <QComboBox>
#include <QFileDialog>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QScrollArea>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

#include "pages/audit_details.h"
#include "pages/page_header.h"
#include "widgets/delegates.h"
#include "widgets/panel.h"

namespace telehelm::app {

AuditPage::AuditPage(Session& session, ThemeController& theme, QWidget* parent) : QWidget(parent), m_session(session), m_theme(theme) {
    setObjectName(QStringLiteral("page"));
    m_filter.setSourceModel(&m_model);
    auto* all = new QVBoxLayout(this);
    all->setContentsMargins(0, 0, 0, 0);
    all->setSpacing(0);
    all->addWidget(buildHeader());
    auto* row = new QHBoxLayout;
    row->setSpacing(1);
    row->addWidget(buildTable(), 1);
    row->addWidget(buildDetails());
    all->addLayout(row, 1);
    connectSession();
    reload();
}

QWidget* AuditPage::buildHeader() {
    auto* header = new PageHeader(m_theme, tr("Audit log"), this);
    header->setRemark(tr("Who did what, when and why; entries cannot be edited"));
    auto* group = new QButtonGroup(header);
    const std::pair<QString, AuditCategory> segments[] = {
        {tr("All"), AuditCategory::All}, {tr("Run control"), AuditCategory::RunControl}, {tr("Mixture"), AuditCategory::Mixture}, {tr("Automatic"), AuditCategory::Automatic}};
    auto* segmentRow = new QHBoxLayout;
    segmentRow->setSpacing(0);
    for (std::size_t i = 0; i < std::size(segments); ++i) {
        auto* button = new QToolButton(header);
        button->setText(segments[i].first);
        button->setAccessibleName(tr("Show %1").arg(segments[i].first));
        button->setFont(m_theme.font(TextRole::Body));
        button->setCheckable(true);
        button->setChecked(i == 0);
        button->setProperty("segment", i == 0 ? QStringLiteral("first") : i + 1 == std::size(segments) ? QStringLiteral("last") : QStringLiteral("true"));
        group->addButton(button, static_cast<int>(segments[i].second));
        segmentRow->addWidget(button);
    }
    m_operator = new QComboBox(header);
    m_operator->setAccessibleName(tr("Operator"));
    m_operator->setFont(m_theme.font(TextRole::Body));
    m_operator->setFixedWidth(138);
    m_operator->addItem(tr("Any operator"));
    m_search = new QLineEdit(header);
    m_search->setAccessibleName(tr("Search reasons"));
    m_search->setPlaceholderText(tr("Search reasons"));
    m_search->setClearButtonEnabled(true);
    m_search->setFont(m_theme.font(TextRole::Body));
    m_search->setFixedWidth(190);
    m_search->addAction(m_theme.icon("search"), QLineEdit::LeadingPosition);
    auto* exportButton = makeButton(m_theme, "", "export", tr("Export CSV"), header);
    exportButton->setObjectName(QStringLiteral("exportCsv"));
    header->left()->addLayout(segmentRow);
    header->left()->addWidget(m_operator);
    header->left()->addWidget(m_search);
    header->right()->addWidget(exportButton);
    connect(group, &QButtonGroup::idClicked, this, [this](int category) {
        m_filter.setCategory(static_cast<AuditCategory>(category));
        countChanged();
    });
    connect(m_operator, &QComboBox::activated, this, [this](int index) {
        m_filter.setAuthor(index == 0 ? QString() : m_operator->itemText(index));
        countChanged();
    });
    connect(m_search, &QLineEdit::textChanged, this, [this](const QString& text) {
        m_filter.setSearch(text);
        countChanged();
    });
    connect(exportButton, &QPushButton::clicked, this, &AuditPage::exportCsv);
    return header;
}

QWidget* AuditPage::buildTable() {
    m_entries = new Panel(m_theme, tr("Entries"), this);
    m_entries->setRemark(tr("newest first, times in UTC"));
    m_table = new QTableView(m_entries);
    m_table->setObjectName(QStringLiteral("auditTable"));
    m_table->setAccessibleName(tr("Audit log entries"));
    m_table->setModel(&m_filter);
    setUpTable(m_table, m_theme, 30);
    m_table->setItemDelegate(new CellDelegate(
        m_theme,
        [this](const QModelIndex& index) {
            CellDelegate::Look look;
            const int column = index.column();
            look.font = column <= AuditModel::Step ? TextRole::TableNumber : TextRole::TableText;
            look.bold = column == AuditModel::Action;
            look.severity = index.data(AuditModel::SeverityRole).toInt();
            const Theme& colours = m_theme.theme();
            if (column == AuditModel::When || column == AuditModel::Why || column == AuditModel::Result) {
                look.colour = colours.tx2;
            } else if (column == AuditModel::Who && index.data(AuditModel::AutomaticRole).toBool()) {
                look.colour = colours.tx3;
            }
            return look;
        },
        this));
    const int widths[] = {140, 76, 104, 116, 160};
    for (int column = 0; column < 5; ++column) {
        m_table->setColumnWidth(column, widths[column]);
    }
    m_empty = makeLabel(m_theme, TextRole::Body, "quiet", {}, m_entries);
    static_cast<QLabel*>(m_empty)->setAlignment(Qt::AlignCenter);
    static_cast<QLabel*>(m_empty)->setWordWrap(true);
    m_entries->content()->addWidget(m_table, 1);
    m_entries->content()->addWidget(m_empty, 1);
    connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, &AuditPage::selectionChanged);
    connect(&m_filter, &QAbstractItemModel::dataChanged, this, &AuditPage::selectionChanged);
    return m_entries;
}

QWidget* AuditPage::buildDetails() {
    m_entryPanel = new Panel(m_theme, tr("Entry"), this);
    m_entryPanel->setFixedWidth(420);
    m_details = new AuditDetails(m_session, m_theme, m_entryPanel);
    auto* scroll = new QScrollArea(m_entryPanel);
    scroll->setWidgetResizable(true);
    scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
    scroll->setWidget(m_details);
    m_entryPanel->content()->addWidget(scroll, 1);
    connect(m_details, &AuditDetails::showOnPlots, this, &AuditPage::showOnPlots);
    return m_entryPanel;
}

void AuditPage::connectSession() {
    connect(&m_session, &Session::focusedRunChanged, this, &AuditPage::reload);
    connect(&m_session, &Session::runsChanged, this, &AuditPage::reload);
    connect(&m_session, &Session::commandChanged, this, [this](const ipc::Command& command) {
        if (concerns(command.key)) {
            m_model.upsert(auditEntry(command));
            countChanged();
        }
    });
    connect(&m_session, &Session::eventAdded, this, [this](const ipc::Event& event) {
        if (const auto entry = auditEntry(event); entry && concerns(event.key)) {
            m_model.upsert(*entry);
            countChanged();
        }
    });
}

bool AuditPage::concerns(const ipc::AttemptKey& key) const { return key.run == m_session.focusedRun().toStdString(); }

void AuditPage::reload() {
    std::vector<AuditEntry> entries;
    for (const auto& command : m_session.commands()) {
        if (concerns(command.key)) {
            entries.push_back(auditEntry(command));
        }
    }
    for (const auto& event : m_session.events()) {
        if (const auto entry = concerns(event.key) ? auditEntry(event) : std::nullopt) {
            entries.push_back(*entry);
        }
    }
    m_model.setEntries(std::move(entries));
    countChanged();
    for (int row = 0; row < m_filter.rowCount(); ++row) { // the entry that was shown stays shown
        if (m_model.entry(m_filter.mapToSource(m_filter.index(row, 0)).row()).key == m_shownKey) {
            m_table->setCurrentIndex(m_filter.index(row, 0));
            return;
        }
    }
    selectionChanged();
}

void AuditPage::countChanged() {
    const int rows = m_filter.rowCount();
    m_entries->setCount(rows);
    m_table->setVisible(rows > 0);
    m_empty->setVisible(rows == 0);
    static_cast<QLabel*>(m_empty)->setText(m_session.focusedRun().isEmpty() ? tr("No run is open.")
                                           : m_model.rowCount() == 0        ? tr("Nothing has been done to %1 yet.").arg(m_session.focusedRun())
                                                                            : tr("No entry matches the filters."));
    const QStringList names = m_model.authors();
    if (names.size() + 1 != m_operator->count()) {
        const QString chosen = m_operator->currentIndex() > 0 ? m_operator->currentText() : QString();
        m_operator->clear();
        m_operator->addItem(tr("Any operator"));
        m_operator->addItems(names);
        m_operator->setCurrentIndex(std::max(0, m_operator->findText(chosen)));
    }
}

void AuditPage::selectionChanged() {
    const QModelIndex current = m_filter.mapToSource(m_table->currentIndex());
    if (!current.isValid()) {
        m_shownKey.clear();
        m_entryPanel->setTitle(tr("Entry"));
        m_details->clear();
        return;
    }
    m_shownKey = m_model.entry(current.row()).key;
    m_entryPanel->setTitle(tr("Entry %1").arg(m_model.number(current.row())));
    m_details->setEntry(m_model.entry(current.row()));
}

void AuditPage::exportCsv() {
    const QString path = QFileDialog::getSaveFileName(this, tr("Export the audit log"), m_session.focusedRun() + QStringLiteral("-audit.csv"), tr("CSV files (*.csv)"));
    if (!path.isEmpty()) {
        saveTextFile(this, path, tableAsCsv(m_filter));
    }
}

} // namespace telehelm::app
