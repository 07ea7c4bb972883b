// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/status_strip.h"

#include <QDateTime>
#include <QLabel>
#include <QPainter>

#include <utility>

#include "models/runs_model.h"
#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

QString milliseconds(double ms) { return ms < 0 ? QStringLiteral("–") : ms < 1 ? QStringLiteral("<1") : QString::number(qRound(ms)); }

QString ageText(qint64 us) {
    const double seconds = static_cast<double>(std::max<qint64>(0, us)) / 1e6;
    return seconds < 10 ? text::fixed(seconds, 1) + QStringLiteral(" s") : text::duration(seconds);
}

} // namespace

StatusStrip::StatusStrip(Session& session, ThemeController& theme, QWidget* parent) : QStatusBar(parent), m_session(session), m_theme(theme) {
    setFixedHeight(24);
    setSizeGripEnabled(false);
    setContentsMargins(10, 0, 0, 0);
    m_lamp = new QLabel(this);
    m_left = makeLabel(theme, TextRole::Caption, "secondary", {}, this);
    m_left->setObjectName(QStringLiteral("statusLeft"));
    addWidget(m_lamp);
    addWidget(m_left);
    m_control = addCell("statusControl");
    m_live = addCell("statusLive");
    m_rate = addCell("statusRate");
    m_gaps = addCell("statusGaps");
    m_complete = addCell("statusComplete");
    for (auto signal : {&Session::controlLinkChanged, &Session::liveLinkChanged, &Session::fidelityChanged})
        connect(&session, signal, this, &StatusStrip::refresh);
    connect(&session, &Session::runDeleted, this, [this](const ipc::DeletedRun& run, bool wasOpen) {
        if (wasOpen)
            rememberDeleted(run);
    });
    connect(&session, &Session::focusedRunChanged, this, &StatusStrip::focusMoved);
    connect(&theme, &ThemeController::changed, this, &StatusStrip::refresh);
    m_timer.setInterval(250);
    connect(&m_timer, &QTimer::timeout, this, &StatusStrip::refresh);
    m_timer.start();
    refresh();
}

QLabel* StatusStrip::addCell(const char* name) {
    auto* cell = makeLabel(m_theme, TextRole::Caption, "secondary", {}, this);
    cell->setObjectName(QString::fromLatin1(name));
    cell->setTextFormat(Qt::RichText);
    cell->setContentsMargins(11, 0, 10, 0);
    addPermanentWidget(cell);
    return cell;
}

void StatusStrip::setCell(QLabel* cell, const Part& part, const char* role) {
    const auto text = QStringLiteral("%1 <span style=\"font-family:'JetBrains Mono'; color:%4\">%2</span> %3")
                          .arg(part.words, part.number.toHtmlEscaped(), part.rest,
                               qstrcmp(role, "warn") == 0 ? m_theme.theme().warn.name() : m_theme.theme().tx.name());
    if (cell->text() == text)
        return;
    if (cell->property("role").toString() != QLatin1String(role))
        setRole(cell, role);
    cell->setText(text);
    cell->setAccessibleName((part.words + QLatin1Char(' ') + part.number + QLatin1Char(' ') + part.rest).trimmed());
}

StatusStrip::Part StatusStrip::linkPart(const QString& name, const LinkStatus& link) const {
    switch (link.state) {
    case LinkState::Up: return {name, milliseconds(link.latencyMs) + QStringLiteral(" ms"), {}};
    case LinkState::Down: return {tr("%1 down").arg(name), text::duration(static_cast<double>(ipc::nowUs() - link.sinceUs) / 1e6), {}};
    case LinkState::Connecting: return {name, tr("connecting"), {}};
    case LinkState::Off: break;
    }
    return {name, tr("off"), {}};
}

void StatusStrip::setFollowing(bool following) {
    m_following = following;
    refresh();
}

// The toast about it goes; whoever was away shall still learn why the curves are gone.
void StatusStrip::rememberDeleted(const ipc::DeletedRun& run) {
    const auto name = QString::fromStdString(run.run);
    m_deleted = run.author.empty() ? tr("The run %1 was deleted").arg(name) : tr("The run %1 was deleted by %2").arg(name, QString::fromStdString(run.author));
    m_whyDeleted = QString::fromStdString(run.reason);
    m_isReplacedByItself = false;
    refresh();
}

void StatusStrip::focusMoved(const QString& run) {
    if (run.isEmpty() || m_deleted.isEmpty())
        return;
    if (std::exchange(m_isReplacedByItself, true))
        m_deleted.clear();
    refresh();
}

void StatusStrip::refreshLeft() {
    const auto& live = m_session.liveLink();
    const auto& fidelity = m_session.fidelity();
    const auto* run = m_session.run(m_session.focusedRun());
    const bool running = run != nullptr && run->newest() != nullptr && ipc::isLive(run->newest()->state);
    QString text;
    int severity = 0;
    if (m_session.address().isEmpty()) {
        text = tr("Not connected");
    } else if (live.state == LinkState::Down) {
        severity = static_cast<int>(ipc::Severity::Warning);
        text = fidelity.newestUs > 0 ? tr("Live stream lost, showing data up to %1")
                                           .arg(QDateTime::fromMSecsSinceEpoch(fidelity.newestUs / 1000, Qt::UTC).toString(QStringLiteral("HH:mm:ss")))
                                     : tr("No live stream");
    } else if (live.state != LinkState::Up) {
        text = tr("Connecting to %1").arg(m_session.address());
    } else if (run == nullptr) {
        text = tr("Connected, no run is open");
    } else if (!running) {
        text = run->newest() == nullptr ? tr("The run has not begun") : tr("The run is %1").arg(stateText(run->newest()->state));
    } else if (fidelity.newestUs == 0) {
        text = tr("Waiting for the first sample");
    } else {
        severity = static_cast<int>(ipc::Severity::Benign);
        const auto age = ageText(ipc::nowUs() - fidelity.newestUs);
        text = m_following ? tr("Following live, last sample %1 ago").arg(age) : tr("Showing earlier steps, last sample %1 ago").arg(age);
    }
    if (!m_deleted.isEmpty() && live.state == LinkState::Up)
        text = run == nullptr ? m_deleted : tr("%1. Now %2 is open: %3").arg(m_deleted, m_session.focusedRun(), text);
    m_left->setToolTip(m_deleted.isEmpty() ? QString() : m_whyDeleted);
    m_left->setText(text);
    m_left->setAccessibleName(text);
    QPixmap lamp(12, 12);
    lamp.fill(Qt::transparent);
    QPainter painter(&lamp);
    painter.setRenderHint(QPainter::Antialiasing);
    const auto& t = m_theme.theme();
    if (severity == static_cast<int>(ipc::Severity::Warning)) {
        painter.drawPixmap(0, 0, severityPixmap(m_theme, severity, 12));
    } else {
        painter.setPen(severity == 0 ? QPen(t.tx3, 1.6) : QPen(Qt::NoPen));
        painter.setBrush(severity == 0 ? QBrush(Qt::NoBrush) : QBrush(t.ok));
        painter.drawEllipse(QPointF(6, 6), 3.4, 3.4);
    }
    painter.end();
    m_lamp->setPixmap(lamp);
}

void StatusStrip::refresh() {
    refreshLeft();
    const auto& fidelity = m_session.fidelity();
    const bool open = !m_session.address().isEmpty();
    for (auto* cell : {m_control, m_live, m_rate, m_gaps, m_complete})
        cell->setVisible(open);
    m_complete->setVisible(open && m_session.run(m_session.focusedRun()) != nullptr);
    if (!open)
        return;
    const auto role = [](const LinkStatus& link) { return link.state == LinkState::Down ? "warn" : "secondary"; };
    setCell(m_control, linkPart(tr("Control (gRPC)"), m_session.controlLink()), role(m_session.controlLink()));
    setCell(m_live, linkPart(tr("Live stream (ZeroMQ)"), m_session.liveLink()), role(m_session.liveLink()));
    setCell(m_rate, {{}, text::count(qRound64(fidelity.pointsPerS)), tr("samples/s")});
    const auto repaired = text::count(static_cast<qint64>(fidelity.repaired));
    setCell(m_gaps,
            {tr("Gaps repaired"), QString::number(fidelity.gaps),
             fidelity.lost == 0 ? tr("(%1 samples)").arg(repaired) : tr("(%1 samples, %2 lost)").arg(repaired, text::count(static_cast<qint64>(fidelity.lost)))},
            fidelity.lost == 0 ? "secondary" : "warn");
    m_gaps->setToolTip(tr("%1 samples received, %2 missed, %3 fetched from history instead, %4 lost")
                           .arg(text::count(static_cast<qint64>(fidelity.received)), text::count(static_cast<qint64>(fidelity.missed)), repaired,
                                text::count(static_cast<qint64>(fidelity.lost))));
    setCell(m_complete, {tr("History complete to step"), text::count(fidelity.completeToStep), {}});
}

QString StatusStrip::leftText() const { return m_left->text(); }

void StatusStrip::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const auto& t = m_theme.theme();
    painter.fillRect(rect(), t.panel);
    painter.fillRect(QRect(0, 0, width(), 1), t.line);
    for (const auto* cell : {m_control, m_live, m_rate, m_gaps, m_complete})
        if (cell->isVisible())
            painter.fillRect(QRect(cell->mapTo(this, QPoint(0, 0)).x(), 0, 1, height()), t.line);
}

} // namespace telehelm::app
