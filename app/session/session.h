// SPDX-License-Identifier: GPL-3.0-or-later
// One connection to a daemon: what the window knows of it and the only way to ask or order anything. All members are for the
// GUI thread; blocking calls and the SUB socket live on the session's own threads, and replies come back as signals with job ids.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <QObject>
#include <QString>

#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/live.h"

namespace telehelm::app {

using JobId = quint64;

enum class LinkState { Off, Connecting, Up, Down };

struct LinkStatus {
    LinkState state = LinkState::Off;
    qint64 sinceUs = 0;        // of this state
    double latencyMs = -1;     // control: round trip; live: published → received
    int attempt = 0;           // reconnect attempts since it went down
    qint64 nextAttemptUs = 0;
    QString text;              // why it is down
};

struct Fidelity {
    quint64 received = 0;      // points over the live stream
    quint64 missed = 0;        // points that the holes swallowed, as far as the numbers tell
    quint64 gaps = 0;          // holes seen in the news numbers
    quint64 repaired = 0;      // points fetched from history to close them, of runs that are drawn
    quint64 lost = 0;          // points missed that history did not have either
    double pointsPerS = 0;
    qint64 newestUs = 0;       // emit time of the newest point
    qint64 completeToStep = 0; // history known without a hole up to here (focused run)
};

/// How a session reaches the outside; tests put fakes in.
struct SessionLinks {
    std::function<std::shared_ptr<ipc::ControlApi>(const std::string& address)> control;
    /// `protocol`: that the daemon's hello named.
    std::function<Result<std::unique_ptr<ipc::LiveSubscriber>>(const std::string& endpoint, std::uint32_t protocol)> live;
    [[nodiscard]] static SessionLinks real();
};

class Session : public QObject {
    Q_OBJECT
public:
    explicit Session(SessionLinks links = SessionLinks::real(), QObject* parent = nullptr);
    ~Session() override; // joins its threads

    void open(const QString& address); // "127.0.0.1:7443"; keeps trying until close()
    void close();
    void reconnectNow();
    [[nodiscard]] QString address() const;
    [[nodiscard]] const ipc::HelloInfo& hello() const;
    [[nodiscard]] const LinkStatus& controlLink() const;
    [[nodiscard]] const LinkStatus& liveLink() const;
    [[nodiscard]] const Fidelity& fidelity() const;
    [[nodiscard]] QString operatorName() const; // $USER unless set
    void setOperatorName(const QString& name);

    // What is known now; kept up to date by the watch stream.
    [[nodiscard]] const std::vector<ipc::RunInfo>& runs() const;
    [[nodiscard]] const ipc::RunInfo* run(const QString& name) const;
    [[nodiscard]] const std::vector<ipc::Event>& events() const;     // all runs, oldest first
    [[nodiscard]] const std::vector<ipc::Command>& commands() const; // all runs, newest first
    [[nodiscard]] QString focusedRun() const;
    void setFocusedRun(const QString& name);

    // Questions and orders; each answers by exactly one of its signals or jobFailed().
    JobId submit(ipc::Command command); // fills id, author and host; → commandAnswered
    JobId startRun(ipc::StartRequest request); // → runStarted
    JobId fetchSeries(ipc::SeriesQuery query); // → seriesFetched
    JobId fetchSeriesList(ipc::AttemptKey key, QString glob); // → seriesListFetched
    JobId fetchCheckpoints(QString run); // → checkpointsFetched
    JobId addNote(ipc::Event note);      // → noteAdded

signals:
    void controlLinkChanged();
    void liveLinkChanged();
    void fidelityChanged(); // at most 4/s
    void runsChanged();     // a run came or went
    void runChanged(const QString& run); // state, step, tokens, attempts, mixture
    /// It is in no list any more; `wasOpen`: it was the focused run. Without an author: who deleted it is not known.
    void runDeleted(const telehelm::ipc::DeletedRun& run, bool wasOpen);
    void focusedRunChanged(const QString& run);
    void eventAdded(const telehelm::ipc::Event& event);
    void commandChanged(const telehelm::ipc::Command& command);
    /// Everything that the SUB socket brought in the last 33 ms, in order.
    void newsArrived(const std::vector<telehelm::ipc::News>& news);
    /// News were missed (or the link was away): whoever shows this run fetches its curves again and calls noteRepaired().
    void gapFound(const QString& run);
    void repairedSamples(quint64 samples);

    void commandAnswered(telehelm::app::JobId job, const telehelm::ipc::Command& command);
    void runStarted(telehelm::app::JobId job, const telehelm::ipc::RunInfo& run);
    void seriesFetched(telehelm::app::JobId job, const std::vector<telehelm::ipc::SeriesSegment>& segments);
    void seriesListFetched(telehelm::app::JobId job, const std::vector<telehelm::ipc::SeriesInfo>& series);
    void checkpointsFetched(telehelm::app::JobId job, const std::vector<telehelm::ipc::CheckpointInfo>& checkpoints);
    void noteAdded(telehelm::app::JobId job, const telehelm::ipc::Event& event);
    void jobFailed(telehelm::app::JobId job, const telehelm::Error& error);

public slots:
    void noteRepaired(quint64 samples, quint64 lost = 0);

private:
    struct Private;
    std::unique_ptr<Private> d;
};

} // namespace telehelm::app
