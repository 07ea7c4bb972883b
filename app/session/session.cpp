// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/session.h"

#include <algorithm>
#include <deque>
#include <thread>

#include <QSysInfo>
#include <QTimer>

#include "session/control_worker.h"
#include "session/known_state.h"
#include "session/telemetry_worker.h"
#include "session/watch_worker.h"
#include "telehelm/ipc/news_ledger.h"
#include "telehelm/ipc/types.h"

namespace telehelm::app {
namespace {

constexpr int kNewsEveryMs = 33;
constexpr int kFidelityEveryMs = 250;
constexpr std::int64_t kRateWindowUs = 5'000'000;
constexpr std::int64_t kReportEveryUs = 5'000'000; // the daemon forgets a client after 30 s
constexpr const char* kProgram = "telehelm 0.1.0";

QString operatorFromEnvironment() {
    for (const char* name : {"USER", "LOGNAME"})
        if (const auto value = qEnvironmentVariable(name); !value.isEmpty())
            return value;
    return QStringLiteral("operator");
}

/// The three threads of one open connection.
struct Workers {
    std::shared_ptr<ipc::ControlApi> api;
    std::unique_ptr<TelemetryWorker> telemetry;
    std::unique_ptr<WatchWorker> watch;
    std::unique_ptr<ControlWorker> control; // destroyed first: it is the one that may wait for a call to time out

    void requestStop() const {
        control->requestStop();
        watch->requestStop();
        telemetry->requestStop();
    }
};

} // namespace

// GUI thread only.
struct Session::Private {
    Session* q;
    SessionLinks links;
    QString address, operatorName = operatorFromEnvironment(), host = QSysInfo::machineHostName(), focusedRun;
    ipc::HelloInfo hello;
    LinkStatus control, live;
    Fidelity fidelity;
    KnownState known;
    ipc::NewsLedger ledger;
    std::unique_ptr<Workers> workers;
    std::vector<std::thread> retiring; // end the workers of closed connections off the GUI thread
    std::string clientId;
    qint64 reportedUs = 0;
    quint64 generation = 0;            // of the connection: what an older one posts is dropped
    JobId lastJob = 0;
    QTimer newsTimer, fidelityTimer;
    bool fidelityDirty = false, openGap = false, liveWasUp = false;
    std::deque<std::pair<qint64, quint64>> arrivals; // (when, points) within the rate's window

    Private(Session* session, SessionLinks sessionLinks) : q(session), links(std::move(sessionLinks)) {}

    /// Runs `action` on the GUI thread unless the connection it belongs to is closed by then.
    template <typename F>
    auto poster(F action) {
        return [this, mine = generation, action]<typename... A>(A&&... arguments) {
            QMetaObject::invokeMethod(
                q, [this, mine, action, ... copies = std::decay_t<A>(std::forward<A>(arguments))]() mutable {
                    if (mine == generation)
                        action(std::move(copies)...);
                },
                Qt::QueuedConnection);
        };
    }

    void startWorkers();
    void retireWorkers();
    void onControlLink(const LinkStatus& status);
    void onGreeted(const ipc::HelloInfo& info);
    void onLiveLink(const LinkStatus& status);
    void onWatch(const ipc::WatchUpdate& update);
    void refreshLists();
    void mergeRuns(std::vector<ipc::RunInfo> runs);
    void forgetRun(const ipc::DeletedRun& deleted);
    void mergeEvents(const std::vector<ipc::Event>& events);
    void mergeCommands(const std::vector<ipc::Command>& commands);
    void chooseFocus();
    void drainNews();
    void takeNews(const ReceivedNews& item, std::vector<ipc::News>& news, std::vector<std::string>& changed);
    void foundGap(const std::string& run, bool counts);
    void countArrival(qint64 whenUs, quint64 points);
    void updateFidelity();
    void reportCounters(qint64 nowUs);

    template <typename T, typename Call>
    JobId ask(Call call, void (Session::*done)(JobId, const T&));
    template <typename T, typename Call, typename Done>
    void askQuietly(Call call, Done done);
};

template <typename T, typename Call>
JobId Session::Private::ask(Call call, void (Session::*done)(JobId, const T&)) {
    const JobId job = ++lastJob;
    auto succeed = poster([this, job, done](const T& value) { (q->*done)(job, value); });
    auto failed = poster([this, job](const Error& error) { emit q->jobFailed(job, error); });
    if (!workers) {
        failed(Error{ErrorCode::Unavailable, "no daemon is connected", {}});
        return job;
    }
    workers->control->enqueue([call, succeed, failed](ipc::ControlApi* api, const Error& why) {
        if (api == nullptr) {
            failed(why);
            return true;
        }
        Result<T> result = call(*api);
        if (result) {
            succeed(std::move(*result));
            return true;
        }
        failed(result.error());
        return result.error().code != ErrorCode::Unavailable;
    });
    return job;
}

/// For the session's own questions: a failure shows as the link's state, not as a job's.
template <typename T, typename Call, typename Done>
void Session::Private::askQuietly(Call call, Done done) {
    auto succeed = poster(done);
    workers->control->enqueue([call, succeed](ipc::ControlApi* api, const Error&) {
        if (api == nullptr)
            return true;
        Result<T> result = call(*api);
        if (result)
            succeed(std::move(*result));
        return result || result.error().code != ErrorCode::Unavailable;
    });
}

void Session::Private::startWorkers() {
    ++generation;
    workers = std::make_unique<Workers>();
    workers->api = links.control(address.toStdString());
    workers->telemetry = std::make_unique<TelemetryWorker>(links.live, poster([this](const LinkStatus& s) { onLiveLink(s); }));
    workers->watch = std::make_unique<WatchWorker>(
        workers->api, WatchWorker::Callbacks{poster([this] { refreshLists(); }), poster([this](const ipc::WatchUpdate& u) { onWatch(u); }),
                                             poster([this](const Error&) {
                                                 if (control.state == LinkState::Up)
                                                     workers->control->checkNow();
                                             })});
    workers->control = std::make_unique<ControlWorker>(
        workers->api, ControlWorker::Callbacks{poster([this](const LinkStatus& s) { onControlLink(s); }),
                                               poster([this](const ipc::HelloInfo& info) { onGreeted(info); })});
    newsTimer.start();
    fidelityTimer.start();
}

void Session::Private::retireWorkers() {
    ++generation;
    newsTimer.stop();
    fidelityTimer.stop();
    if (!workers)
        return;
    workers->requestStop();
    retiring.emplace_back([old = std::shared_ptr<Workers>(std::move(workers))]() mutable { old.reset(); });
}

void Session::Private::onControlLink(const LinkStatus& status) {
    control = status;
    emit q->controlLinkChanged();
}

void Session::Private::onGreeted(const ipc::HelloInfo& info) {
    hello = info;
    workers->telemetry->connectTo(info.liveEndpoint, info.protocol);
    workers->watch->beginNow();
    refreshLists();
}

void Session::Private::onLiveLink(const LinkStatus& status) {
    const bool up = status.state == LinkState::Up && live.state != LinkState::Up;
    live = status;
    if (up && liveWasUp) { // news may have passed while the link was away
        for (const auto& run : known.runs)
            foundGap(run.run, run.newest() != nullptr && ipc::isLive(run.newest()->state));
    }
    liveWasUp = liveWasUp || up;
    emit q->liveLinkChanged();
}

void Session::Private::refreshLists() {
    askQuietly<std::vector<ipc::RunInfo>>([](ipc::ControlApi& api) { return api.listRuns(); },
                                          [this](const std::vector<ipc::RunInfo>& runs) { mergeRuns(runs); });
    const std::int64_t newest = known.events.empty() ? 0 : known.events.back().id;
    askQuietly<std::vector<ipc::Event>>([newest](ipc::ControlApi& api) { return api.listEvents({{}, newest, 0}); },
                                        [this](const std::vector<ipc::Event>& events) { mergeEvents(events); });
    askQuietly<std::vector<ipc::Command>>([](ipc::ControlApi& api) { return api.listCommands({}); },
                                          [this](const std::vector<ipc::Command>& commands) { mergeCommands(commands); });
}

void Session::Private::mergeRuns(std::vector<ipc::RunInfo> runs) {
    bool added = false;
    for (const auto& run : runs)
        added = known.merge(run) == KnownState::Change::Added || added;
    std::vector<ipc::DeletedRun> gone; // while the link was away, which does not tell by whom
    for (const auto& run : known.runs)
        if (std::none_of(runs.begin(), runs.end(), [&](const auto& r) { return r.run == run.run; }))
            gone.emplace_back().run = run.run;
    for (const auto& run : gone)
        forgetRun(run);
    if (added)
        emit q->runsChanged();
    for (const auto& run : runs)
        emit q->runChanged(QString::fromStdString(run.run));
    chooseFocus();
}

void Session::Private::forgetRun(const ipc::DeletedRun& deleted) {
    const auto name = QString::fromStdString(deleted.run);
    if (!known.forget(deleted))
        return;
    const bool wasOpen = focusedRun == name;
    if (wasOpen)
        q->setFocusedRun({});
    emit q->runsChanged();
    emit q->runDeleted(deleted, wasOpen);
    chooseFocus();
}

void Session::Private::mergeEvents(const std::vector<ipc::Event>& events) {
    for (const auto& event : events)
        if (known.merge(event) == KnownState::Change::Added)
            emit q->eventAdded(event);
}

void Session::Private::mergeCommands(const std::vector<ipc::Command>& commands) {
    for (auto it = commands.rbegin(); it != commands.rend(); ++it) // oldest first
        if (known.merge(*it) != KnownState::Change::None)
            emit q->commandChanged(*it);
}

void Session::Private::onWatch(const ipc::WatchUpdate& update) {
    if (update.run) {
        const bool added = known.merge(*update.run) == KnownState::Change::Added;
        if (added)
            emit q->runsChanged();
        emit q->runChanged(QString::fromStdString(update.run->run));
        chooseFocus();
    }
    if (update.event)
        mergeEvents({*update.event});
    if (update.command)
        mergeCommands({*update.command});
    if (update.deleted)
        forgetRun(*update.deleted);
}

/// Without an operator's choice: the newest run that lives, else the newest.
void Session::Private::chooseFocus() {
    if (!focusedRun.isEmpty() || known.runs.empty())
        return;
    const auto live_ = std::find_if(known.runs.begin(), known.runs.end(),
                                    [](const auto& r) { return r.newest() != nullptr && ipc::isLive(r.newest()->state); });
    q->setFocusedRun(QString::fromStdString(live_ != known.runs.end() ? live_->run : known.runs.front().run));
}

void Session::Private::drainNews() {
    const auto items = workers->telemetry->take();
    if (items.empty())
        return;
    std::vector<ipc::News> news;
    std::vector<std::string> changed;
    news.reserve(items.size());
    for (const auto& item : items)
        takeNews(item, news, changed);
    if (!news.empty())
        emit q->newsArrived(news);
    for (const auto& run : changed)
        emit q->runChanged(QString::fromStdString(run));
}

void Session::Private::takeNews(const ReceivedNews& item, std::vector<ipc::News>& news, std::vector<std::string>& changed) {
    const auto& run = item.news.batch.key.run;
    const auto [order, missed] = ledger.see(item.news);
    if (order == ipc::NewsOrder::Old)
        return;
    if (order != ipc::NewsOrder::Next)
        foundGap(run, order != ipc::NewsOrder::FirstSeen);
    fidelity.missed += missed.value_or(0);
    if (item.news.beat) { // for whoever draws the run, to look for what it missed
        news.push_back(item.news);
        return;
    }
    live.latencyMs = static_cast<double>(item.receivedUs - item.news.publishedUs) / 1000.0;
    fidelity.newestUs = std::max<qint64>(fidelity.newestUs, item.news.batch.emittedUs);
    countArrival(item.receivedUs, ipc::pointCount(item.news.batch));
    if (known.merge(item.news) != KnownState::Change::None && std::find(changed.begin(), changed.end(), run) == changed.end())
        changed.push_back(run);
    if (item.news.command)
        mergeCommands({*item.news.command});
    mergeEvents(item.news.batch.events);
    news.push_back(item.news);
}

void Session::Private::foundGap(const std::string& run, bool counts) {
    if (counts)
        ++fidelity.gaps;
    const auto name = QString::fromStdString(run);
    openGap = openGap || name == focusedRun;
    fidelityDirty = true;
    emit q->gapFound(name);
}

void Session::Private::countArrival(qint64 whenUs, quint64 points) {
    fidelity.received += points;
    arrivals.emplace_back(whenUs, points);
    fidelityDirty = true;
}

void Session::Private::updateFidelity() {
    const qint64 now = ipc::nowUs();
    while (!arrivals.empty() && arrivals.front().first < now - kRateWindowUs)
        arrivals.pop_front();
    quint64 points = 0;
    for (const auto& arrival : arrivals)
        points += arrival.second;
    const double rate = static_cast<double>(points) * 1e6 / static_cast<double>(kRateWindowUs);
    fidelityDirty = fidelityDirty || rate != fidelity.pointsPerS;
    fidelity.pointsPerS = rate;
    if (const auto* run = known.run(focusedRun.toStdString()); run != nullptr && run->newest() != nullptr && !openGap)
        fidelity.completeToStep = run->newest()->step;
    if (std::exchange(fidelityDirty, false))
        emit q->fidelityChanged();
    if (control.state == LinkState::Up && hello.protocol >= 2 && now - reportedUs >= kReportEveryUs)
        reportCounters(now);
}

/// So that the daemon's status tells what its clients see.
void Session::Private::reportCounters(qint64 nowUs) {
    reportedUs = nowUs;
    ipc::ClientCounters counters;
    counters.id = clientId;
    counters.program = kProgram;
    counters.host = host.toStdString();
    counters.user = operatorName.toStdString();
    counters.received = fidelity.received;
    counters.missed = fidelity.missed;
    counters.repaired = fidelity.repaired;
    counters.lost = fidelity.lost;
    counters.gaps = fidelity.gaps;
    counters.newestUs = fidelity.newestUs;
    workers->control->enqueue([counters](ipc::ControlApi* api, const Error&) {
        const auto told = api != nullptr ? api->report(counters) : Result<void>();
        return told || told.error().code != ErrorCode::Unavailable;
    });
}

Session::Session(SessionLinks links, QObject* parent) : QObject(parent), d(std::make_unique<Private>(this, std::move(links))) {
    d->newsTimer.setInterval(kNewsEveryMs);
    d->fidelityTimer.setInterval(kFidelityEveryMs);
    connect(&d->newsTimer, &QTimer::timeout, this, [this] { d->drainNews(); });
    connect(&d->fidelityTimer, &QTimer::timeout, this, [this] { d->updateFidelity(); });
    connect(this, &Session::commandAnswered, this, [this](JobId, const ipc::Command& command) { d->mergeCommands({command}); });
    connect(this, &Session::runStarted, this, [this](JobId, const ipc::RunInfo& run) { d->onWatch({run, {}, {}}); });
}

Session::~Session() {
    d->retireWorkers();
    for (auto& thread : d->retiring)
        thread.join();
}

void Session::open(const QString& address) {
    close();
    d->address = address;
    d->clientId = ipc::newUuid(); // counters begin anew with the connection
    d->reportedUs = 0;
    d->startWorkers();
}

void Session::close() {
    d->retireWorkers();
    d->address.clear();
    d->hello = {};
    d->control = d->live = {};
    d->fidelity = {};
    d->known.clear();
    d->ledger.clear();
    d->arrivals.clear();
    d->openGap = d->liveWasUp = false;
    d->focusedRun.clear();
    emit controlLinkChanged();
    emit liveLinkChanged();
    emit runsChanged();
    emit focusedRunChanged({});
}

void Session::reconnectNow() {
    if (!d->workers)
        return;
    d->workers->control->checkNow();
    d->workers->watch->beginNow();
    if (d->live.state != LinkState::Up)
        d->workers->telemetry->reconnectNow();
}

QString Session::address() const { return d->address; }
const ipc::HelloInfo& Session::hello() const { return d->hello; }
const LinkStatus& Session::controlLink() const { return d->control; }
const LinkStatus& Session::liveLink() const { return d->live; }
const Fidelity& Session::fidelity() const { return d->fidelity; }
QString Session::operatorName() const { return d->operatorName; }
void Session::setOperatorName(const QString& name) { d->operatorName = name.trimmed().isEmpty() ? operatorFromEnvironment() : name.trimmed(); }
const std::vector<ipc::RunInfo>& Session::runs() const { return d->known.runs; }
const ipc::RunInfo* Session::run(const QString& name) const { return d->known.run(name.toStdString()); }
const std::vector<ipc::Event>& Session::events() const { return d->known.events; }
const std::vector<ipc::Command>& Session::commands() const { return d->known.commands; }
QString Session::focusedRun() const { return d->focusedRun; }

void Session::setFocusedRun(const QString& name) {
    if (d->focusedRun == name)
        return;
    d->focusedRun = name;
    d->openGap = false;
    emit focusedRunChanged(name);
}

JobId Session::submit(ipc::Command command) {
    if (command.id.empty())
        command.id = ipc::newUuid();
    command.author = d->operatorName.toStdString();
    command.host = d->host.toStdString();
    if (command.requestedUs == 0)
        command.requestedUs = ipc::nowUs();
    return d->ask<ipc::Command>([command](ipc::ControlApi& api) { return api.submit(command); }, &Session::commandAnswered);
}

JobId Session::startRun(ipc::StartRequest request) {
    if (request.commandId.empty())
        request.commandId = ipc::newUuid();
    request.author = d->operatorName.toStdString();
    request.host = d->host.toStdString();
    return d->ask<ipc::RunInfo>([request](ipc::ControlApi& api) { return api.startRun(request); }, &Session::runStarted);
}

JobId Session::fetchSeries(ipc::SeriesQuery query) {
    const auto call = [query](ipc::ControlApi& api) -> Result<std::vector<ipc::SeriesSegment>> {
        std::vector<ipc::SeriesSegment> segments;
        const auto done = api.querySeries(query, [&](ipc::SeriesSegment&& segment) {
            segments.push_back(std::move(segment));
            return true;
        });
        if (!done)
            return tl::unexpected<Error>(done.error());
        return segments;
    };
    return d->ask<std::vector<ipc::SeriesSegment>>(call, &Session::seriesFetched);
}

JobId Session::fetchSeriesList(ipc::AttemptKey key, QString glob) {
    return d->ask<std::vector<ipc::SeriesInfo>>(
        [key, pattern = glob.toStdString()](ipc::ControlApi& api) { return ipc::listAllSeries(api, key, pattern); }, &Session::seriesListFetched);
}

JobId Session::fetchCheckpoints(QString run) {
    return d->ask<std::vector<ipc::CheckpointInfo>>(
        [name = run.toStdString()](ipc::ControlApi& api) { return api.listCheckpoints(name); }, &Session::checkpointsFetched);
}

JobId Session::addNote(ipc::Event note) {
    note.facts.try_emplace("author", d->operatorName.toStdString());
    return d->ask<ipc::Event>([note](ipc::ControlApi& api) { return api.addNote(note); }, &Session::noteAdded);
}

void Session::noteRepaired(quint64 samples, quint64 lost) {
    d->openGap = false;
    d->fidelity.repaired += samples;
    d->fidelity.lost += lost;
    d->fidelityDirty = true;
    emit repairedSamples(samples);
}

} // namespace telehelm::app
