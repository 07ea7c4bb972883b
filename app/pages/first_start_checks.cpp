// SPDX-License-Identifier: GPL-3.0-or-later
// The first-start page's test of a connection, and its list of recent ones.
#include <QDateTime>
#include <QFrame>
#include <QGridLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QSettings>
#include <QStandardItemModel>
#include <QTableView>
#include <QTimer>
#include <QVBoxLayout>

#include "models/runs_model.h"
#include "models/text_format.h"
#include "pages/first_start_page.h"
#include "widgets/delegates.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

constexpr int kMostRecent = 8;
constexpr int kTestMs = 8000;
const QString kRecentKey = QStringLiteral("recent");

struct Recent {
    QString address, run, state;
    qint64 step = -1, openedUs = 0;
};

std::vector<Recent> loadRecent(QSettings& settings) {
    std::vector<Recent> list;
    const int count = settings.beginReadArray(kRecentKey);
    for (int i = 0; i < count; ++i) {
        settings.setArrayIndex(i);
        list.push_back({settings.value("address").toString(), settings.value("run").toString(), settings.value("state").toString(),
                        settings.value("step", -1).toLongLong(), settings.value("opened").toLongLong()});
    }
    settings.endArray();
    return list;
}

void saveRecent(QSettings& settings, const std::vector<Recent>& list) {
    settings.remove(kRecentKey);
    settings.beginWriteArray(kRecentKey, static_cast<int>(list.size()));
    for (std::size_t i = 0; i < list.size(); ++i) {
        settings.setArrayIndex(static_cast<int>(i));
        settings.setValue("address", list[i].address);
        settings.setValue("run", list[i].run);
        settings.setValue("state", list[i].state);
        settings.setValue("step", list[i].step);
        settings.setValue("opened", list[i].openedUs);
    }
    settings.endArray();
}

} // namespace

void FirstStartPage::addCheck(QGridLayout* grid, int row, const QString& name) {
    Check check{new QLabel(m_checkArea), makeLabel(m_theme, TextRole::TableText, "secondary", name, m_checkArea),
                makeLabel(m_theme, TextRole::TableNumber, "", {}, m_checkArea)};
    check.text->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    check.text->setWordWrap(true);
    grid->addWidget(check.icon, row, 0, Qt::AlignTop);
    grid->addWidget(check.name, row, 1, Qt::AlignTop);
    grid->addWidget(check.text, row, 2);
    m_checks.push_back(check);
}

void FirstStartPage::setCheck(int row, ipc::Severity severity, const QString& text) {
    auto& check = m_checks[static_cast<std::size_t>(row)];
    check.icon->setPixmap(severityPixmap(m_theme, static_cast<int>(severity), 14));
    check.text->setText(text);
}

QString FirstStartPage::testResults() const {
    QStringList lines;
    for (const auto& check : m_checks)
        lines << check.name->text() + QStringLiteral(": ") + check.text->text();
    return lines.join(QLatin1Char('\n'));
}

void FirstStartPage::runTest() {
    m_probe = std::make_unique<Session>(m_links);
    for (auto signal : {&Session::controlLinkChanged, &Session::liveLinkChanged, &Session::runsChanged})
        connect(m_probe.get(), signal, this, &FirstStartPage::refreshTest);
    m_checkArea->show();
    m_test->setEnabled(false);
    m_probe->open(address());
    refreshTest();
    QTimer::singleShot(kTestMs, m_probe.get(), [this] {
        m_test->setEnabled(true);
        m_probe->close(); // keeps trying no longer; what was found stays in the rows
    });
}

void FirstStartPage::refreshTest() {
    if (!m_probe || m_probe->address().isEmpty())
        return;
    const auto& control = m_probe->controlLink();
    const auto& live = m_probe->liveLink();
    const auto wait = tr("waiting…");
    switch (control.state) {
    case LinkState::Up:
        setCheck(0, ipc::Severity::Benign, tr("%1, %2 ms").arg(QString::fromStdString(m_probe->hello().program), text::fixed(control.latencyMs, 1)));
        setCheck(2, ipc::Severity::Info, text::count(static_cast<qint64>(m_probe->runs().size())));
        break;
    case LinkState::Down:
        setCheck(0, ipc::Severity::Critical, control.text);
        setCheck(1, ipc::Severity::Info, tr("not asked"));
        setCheck(2, ipc::Severity::Info, QStringLiteral("–"));
        m_test->setEnabled(true);
        return;
    default:
        for (const int row : {0, 1, 2})
            setCheck(row, ipc::Severity::Info, wait);
        return;
    }
    if (live.state == LinkState::Up)
        setCheck(1, ipc::Severity::Benign, QString::fromStdString(m_probe->hello().liveEndpoint));
    else if (live.state == LinkState::Down)
        setCheck(1, ipc::Severity::Critical, live.text);
    else
        setCheck(1, ipc::Severity::Info, wait);
    m_test->setEnabled(live.state == LinkState::Up || live.state == LinkState::Down);
}

QWidget* FirstStartPage::buildRecent() {
    auto* card = new QFrame(this);
    card->setObjectName(QStringLiteral("card"));
    m_recentCard = card;
    auto* column = new QVBoxLayout(card);
    column->setContentsMargins(1, 1, 1, 1);
    column->setSpacing(0);
    auto* panel = new Panel(m_theme, tr("Recent"), card);
    m_clear = makeButton(m_theme, "flat", nullptr, tr("Clear list"), panel);
    panel->titleBar()->addWidget(m_clear);
    m_recentModel = new QStandardItemModel(this);
    m_recent = new QTableView(panel);
    m_recent->setAccessibleName(tr("Recent connections"));
    setUpTable(m_recent, m_theme, 26);
    m_recent->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
    m_recent->setModel(m_recentModel);
    m_recent->setItemDelegate(new CellDelegate(m_theme,
                                               [](const QModelIndex& index) {
                                                   CellDelegate::Look look;
                                                   if (index.column() == 2 || index.column() == 3)
                                                       look.font = TextRole::TableNumber;
                                                   look.bold = index.column() == 0;
                                                   return look;
                                               },
                                               m_recent));
    panel->content()->addWidget(m_recent);
    column->addWidget(panel);
    connect(m_clear, &QPushButton::clicked, this, [this] {
        saveRecent(m_settings, {});
        fillRecent();
    });
    connect(m_recent, &QTableView::activated, this, [this](const QModelIndex& index) { emit connectAsked(index.siblingAtColumn(2).data().toString()); });
    connect(m_recent, &QTableView::clicked, this, [this](const QModelIndex& index) { setAddress(index.siblingAtColumn(2).data().toString()); });
    return card;
}

void FirstStartPage::fillRecent() {
    m_recentModel->clear();
    m_recentModel->setHorizontalHeaderLabels({tr("Name"), tr("Kind"), tr("Where"), tr("Last step"), tr("Opened"), tr("State when last seen")});
    for (const auto& entry : loadRecent(m_settings)) {
        QList<QStandardItem*> row;
        for (const auto& cell : {entry.run.isEmpty() ? tr("no run") : entry.run, tr("Backend"), entry.address,
                                 entry.step < 0 ? QStringLiteral("–") : text::count(entry.step), text::utcShort(entry.openedUs), entry.state})
            row << new QStandardItem(cell);
        m_recentModel->appendRow(row);
    }
    const int rows = m_recentModel->rowCount();
    m_recentCard->setVisible(rows > 0);
    m_recent->setFixedHeight(25 + rows * 26 + 2);
    int column = 0;
    for (const int width : {240, 150, 480, 120, 160})
        m_recent->setColumnWidth(column++, width);
}

void FirstStartPage::remember(const QString& address, const ipc::RunInfo* run) {
    auto list = loadRecent(m_settings);
    std::erase_if(list, [&](const Recent& entry) { return entry.address == address; });
    Recent entry{address, {}, tr("no run"), -1, ipc::nowUs()};
    if (run != nullptr && run->newest() != nullptr) {
        entry.run = QString::fromStdString(run->run);
        entry.state = stateText(run->newest()->state);
        entry.step = run->newest()->step;
    }
    list.insert(list.begin(), entry);
    if (list.size() > kMostRecent)
        list.resize(kMostRecent);
    saveRecent(m_settings, list);
    fillRecent();
}

} // namespace telehelm::app
