// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/bridge_strip.h"

#include <cmath>

#include <QHBoxLayout>
#include <QPainter>
#include <QPushButton>

#include "models/runs_model.h"
#include "models/text_format.h"
#include "widgets/panel.h"

namespace telehelm::app {
namespace {

/// design.md, section 3: what goes first when the strip is too narrow.
constexpr ReadoutId kDropOrder[] = {ReadoutId::TimeLeft, ReadoutId::StepTime, ReadoutId::LearningRate, ReadoutId::Mfu,
                                    ReadoutId::Throughput, ReadoutId::Tokens, ReadoutId::GradNorm};

Lamp lampOf(ipc::AttemptState state) {
    switch (state) {
    case ipc::AttemptState::Running:
    case ipc::AttemptState::Pausing:
    case ipc::AttemptState::Stopping: return Lamp::Running;
    case ipc::AttemptState::Paused: return Lamp::Paused;
    case ipc::AttemptState::Failed:
    case ipc::AttemptState::Lost: return Lamp::Failed;
    case ipc::AttemptState::Finished:
    case ipc::AttemptState::Stopped:
    case ipc::AttemptState::Superseded: return Lamp::Finished;
    case ipc::AttemptState::Starting: break;
    }
    return Lamp::Unknown;
}

QString capitalised(QString word) {
    if (!word.isEmpty())
        word[0] = word[0].toUpper();
    return word;
}

} // namespace

BridgeStrip::BridgeStrip(Session& session, ThemeController& theme, QWidget* parent) : QWidget(parent), m_session(session), m_theme(theme) {
    setFixedHeight(66);
    build();
    connect(&session, &Session::focusedRunChanged, this, &BridgeStrip::focusRun);
    connect(&session, &Session::newsArrived, this, &BridgeStrip::takeNews);
    connect(&session, &Session::seriesListFetched, this, [this](JobId job, const std::vector<ipc::SeriesInfo>& series) {
        if (job == m_seriesJob)
            m_metrics.takeSeries(series);
    });
    connect(&session, &Session::gapFound, this, [this](const QString& run) {
        if (run == m_session.focusedRun())
            m_seriesJob = m_session.fetchSeriesList({run.toStdString(), 0}, QStringLiteral("*"));
    });
    connect(&session, &Session::runChanged, this, [this](const QString& run) {
        if (run == m_session.focusedRun())
            refreshButtons(m_session.run(run)); // at once: buttons follow the state, numbers follow the timer
    });
    connect(&theme, &ThemeController::changed, this, [this] {
        m_pauseLook.clear();
        refresh();
    });
    m_timer.setInterval(250);
    connect(&m_timer, &QTimer::timeout, this, &BridgeStrip::refresh);
    m_timer.start();
    focusRun(session.focusedRun());
}

void BridgeStrip::build() {
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(0, 0, 0, 1);
    row->setSpacing(0);
    m_run = new RunBlock(m_theme, this);
    row->addWidget(m_run);
    for (auto& readout : m_readouts) {
        readout = new Readout(m_theme, this);
        row->addWidget(readout);
    }
    row->addStretch(1);
    m_buttons = new QWidget(this);
    auto* buttons = new QHBoxLayout(m_buttons);
    buttons->setContentsMargins(12, 0, 12, 0);
    buttons->setSpacing(8);
    m_pause = makeButton(m_theme, "", "pause", tr("Pause"), m_buttons);
    m_restart = makeButton(m_theme, "", "restart", tr("Restart…"), m_buttons);
    m_stop = makeButton(m_theme, "danger", "stop", tr("Stop…"), m_buttons);
    m_pause->setObjectName(QStringLiteral("pauseButton"));
    m_restart->setObjectName(QStringLiteral("restartButton"));
    m_stop->setObjectName(QStringLiteral("stopButton"));
    for (auto* button : {m_pause, m_restart, m_stop}) {
        button->setAccessibleName(button->text());
        buttons->addWidget(button);
    }
    row->addWidget(m_buttons);
    connect(m_pause, &QPushButton::clicked, this, [this] {
        const auto* run = m_session.run(m_session.focusedRun());
        const bool paused = run != nullptr && run->newest() != nullptr && run->newest()->state == ipc::AttemptState::Paused;
        emit(paused ? resumeAsked() : pauseAsked());
    });
    connect(m_restart, &QPushButton::clicked, this, &BridgeStrip::restartAsked);
    connect(m_stop, &QPushButton::clicked, this, &BridgeStrip::stopAsked);
}

void BridgeStrip::focusRun(const QString& run) {
    m_metrics.clear();
    if (!run.isEmpty())
        m_seriesJob = m_session.fetchSeriesList({run.toStdString(), 0}, QStringLiteral("*"));
    refresh();
}

void BridgeStrip::takeNews(const std::vector<ipc::News>& news) {
    const auto run = m_session.focusedRun().toStdString();
    for (const auto& item : news)
        if (item.batch.key.run == run)
            m_metrics.takeBatch(item.batch);
}

void BridgeStrip::refresh() {
    const auto* run = m_session.run(m_session.focusedRun());
    refreshRun(run);
    if (run != nullptr)
        refreshReadouts(*run);
    for (auto* readout : m_readouts)
        readout->setEnabled(run != nullptr);
    refreshButtons(run);
    dropReadouts();
}

void BridgeStrip::refreshRun(const ipc::RunInfo* run) {
    if (run == nullptr) {
        m_run->show(tr("No run"), Lamp::Unknown, {}, {m_session.address().isEmpty() ? tr("not connected") : m_session.address(), QString()});
        return;
    }
    const auto* attempt = run->newest();
    const bool known = m_session.controlLink().state == LinkState::Up || m_session.liveLink().state == LinkState::Up;
    const bool stale = m_session.liveLink().state == LinkState::Down && attempt != nullptr && ipc::isLive(attempt->state);
    const QString state = !known || stale ? tr("Last known") : attempt != nullptr ? capitalised(stateText(attempt->state)) : tr("New");
    m_run->show(QString::fromStdString(run->run), !known || stale || attempt == nullptr ? Lamp::Unknown : lampOf(attempt->state), state, factsOf(*run));
}

Readout::Severity BridgeStrip::severityOf(ReadoutId id) const {
    const char* series = id == ReadoutId::Loss ? ipc::series::kTrainLoss : id == ReadoutId::GradNorm ? ipc::series::kGradNorm : nullptr;
    if (series == nullptr)
        return Readout::Severity::None;
    const auto reading = m_metrics.latest(series);
    return reading && !std::isfinite(reading->value) ? Readout::Severity::Critical : Readout::Severity::None;
}

void BridgeStrip::refreshReadouts(const ipc::RunInfo& run) {
    const auto now = ipc::nowUs();
    const auto texts = readoutsOf(run, m_metrics, now);
    auto age = ageOf(run, m_metrics, now);
    if (m_session.liveLink().state == LinkState::Down && age.age == Age::Old)
        age.age = Age::Stale;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        auto text = texts[i];
        const auto severity = severityOf(static_cast<ReadoutId>(i));
        if (severity == Readout::Severity::Critical)
            text.sub = tr("not finite");
        m_readouts[i]->show(text, age, severity);
    }
}

QString BridgeStrip::whyNoControl(bool needsLiveRun) const {
    if (m_session.controlLink().state != LinkState::Up)
        return tr("The control link is down, so nothing can be ordered now.");
    const auto* run = m_session.run(m_session.focusedRun());
    if (run == nullptr)
        return tr("No run is open.");
    if (run->origin)
        return tr("The run was imported from %1: no trainer of it is here.").arg(QString::fromStdString(run->origin->folder));
    if (needsLiveRun && (run->newest() == nullptr || !ipc::isLive(run->newest()->state)))
        return tr("The run is %1.").arg(run->newest() == nullptr ? tr("new") : stateText(run->newest()->state));
    return {};
}

void BridgeStrip::refreshButtons(const ipc::RunInfo* run) {
    const auto whyNotLive = whyNoControl(true), whyNot = whyNoControl(false);
    const auto state = run != nullptr && run->newest() != nullptr ? run->newest()->state : ipc::AttemptState::Lost;
    const bool paused = state == ipc::AttemptState::Paused, pausing = state == ipc::AttemptState::Pausing;
    const QString look = paused ? tr("Resume") : pausing ? tr("Pausing after step %1…").arg(text::count(run->newest()->step)) : tr("Pause");
    if (look != m_pauseLook) {
        m_pauseLook = look;
        m_pause->setText(look);
        m_pause->setAccessibleName(look);
        m_pause->setIcon(m_theme.icon(paused ? "play" : pausing ? "clock" : "pause"));
    }
    const auto set = [](QPushButton* button, const QString& why, const QString& tip) {
        button->setEnabled(why.isEmpty());
        button->setToolTip(why.isEmpty() ? tip : why);
        button->setAccessibleDescription(why);
    };
    set(m_pause, pausing ? tr("The run holds before its next step.") : whyNotLive,
        paused ? tr("Go on with the next step (Ctrl+Shift+U)") : tr("Hold every rank before the next step (Ctrl+Shift+P)"));
    set(m_restart, whyNot, tr("Restart from a checkpoint with other settings (Ctrl+Shift+R)"));
    set(m_stop, state == ipc::AttemptState::Stopping ? tr("The run is stopping.") : whyNotLive, tr("Stop the run, with or without a checkpoint (Ctrl+Shift+S)"));
}

void BridgeStrip::dropReadouts() {
    const auto* run = m_session.run(m_session.focusedRun());
    int needed = m_run->sizeHint().width() + m_buttons->sizeHint().width();
    std::array<bool, kReadouts> shown{};
    shown.fill(run != nullptr);
    for (const auto* readout : m_readouts)
        needed += readout->sizeHint().width();
    for (const auto id : kDropOrder) {
        if (needed <= width())
            break;
        shown[static_cast<std::size_t>(id)] = false;
        needed -= m_readouts[static_cast<std::size_t>(id)]->sizeHint().width();
    }
    for (std::size_t i = 0; i < m_readouts.size(); ++i)
        m_readouts[i]->setVisible(shown[i]);
}

void BridgeStrip::resizeEvent(QResizeEvent* event) {
    QWidget::resizeEvent(event);
    dropReadouts();
}

void BridgeStrip::paintEvent(QPaintEvent*) {
    QPainter painter(this);
    painter.fillRect(rect(), m_theme.theme().panel);
    painter.fillRect(QRect(0, height() - 1, width(), 1), m_theme.theme().line);
}

} // namespace telehelm::app
