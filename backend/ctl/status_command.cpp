// SPDX-License-Identifier: Apache-2.0
// telehelmctl status: the daemon, and how many points are where on their way from each trainer to each client.
#include <ostream>

#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"

namespace telehelm::ctl {
namespace {

std::string countText(std::uint64_t count) { return withSeparators(static_cast<std::int64_t>(count)); }

std::string ageText(std::int64_t thenUs, std::int64_t nowUs) {
    return thenUs <= 0 ? "-" : durationText(static_cast<double>(std::max<std::int64_t>(0, nowUs - thenUs)) / 1e6);
}

Table::Cell lostCell(std::uint64_t lost) { return {countText(lost), lost > 0 ? Colour::Red : Colour::None}; }

void printDaemon(std::ostream& out, const ipc::DaemonStatus& s, std::size_t live) {
    const ipc::HelloInfo& hello = s.daemon;
    out << hello.program << ", pid " << hello.pid << ", up " << durationText(static_cast<double>(s.nowUs - hello.startedUs) / 1e6) << "\n"
        << "  state     " << hello.stateDir << "\n"
        << "  live      " << hello.liveEndpoint;
    if (s.residentBytes > 0)
        out << ", " << s.subscriptions << (s.subscriptions == 1 ? " subscription" : " subscriptions") << ", " << countText(s.messagesPublished)
            << " messages";
    out << "\n"
        << "  trainers  " << hello.linkEndpoint << "\n"
        << "  runs      " << s.runs.size() << ", " << live << " live\n"
        << "  points    " << countText(hello.pointsStored) << " stored\n";
    if (s.residentBytes > 0)
        out << "  memory    " << byteText(s.residentBytes) << "; store " << byteText(s.storeBytes) << " on disk\n";
    if (s.badFrames > 0)
        out << "  warning   " << countText(s.badFrames) << " messages from trainers were not understood; the daemon's log names them\n";
    if (!s.storeTrouble.empty())
        out << "  warning   telemetry is not stored now, trainers keep it: " << s.storeTrouble << "\n";
}

void printRuns(std::ostream& out, const ipc::DaemonStatus& s, bool hasColour) {
    Table table({"RUN", "EMITTED", "STORED", "ACKED", "PUBLISHED", "LOST", "NEWEST POINT"});
    for (const ipc::RunCounters& run : s.runs) {
        const std::uint64_t unpublished = run.storedSinceStart > run.published ? run.storedSinceStart - run.published : 0;
        table.add({run.run, countText(run.emitted), countText(run.stored), countText(run.acked),
                   countText(run.published) + " of " + countText(run.storedSinceStart), lostCell(run.lost + unpublished), ageText(run.newestUs, s.nowUs)});
    }
    if (!table.empty()) {
        out << "\n";
        table.print(out, hasColour);
    }
}

void printClients(std::ostream& out, const ipc::DaemonStatus& s, bool hasColour) {
    Table table({"CLIENT", "USER", "RECEIVED", "MISSED", "REPAIRED", "LOST", "NEWEST POINT"});
    for (const ipc::ClientCounters& client : s.clients)
        table.add({client.program + " on " + client.host, client.user, countText(client.received), countText(client.missed),
                   countText(client.repaired), lostCell(client.lost), ageText(client.newestUs, s.nowUs)});
    if (!table.empty()) {
        out << "\n";
        table.print(out, hasColour);
    }
}

Json countersJson(const ipc::DaemonStatus& s) {
    Json json = {{"subscriptions", s.subscriptions}, {"messages_published", s.messagesPublished}, {"bad_frames", s.badFrames},
                 {"resident_bytes", s.residentBytes}, {"store_bytes", s.storeBytes},             {"store_trouble", s.storeTrouble},
                 {"now_us", s.nowUs}};
    json["run_counters"] = Json::array();
    for (const ipc::RunCounters& r : s.runs)
        json["run_counters"].push_back({{"run", r.run}, {"emitted", r.emitted}, {"stored", r.stored}, {"acked", r.acked}, {"published", r.published},
                                        {"stored_since_start", r.storedSinceStart}, {"lost", r.lost}, {"newest_us", r.newestUs}});
    json["clients"] = Json::array();
    for (const ipc::ClientCounters& c : s.clients)
        json["clients"].push_back({{"id", c.id}, {"program", c.program}, {"host", c.host}, {"user", c.user}, {"received", c.received},
                                   {"missed", c.missed}, {"repaired", c.repaired}, {"lost", c.lost}, {"gaps", c.gaps},
                                   {"newest_us", c.newestUs}, {"reported_us", c.reportedUs}});
    return json;
}

} // namespace

int showStatus(const Call& call) {
    return withDaemon(call, [&](Connected& daemon) -> int {
        const auto runs = daemon.api->listRuns();
        if (!runs)
            return complain(call, runs.error());
        std::size_t live = 0;
        for (const ipc::RunInfo& run : *runs)
            live += run.newest() != nullptr && isLive(run.newest()->state) ? 1 : 0;
        auto status = daemon.api->status();
        const bool hasCounters = status.has_value();
        if (!hasCounters && status.error().code != ErrorCode::VersionMismatch)
            return complain(call, status.error());
        if (call.common.json) {
            Json json = toJson(daemon.hello);
            json["runs"] = runs->size();
            json["live_runs"] = live;
            if (hasCounters)
                json.update(countersJson(*status));
            call.terminal.out << json.dump(2) << "\n";
            return kOk;
        }
        if (!hasCounters) { // a daemon of protocol 1
            status.emplace();
            status->runs.resize(runs->size());
        }
        status->daemon = daemon.hello;
        if (status->nowUs == 0)
            status->nowUs = ipc::nowUs();
        printDaemon(call.terminal.out, *status, live);
        if (hasCounters) {
            printRuns(call.terminal.out, *status, call.terminal.hasColour);
            printClients(call.terminal.out, *status, call.terminal.hasColour);
        } else {
            call.terminal.out << "  This daemon is of an older release and does not count what it publishes.\n";
        }
        return kOk;
    });
}

} // namespace telehelm::ctl
