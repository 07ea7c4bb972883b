// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/connection_details.h"

#include <QClipboard>
#include <QGridLayout>
#include <QGuiApplication>
#include <QLabel>
#include <QPushButton>
#include <QVBoxLayout>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

QString stateOf(const LinkStatus& link) {
    const auto since = text::duration(static_cast<double>(ipc::nowUs() - link.sinceUs) / 1e6);
    switch (link.state) {
    case LinkState::Up: return ConnectionDetails::tr("up for %1, %2 ms").arg(since, link.latencyMs < 0 ? QStringLiteral("–") : text::fixed(link.latencyMs, 1));
    case LinkState::Down: return ConnectionDetails::tr("down for %1: %2").arg(since, link.text.isEmpty() ? ConnectionDetails::tr("no answer") : link.text);
    case LinkState::Connecting: return ConnectionDetails::tr("connecting for %1").arg(since);
    case LinkState::Off: break;
    }
    return ConnectionDetails::tr("off");
}

} // namespace

ConnectionDetails::ConnectionDetails(Session& session, ThemeController& theme) : ScrimDialog(theme), m_session(session) {
    auto* column = new QVBoxLayout(this);
    column->setContentsMargins(20, 16, 20, 16);
    column->setSpacing(12);
    column->addWidget(makeLabel(theme, TextRole::WindowTitle, "", tr("Connection to %1").arg(session.address()), this));
    m_daemon = makeLabel(theme, TextRole::Body, "secondary", {}, this);
    column->addWidget(m_daemon);
    auto* grid = new QGridLayout;
    grid->setColumnStretch(2, 1);
    grid->setHorizontalSpacing(8);
    m_control = addRow(grid, 0, tr("Control (gRPC)"));
    m_live = addRow(grid, 1, tr("Live stream (ZeroMQ)"));
    column->addLayout(grid);
    m_advice = makeLabel(theme, TextRole::Body, "secondary", {}, this);
    m_advice->setWordWrap(true);
    column->addWidget(m_advice);
    auto* buttons = new QHBoxLayout;
    auto* again = makeButton(theme, "primary", nullptr, tr("Try again"), this, true);
    auto* copy = makeButton(theme, "", "copy", tr("Copy details"), this, true);
    auto* close = makeButton(theme, "", nullptr, tr("Close"), this, true);
    buttons->addWidget(again);
    buttons->addWidget(copy);
    buttons->addStretch(1);
    buttons->addWidget(close);
    column->addLayout(buttons);
    connect(again, &QPushButton::clicked, &session, &Session::reconnectNow);
    connect(copy, &QPushButton::clicked, this, [this] { QGuiApplication::clipboard()->setText(asText()); });
    connect(close, &QPushButton::clicked, this, &QDialog::reject);
    m_timer.setInterval(500);
    connect(&m_timer, &QTimer::timeout, this, &ConnectionDetails::refresh);
    m_timer.start();
    refresh();
}

ConnectionDetails::Row ConnectionDetails::addRow(QGridLayout* grid, int row, const QString& name) {
    Row made{new QLabel(this), makeLabel(m_theme, TextRole::Body, "", name, this), makeLabel(m_theme, TextRole::TableNumber, "secondary", {}, this)};
    made.state->setWordWrap(true);
    made.state->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    made.state->setTextInteractionFlags(Qt::TextSelectableByMouse);
    grid->addWidget(made.icon, row, 0, Qt::AlignTop);
    grid->addWidget(made.name, row, 1, Qt::AlignTop);
    grid->addWidget(made.state, row, 2);
    return made;
}

void ConnectionDetails::setRow(const Row& row, const LinkStatus& link) {
    const auto severity = link.state == LinkState::Up ? ipc::Severity::Benign : link.state == LinkState::Down ? ipc::Severity::Critical : ipc::Severity::Info;
    row.icon->setPixmap(severityPixmap(m_theme, static_cast<int>(severity)));
    row.state->setText(stateOf(link));
}

void ConnectionDetails::refresh() {
    setRow(m_control, m_session.controlLink());
    setRow(m_live, m_session.liveLink());
    const auto& hello = m_session.hello();
    m_daemon->setText(hello.program.empty() ? tr("No daemon has answered yet.")
                                            : tr("%1, process %2, state in %3").arg(QString::fromStdString(hello.program)).arg(hello.pid).arg(QString::fromStdString(hello.stateDir)));
    const bool controlDown = m_session.controlLink().state == LinkState::Down, liveDown = m_session.liveLink().state == LinkState::Down;
    m_advice->setText(controlDown && liveDown ? tr("telehelmd does not answer. On its computer, “telehelmctl runs” says whether it runs and “telehelmctl daemon start” starts it; training goes on without it.")
                      : liveDown              ? tr("Control works, so nothing is lost: what the live stream misses is fetched from history.")
                      : controlDown           ? tr("Live values go on, but nothing can be ordered.")
                                              : tr("Both links are up."));
}

QString ConnectionDetails::asText() const {
    return tr("Connection to %1\n%2\nControl (gRPC): %3\nLive stream (ZeroMQ): %4\n")
        .arg(m_session.address(), m_daemon->text(), stateOf(m_session.controlLink()), stateOf(m_session.liveLink()));
}

} // namespace telehelm::app
