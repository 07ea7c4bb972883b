// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/first_start_page.h"

#include <QButtonGroup>
#include <QFrame>
#include <QGridLayout>
#include <QIntValidator>
#include <QLabel>
#include <QLineEdit>
#include <QPainter>
#include <QProgressBar>
#include <QPushButton>
#include <QToolButton>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

constexpr int kPageWidth = 1424, kHeadHeight = 102, kCardHeight = 476;
constexpr const char* kDefaultPort = "7443";

QWidget* keyHint(ThemeController& theme, const QStringList& keys, const QString& word, QWidget* parent) {
    auto* hint = new QWidget(parent);
    auto* row = new QHBoxLayout(hint);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(5);
    for (const auto& key : keys)
        row->addWidget(makeLabel(theme, TextRole::CaptionNumber, "chip", key, hint), 0, Qt::AlignVCenter);
    row->addWidget(makeLabel(theme, TextRole::TableText, "secondary", word, hint));
    return hint;
}

/// A picture that follows the theme.
QLabel* iconLabel(ThemeController& theme, const char* icon, int size, QWidget* parent) {
    auto* label = new QLabel(parent);
    const QByteArray name(icon);
    const auto paint = [label, &theme, name, size] { label->setPixmap(theme.icon(name.constData(), theme.theme().accent).pixmap(size, size)); };
    paint();
    QObject::connect(&theme, &ThemeController::changed, label, paint);
    return label;
}

} // namespace

FirstStartPage::FirstStartPage(Session& session, ThemeController& theme, QSettings& settings, SessionLinks links, QWidget* parent)
    : QWidget(parent), m_session(session), m_theme(theme), m_settings(settings), m_links(std::move(links)) {
    setObjectName(QStringLiteral("page"));
    auto* outer = new QHBoxLayout(this);
    outer->setContentsMargins(24, 0, 24, 24);
    auto* middle = new QWidget(this);
    middle->setMaximumWidth(kPageWidth);
    outer->addStretch(1);
    outer->addWidget(middle, 1000);
    outer->addStretch(1);
    auto* column = new QVBoxLayout(middle);
    column->setContentsMargins(0, 24, 0, 0);
    column->setSpacing(22);
    column->addWidget(buildHead());
    auto* cards = new QHBoxLayout;
    cards->setSpacing(16);
    cards->addWidget(buildConnectCard(), 1);
    cards->addWidget(buildDemoCard(), 1);
    column->addLayout(cards);
    column->addWidget(buildRecent());
    column->addStretch(1);
    fillRecent();
    connect(&theme, &ThemeController::changed, this, qOverload<>(&QWidget::update));
}

QWidget* FirstStartPage::buildHead() {
    auto* head = new QWidget(this);
    head->setFixedHeight(kHeadHeight);
    auto* row = new QHBoxLayout(head);
    row->setContentsMargins(0, 0, 0, 0);
    row->setSpacing(16);
    auto* logo = new QLabel(head);
    logo->setPixmap(QIcon(QStringLiteral(":/icons/telehelm.svg")).pixmap(58, 58));
    row->addWidget(logo);
    auto* words = new QVBoxLayout;
    words->setSpacing(2);
    auto* name = makeLabel(m_theme, TextRole::WindowTitle, "", tr("Telehelm"), head);
    auto big = name->font();
    big.setPixelSize(28);
    name->setFont(big);
    words->addStretch(1);
    words->addWidget(name);
    words->addWidget(makeLabel(m_theme, TextRole::Body, "secondary", tr("Watch and steer language-model pre-training runs"), head));
    words->addStretch(1);
    row->addLayout(words);
    row->addStretch(1);
    row->addWidget(keyHint(m_theme, {QStringLiteral("Ctrl"), QStringLiteral("Shift"), QStringLiteral("C")}, tr("connect"), head));
    row->addSpacing(6);
    row->addWidget(keyHint(m_theme, {QStringLiteral("Ctrl"), QStringLiteral("K")}, tr("every action"), head));
    return head;
}

QFrame* FirstStartPage::makeCard(const char* icon, const QString& title, const QString& what, QVBoxLayout** body) {
    auto* card = new QFrame(this);
    card->setObjectName(QStringLiteral("card"));
    card->setMinimumHeight(kCardHeight);
    auto* column = new QVBoxLayout(card);
    column->setContentsMargins(19, 16, 18, 16);
    column->setSpacing(10);
    auto* head = new QHBoxLayout;
    head->setSpacing(10);
    head->addWidget(iconLabel(m_theme, icon, 18, card));
    head->addWidget(makeLabel(m_theme, TextRole::WindowTitle, "", title, card));
    head->addStretch(1);
    column->addLayout(head);
    auto* about = makeLabel(m_theme, TextRole::TableText, "secondary", what, card);
    about->setWordWrap(true);
    column->addWidget(about);
    *body = column;
    return card;
}

QWidget* FirstStartPage::buildConnectCard() {
    QVBoxLayout* column = nullptr;
    auto* card = makeCard("server", tr("Connect to a backend"), tr("A backend (telehelmd) supervises the ranks. Control and history use gRPC, live values use ZeroMQ."), &column);
    auto* form = new QGridLayout;
    form->setHorizontalSpacing(12);
    form->setVerticalSpacing(8);
    form->setColumnMinimumWidth(0, 106);
    form->setColumnStretch(1, 1);
    m_host = new QLineEdit(card);
    m_host->setAccessibleName(tr("Host of the backend"));
    m_host->setText(QStringLiteral("127.0.0.1"));
    m_port = new QLineEdit(QLatin1String(kDefaultPort), card);
    m_port->setAccessibleName(tr("Control port"));
    m_port->setValidator(new QIntValidator(1, 65535, m_port));
    m_port->setFont(m_theme.font(TextRole::TableNumber));
    m_port->setFixedWidth(84);
    form->addWidget(makeLabel(m_theme, TextRole::Body, "secondary", tr("Host"), card), 0, 0);
    form->addWidget(m_host, 0, 1);
    form->addWidget(makeLabel(m_theme, TextRole::Body, "secondary", tr("Control port"), card), 1, 0);
    form->addWidget(m_port, 1, 1, Qt::AlignLeft);
    column->addLayout(form);
    column->addWidget(makeLabel(m_theme, TextRole::Caption, "quiet", tr("The backend itself says where its live stream is."), card));
    m_checkArea = new QWidget(card);
    auto* checks = new QGridLayout(m_checkArea);
    checks->setContentsMargins(0, 8, 0, 0);
    checks->setColumnStretch(2, 1);
    addCheck(checks, 0, tr("Control (gRPC)"));
    addCheck(checks, 1, tr("Live stream (ZeroMQ)"));
    addCheck(checks, 2, tr("Runs"));
    m_checkArea->hide();
    column->addWidget(m_checkArea);
    column->addStretch(1);
    auto* buttons = new QHBoxLayout;
    m_test = makeButton(m_theme, "", nullptr, tr("Test"), card, true);
    m_connect = makeButton(m_theme, "primary", "plug", tr("Connect"), card, true);
    buttons->addWidget(m_test);
    buttons->addStretch(1);
    buttons->addWidget(m_connect);
    column->addLayout(buttons);
    connect(m_test, &QPushButton::clicked, this, &FirstStartPage::runTest);
    connect(m_connect, &QPushButton::clicked, this, [this] { emit connectAsked(address()); });
    connect(m_host, &QLineEdit::returnPressed, m_connect, &QPushButton::click);
    connect(m_port, &QLineEdit::returnPressed, m_connect, &QPushButton::click);
    return card;
}

QWidget* FirstStartPage::buildDemoCard() {
    QVBoxLayout* column = nullptr;
    auto* card = makeCard("play", tr("Start the demo run"), tr("A real run: a small Tele-FLM learns on this computer’s processor from English, Chinese and code text."), &column);
    const auto fact = [&](ipc::Severity severity, const QString& sentence) {
        auto* row = new QHBoxLayout;
        row->setSpacing(8);
        auto* icon = new QLabel(card);
        icon->setPixmap(severityPixmap(m_theme, static_cast<int>(severity), 14));
        connect(&m_theme, &ThemeController::changed, icon, [icon, severity, this] { icon->setPixmap(severityPixmap(m_theme, static_cast<int>(severity), 14)); });
        row->addWidget(icon);
        row->addWidget(makeLabel(m_theme, TextRole::Body, "secondary", sentence, card), 1);
        column->addLayout(row);
    };
    column->addSpacing(6);
    fact(ipc::Severity::Benign, tr("Every curve comes from a model that learns"));
    fact(ipc::Severity::Benign, tr("Pause, mixture and restart really act"));
    fact(ipc::Severity::Info, tr("Its text comes from Debian packages, fetched once, and works offline afterwards"));
    fact(ipc::Severity::Info, tr("The run goes on when this window is closed; Stop ends it"));
    column->addSpacing(6);
    auto* ranks = new QHBoxLayout;
    ranks->setSpacing(0);
    auto* word = makeLabel(m_theme, TextRole::Body, "secondary", tr("Ranks"), card);
    word->setContentsMargins(0, 0, 12, 0);
    ranks->addWidget(word);
    m_ranks = new QButtonGroup(this);
    for (const int count : {1, 2}) {
        auto* choice = new QToolButton(card);
        choice->setText(QString::number(count));
        choice->setAccessibleName(tr("%1 rank(s)").arg(count));
        choice->setCheckable(true);
        choice->setChecked(count == 2);
        choice->setProperty("segment", count == 1 ? "first" : "last");
        m_ranks->addButton(choice, count);
        ranks->addWidget(choice);
    }
    m_meshText = makeLabel(m_theme, TextRole::Caption, "quiet", {}, card);
    m_meshText->setContentsMargins(12, 0, 0, 0);
    ranks->addWidget(m_meshText);
    ranks->addStretch(1);
    column->addLayout(ranks);
    const auto mesh = [this] { m_meshText->setText(tr("tensor 1 × pipeline 1 × data %1").arg(m_ranks->checkedId())); };
    connect(m_ranks, &QButtonGroup::idToggled, this, mesh);
    mesh();
    column->addStretch(1);
    m_demoBar = new QProgressBar(card);
    m_demoBar->setRange(0, 0);
    m_demoBar->setTextVisible(false);
    m_demoBar->hide();
    column->addWidget(m_demoBar);
    auto* foot = new QHBoxLayout;
    m_demoState = makeLabel(m_theme, TextRole::Caption, "quiet", tr("Nothing leaves this computer"), card);
    m_demoState->setWordWrap(true);
    m_demo = makeButton(m_theme, "", "play", tr("Start demo"), card, true);
    foot->addWidget(m_demoState, 1);
    foot->addWidget(m_demo);
    column->addLayout(foot);
    connect(m_demo, &QPushButton::clicked, this, [this] { emit demoAsked(m_ranks->checkedId()); });
    return card;
}

void FirstStartPage::setAddress(const QString& address) {
    const auto colon = address.lastIndexOf(QLatin1Char(':'));
    m_host->setText(colon < 0 ? address : address.left(colon));
    m_port->setText(colon < 0 ? QLatin1String(kDefaultPort) : address.mid(colon + 1));
}

QString FirstStartPage::address() const {
    const auto host = m_host->text().trimmed();
    return (host.isEmpty() ? QStringLiteral("127.0.0.1") : host) + QLatin1Char(':') + (m_port->text().isEmpty() ? QLatin1String(kDefaultPort) : m_port->text());
}

void FirstStartPage::showDemoProgress(const QString& sentence) {
    setRole(m_demoState, "quiet");
    m_demoState->setText(sentence.isEmpty() ? tr("Nothing leaves this computer") : sentence);
    m_demoBar->setVisible(!sentence.isEmpty());
    m_demo->setEnabled(sentence.isEmpty());
}

void FirstStartPage::showDemoFailure(const QString& sentence) {
    showDemoProgress({});
    setRole(m_demoState, "crit");
    m_demoState->setText(sentence);
}

void FirstStartPage::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    painter.fillRect(rect(), m_theme.theme().window);
}

} // namespace telehelm::app
