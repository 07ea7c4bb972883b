// SPDX-License-Identifier: Apache-2.0
#include "store/records.h"

#include <nlohmann/json.hpp>


namespace telehelm::store {
namespace {

using ipc::AttemptInfo;
using ipc::Command;
using ipc::Event;
using nlohmann::json;

template <typename Enum>
std::int64_t number(Enum value) {
    return static_cast<std::int64_t>(value);
}

json toJson(const ipc::RestartOptions& options) {
    json out = {{"checkpointAttempt", options.checkpointAttempt}, {"checkpointStep", options.checkpointStep},
                {"skipBatches", options.skipBatches}};
    if (options.lrScale)
        out["lrScale"] = *options.lrScale;
    if (options.clipGrad)
        out["clipGrad"] = *options.clipGrad;
    if (options.dataSeed)
        out["dataSeed"] = *options.dataSeed;
    if (options.mixture)
        out["mixture"] = *options.mixture;
    return out;
}

template <typename T>
std::optional<T> optional(const json& in, const char* key) {
    return in.contains(key) ? std::optional<T>(in.at(key).get<T>()) : std::nullopt;
}

ipc::RestartOptions restartOf(const json& in) {
    ipc::RestartOptions options;
    options.checkpointAttempt = in.at("checkpointAttempt");
    options.checkpointStep = in.at("checkpointStep");
    options.skipBatches = in.at("skipBatches");
    options.lrScale = optional<double>(in, "lrScale");
    options.clipGrad = optional<double>(in, "clipGrad");
    options.dataSeed = optional<std::uint64_t>(in, "dataSeed");
    options.mixture = optional<ipc::Mixture>(in, "mixture");
    return options;
}

std::string toJson(const Command& c) {
    json out = {{"author", c.author},           {"host", c.host},
                {"reason", c.reason},           {"atStep", c.atStep},
                {"saveCheckpoint", c.saveCheckpoint}, {"lrScale", c.lrScale},
                {"mixture", c.mixture},         {"outcome", c.outcome},
                {"appliedStep", c.appliedStep}, {"newAttempt", c.newAttempt},
                {"diff", c.diff},               {"acceptedUs", c.acceptedUs},
                {"endedUs", c.endedUs}};
    if (c.restart)
        out["restart"] = toJson(*c.restart);
    return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

constexpr const char* kCommandColumns = "id, run, attempt, kind, state, requested_us, body";

Command commandOf(const Rows& row) {
    Command c;
    c.id = row.text(0);
    c.key = {row.text(1), static_cast<std::uint32_t>(row.integer(2))};
    c.kind = static_cast<ipc::CommandKind>(row.integer(3));
    c.state = static_cast<ipc::CommandState>(row.integer(4));
    c.requestedUs = row.integer(5);
    try {
        const json in = json::parse(row.text(6));
        in.at("author").get_to(c.author);
        in.at("host").get_to(c.host);
        in.at("reason").get_to(c.reason);
        in.at("atStep").get_to(c.atStep);
        in.at("saveCheckpoint").get_to(c.saveCheckpoint);
        in.at("lrScale").get_to(c.lrScale);
        in.at("mixture").get_to(c.mixture);
        in.at("outcome").get_to(c.outcome);
        in.at("appliedStep").get_to(c.appliedStep);
        in.at("newAttempt").get_to(c.newAttempt);
        in.at("diff").get_to(c.diff);
        in.at("acceptedUs").get_to(c.acceptedUs);
        in.at("endedUs").get_to(c.endedUs);
        if (in.contains("restart"))
            c.restart = restartOf(in.at("restart"));
    } catch (const json::exception& error) { // one damaged row must not hide all others
        c.outcome = std::string("(the record of this command is damaged: ") + error.what() + ")";
    }
    return c;
}

constexpr const char* kAttemptColumns = "id, run, attempt, parent, fork_step, state, state_text, started_us, ended_us, step, tokens, "
                                        "last_heard_us, points_emitted, points_stored, last_sequence, config, run_dir";

AttemptRow attemptOf(const Rows& row) {
    AttemptRow out;
    out.id = row.integer(0);
    AttemptInfo& a = out.info;
    a.key = {row.text(1), static_cast<std::uint32_t>(row.integer(2))};
    a.parent = static_cast<std::uint32_t>(row.integer(3));
    a.forkStep = row.integer(4);
    a.state = static_cast<ipc::AttemptState>(row.integer(5));
    a.stateText = row.text(6);
    a.startedUs = row.integer(7);
    a.endedUs = row.integer(8);
    a.step = row.integer(9);
    a.tokens = row.integer(10);
    a.lastHeardUs = row.integer(11);
    a.pointsEmitted = static_cast<std::uint64_t>(row.integer(12));
    a.pointsStored = static_cast<std::uint64_t>(row.integer(13));
    a.lastSequence = static_cast<std::uint64_t>(row.integer(14));
    a.configToml = row.text(15);
    a.runDir = row.text(16);
    return out;
}

template <typename Item, typename Make>
std::vector<Item> collect(Rows rows, Make make) {
    std::vector<Item> all;
    while (rows.next())
        all.push_back(make(rows));
    return all;
}

Event eventOf(const Rows& row) {
    Event e;
    e.id = row.integer(0);
    e.key = {row.text(1), static_cast<std::uint32_t>(row.integer(2))};
    e.kind = static_cast<ipc::EventKind>(row.integer(3));
    e.severity = static_cast<ipc::Severity>(row.integer(4));
    e.step = row.integer(5);
    e.tokens = row.integer(6);
    e.wallUs = row.integer(7);
    e.text = row.text(8);
    try {
        e.facts = json::parse(row.text(9)).get<std::map<std::string, std::string>>();
    } catch (const json::exception& error) { // one damaged row must not hide all others
        e.facts = {{"damage", error.what()}};
    }
    return e;
}

std::int64_t limitOf(std::uint32_t limit) { return limit == 0 ? -1 : std::int64_t{limit}; }

} // namespace

void insertRun(Database& db, const RunRecord& run) {
    db.run("INSERT INTO runs(run, description, created_us, start_command) VALUES(?,?,?,?)", run.run, run.description, run.createdUs,
           run.startCommand);
}

std::vector<RunRecord> selectRuns(Database& db) {
    return collect<RunRecord>(db.query("SELECT run, description, created_us, start_command FROM runs ORDER BY created_us, run"),
                              [](const Rows& row) {
                                  return RunRecord{row.text(0), row.text(1), row.integer(2), row.text(3)};
                              });
}

void insertAttempt(Database& db, const AttemptInfo& a) {
    // The id: as in insertSeries(); the rows of a deleted attempt are still there.
    db.run("INSERT INTO attempts(id, run, attempt, parent, fork_step, state, state_text, started_us, ended_us, step, tokens, "
           "last_heard_us, points_emitted, points_stored, last_sequence, config, run_dir) "
           "VALUES((SELECT max(last_attempt, coalesce((SELECT max(id) FROM attempts), 0)) + 1 FROM store_state),?,?,?,?,?,?,?,?,?,?,?,?,0,0,?,?)",
           a.key.run, a.key.attempt, a.parent, a.forkStep, number(a.state), a.stateText, a.startedUs, a.endedUs, a.step, a.tokens,
           a.lastHeardUs, a.pointsEmitted, a.configToml, a.runDir);
}

std::vector<AttemptRow> selectAttempts(Database& db, const std::string& run) {
    static const std::string sql = std::string("SELECT ") + kAttemptColumns + " FROM attempts WHERE run=? ORDER BY attempt";
    return collect<AttemptRow>(db.query(sql.c_str(), run), attemptOf);
}

std::optional<AttemptRow> selectAttempt(Database& db, const ipc::AttemptKey& key) {
    static const std::string sql = std::string("SELECT ") + kAttemptColumns + " FROM attempts WHERE run=? AND attempt=?";
    Rows rows = db.query(sql.c_str(), key.run, key.attempt);
    return rows.next() ? std::optional(attemptOf(rows)) : std::nullopt;
}

void updateAttempt(Database& db, const AttemptInfo& a) {
    db.run("UPDATE attempts SET state=?, state_text=?, ended_us=?, last_heard_us=?, points_emitted=max(points_emitted, ?), "
           "step=max(step, ?), tokens=max(tokens, ?) WHERE run=? AND attempt=?",
           number(a.state), a.stateText, a.endedUs, a.lastHeardUs, a.pointsEmitted, a.step, a.tokens, a.key.run, a.key.attempt);
}

void insertEvent(Database& db, Event& e) {
    db.run("INSERT INTO events(run, attempt, kind, severity, step, tokens, wall_us, text, facts) VALUES(?,?,?,?,?,?,?,?,?)", e.key.run,
           e.key.attempt, number(e.kind), number(e.severity), e.step, e.tokens, e.wallUs, e.text,
           json(e.facts).dump(-1, ' ', false, json::error_handler_t::replace));
    e.id = db.lastInsertId();
}

std::optional<Event> selectFirstEvent(Database& db, const std::string& run) {
    Rows rows = db.query("SELECT id, run, attempt, kind, severity, step, tokens, wall_us, text, facts FROM events WHERE run=?1 AND id>"
                         "(SELECT coalesce(max(last_event), 0) FROM deleted_runs WHERE is_purged=0 AND run=?1) ORDER BY id LIMIT 1",
                         run);
    return rows.next() ? std::optional(eventOf(rows)) : std::nullopt;
}

std::vector<Event> selectEvents(Database& db, const ipc::EventQuery& query) {
    // The newest `limit` after the id, told oldest first.
    return collect<Event>(
        db.query("SELECT * FROM (SELECT id, run, attempt, kind, severity, step, tokens, wall_us, text, facts FROM events "
                 "WHERE (?1='' OR run=?1) AND id>?2 AND NOT EXISTS(SELECT 1 FROM deleted_runs d WHERE d.is_purged=0 AND d.run=events.run AND "
                 "d.last_event>=events.id) ORDER BY id DESC LIMIT ?3) ORDER BY id",
                 query.run, query.afterId, limitOf(query.limit)),
        eventOf);
}

void putCommand(Database& db, const Command& c) {
    db.run("INSERT OR REPLACE INTO commands(id, run, attempt, kind, state, requested_us, body) VALUES(?,?,?,?,?,?,?)", c.id, c.key.run,
           c.key.attempt, number(c.kind), number(c.state), c.requestedUs, toJson(c));
}

std::optional<Command> selectCommand(Database& db, const std::string& id) {
    static const std::string sql = std::string("SELECT ") + kCommandColumns + " FROM commands WHERE id=?";
    Rows rows = db.query(sql.c_str(), id);
    return rows.next() ? std::optional(commandOf(rows)) : std::nullopt;
}

std::vector<Command> selectCommands(Database& db, const ipc::CommandQuery& query) {
    static const std::string sql = std::string("SELECT ") + kCommandColumns +
                                   " FROM commands WHERE (?1='' OR run=?1) AND requested_us>=?2 ORDER BY requested_us DESC, id LIMIT ?3";
    return collect<Command>(db.query(sql.c_str(), query.run, query.sinceUs, limitOf(query.limit)), commandOf);
}

std::vector<Command> selectPendingCommands(Database& db, const std::string& run) {
    static const std::string sql =
        std::string("SELECT ") + kCommandColumns + " FROM commands WHERE run=? AND state IN (1,2) ORDER BY requested_us, id";
    return collect<Command>(db.query(sql.c_str(), run), commandOf);
}

bool settle(Command& command, const ipc::CommandOutcome& outcome, std::int64_t nowUs) {
    if (command.state != ipc::CommandState::Requested && command.state != ipc::CommandState::Accepted)
        return false;
    command.state = outcome.state;
    command.outcome = outcome.text;
    command.appliedStep = outcome.step;
    command.endedUs = nowUs;
    return true;
}

} // namespace telehelm::store
