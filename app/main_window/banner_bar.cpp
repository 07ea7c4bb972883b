// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/banner_bar.h"

#include <QCoreApplication>
#include <QDateTime>
#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QPushButton>

#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

constexpr qint64 kBackAgainUs = 6'000'000;

QString tr(const char* text) { return QCoreApplication::translate("BannerBar", text); }
QString since(const LinkStatus& link, qint64 nowUs) { return text::duration(static_cast<double>(std::max<qint64>(0, nowUs - link.sinceUs)) / 1e6); }
QString clock(qint64 us) { return QDateTime::fromMSecsSinceEpoch(us / 1000, Qt::UTC).toString(QStringLiteral("HH:mm:ss")); }

QString attempts(const LinkStatus& link, qint64 nowUs) {
    if (link.attempt == 0)
        return {};
    const qint64 wait = std::max<qint64>(0, link.nextAttemptUs - nowUs);
    return wait > 500'000 ? tr("Attempt %1, next in %2").arg(link.attempt).arg(text::duration(static_cast<double>(wait) / 1e6))
                          : tr("Attempt %1, trying now").arg(link.attempt);
}

} // namespace

BannerText bannerFor(const LinkStatus& control, const LinkStatus& live, const Fidelity& fidelity, qint64 nowUs) {
    const bool controlDown = control.state == LinkState::Down, liveDown = live.state == LinkState::Down;
    if (controlDown && live.state == LinkState::Off) // none has been greeted yet, so there was no stream to lose
        return {BannerText::Kind::Critical, tr("No backend answers (%1).").arg(since(control, nowUs)), tr("%1. The window keeps trying.").arg(control.text),
                attempts(control, nowUs)};
    if (controlDown && liveDown)
        return {BannerText::Kind::Critical, tr("Backend not reachable since %1 (%2).").arg(clock(control.sinceUs), since(control, nowUs)),
                tr("The trainer may still be running. Saved history can be viewed; controls are off."), attempts(control, nowUs)};
    if (liveDown)
        return {BannerText::Kind::Warning, tr("Live stream lost %1 ago, reconnecting; history intact.").arg(since(live, nowUs)),
                fidelity.newestUs > 0 ? tr("Values are from %1. The control link works, so Pause, Restart and Stop stay available.").arg(clock(fidelity.newestUs))
                                      : tr("The control link works, so Pause, Restart and Stop stay available."),
                attempts(live, nowUs)};
    if (controlDown)
        return {BannerText::Kind::Warning, tr("Control link lost %1 ago, reconnecting; live values go on.").arg(since(control, nowUs)),
                tr("Pause, Restart and Stop are off until it is back."), attempts(control, nowUs)};
    return {};
}

BannerBar::BannerBar(Session& session, ThemeController& theme, QWidget* parent) : QFrame(parent), m_session(session), m_theme(theme) {
    setFixedHeight(36);
    build();
    hide();
    connect(&session, &Session::controlLinkChanged, this, &BannerBar::refresh);
    connect(&session, &Session::liveLinkChanged, this, &BannerBar::refresh);
    connect(&session, &Session::repairedSamples, this, &BannerBar::refresh);
    connect(&theme, &ThemeController::changed, this, [this] { show(std::exchange(m_text, {})); });
    m_timer.setInterval(500);
    connect(&m_timer, &QTimer::timeout, this, &BannerBar::refresh);
    m_timer.start();
}

void BannerBar::build() {
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(12, 0, 8, 1);
    row->setSpacing(8);
    m_icon = new QLabel(this);
    m_bold = makeLabel(m_theme, TextRole::PlotTitle, "", {}, this);
    m_rest = makeLabel(m_theme, TextRole::TableText, "secondary", {}, this);
    m_right = makeLabel(m_theme, TextRole::TableText, "secondary", {}, this);
    m_start = makeButton(m_theme, "", "play", {}, this);
    m_start->setObjectName(QStringLiteral("startDaemon"));
    m_start->setToolTip(QCoreApplication::translate("BannerBar", "Start the daemon of this computer; it finds its runs again"));
    m_reconnect = makeButton(m_theme, "", nullptr, QCoreApplication::translate("BannerBar", "Reconnect now"), this);
    m_details = makeButton(m_theme, "", nullptr, QCoreApplication::translate("BannerBar", "Details…"), this);
    m_reconnect->setToolTip(QCoreApplication::translate("BannerBar", "Try both links at once (F5)"));
    for (auto* widget : {m_icon, m_bold, m_rest})
        row->addWidget(widget);
    m_rest->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    row->setStretchFactor(m_rest, 1);
    for (auto* widget : std::initializer_list<QWidget*>{m_right, m_start, m_reconnect, m_details})
        row->addWidget(widget);
    connect(m_start, &QPushButton::clicked, this, [this] {
        m_starting = true;
        showStart();
        emit startAsked();
    });
    connect(m_reconnect, &QPushButton::clicked, &m_session, &Session::reconnectNow);
    connect(m_details, &QPushButton::clicked, this, &BannerBar::detailsAsked);
}

void BannerBar::setLocalDaemon(bool on) {
    m_local = on;
    showStart();
}

void BannerBar::startEnded() {
    m_starting = false;
    showStart();
}

void BannerBar::showStart() {
    m_start->setVisible(m_local && m_text.kind == BannerText::Kind::Critical);
    m_start->setEnabled(!m_starting);
    m_start->setText(m_starting ? QCoreApplication::translate("BannerBar", "Starting telehelmd…")
                                : QCoreApplication::translate("BannerBar", "Start telehelmd again"));
}

void BannerBar::refresh() {
    if (m_session.controlLink().state == LinkState::Up)
        m_starting = false;
    const qint64 now = ipc::nowUs();
    const auto wrong = bannerFor(m_session.controlLink(), m_session.liveLink(), m_session.fidelity(), now);
    if (wrong.kind != BannerText::Kind::None) {
        if (!m_wasDown)
            m_repairedBefore = m_session.fidelity().repaired;
        m_wasDown = true;
        m_backUntilUs = 0;
        show(wrong);
        return;
    }
    const bool up = m_session.controlLink().state == LinkState::Up && m_session.liveLink().state == LinkState::Up;
    if (m_wasDown && up) {
        m_wasDown = false;
        m_backUntilUs = now + kBackAgainUs;
    }
    if (m_session.address().isEmpty())
        m_wasDown = false;
    if (m_backUntilUs == 0) {
        show({});
        return;
    }
    const auto sentence = QCoreApplication::translate("BannerBar", "Live again. %1 samples repaired from history.")
                              .arg(text::count(static_cast<qint64>(m_session.fidelity().repaired - m_repairedBefore)));
    if (now < m_backUntilUs) {
        show({BannerText::Kind::Ok, sentence, {}, {}});
        return;
    }
    m_backUntilUs = 0;
    emit backAgain(sentence);
    show({});
}

void BannerBar::show(const BannerText& text) {
    if (text == m_text)
        return;
    m_text = text;
    const bool wrong = text.kind == BannerText::Kind::Warning || text.kind == BannerText::Kind::Critical;
    m_icon->setPixmap(severityPixmap(m_theme, static_cast<int>(text.kind == BannerText::Kind::Critical  ? ipc::Severity::Critical
                                                               : text.kind == BannerText::Kind::Warning ? ipc::Severity::Warning
                                                                                                        : ipc::Severity::Benign)));
    m_bold->setText(text.bold);
    m_rest->setText(text.rest);
    m_rest->setToolTip(text.rest);
    m_right->setText(text.right);
    m_reconnect->setVisible(wrong);
    m_details->setVisible(wrong);
    showStart();
    setAccessibleName(text.bold + QLatin1Char(' ') + text.rest);
    setVisible(text.kind != BannerText::Kind::None);
    update();
}

void BannerBar::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    const auto& t = m_theme.theme();
    const bool crit = m_text.kind == BannerText::Kind::Critical, warn = m_text.kind == BannerText::Kind::Warning;
    painter.fillRect(rect(), crit ? t.critFill : warn ? t.warnFill : t.okFill);
    const QColor edge = crit ? t.crit : warn ? t.warn : t.ok;
    painter.fillRect(QRect(0, 0, width(), 1), edge);
    painter.fillRect(QRect(0, height() - 1, width(), 1), edge);
}

} // namespace telehelm::app
