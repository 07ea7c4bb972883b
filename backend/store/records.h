// SPDX-License-Identifier: Apache-2.0
// Runs, attempts, events and commands as rows. Free functions on a connection; throw SqlError.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/sqlite.h"
#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/types.h"

namespace telehelm::store {

struct RunRecord {
    std::string run, description;
    std::int64_t createdUs = 0;
    std::string startCommand; // UUID of the start request, may be empty
};

/// An attempt and what only the store needs to know of it.
struct AttemptRow {
    std::int64_t id = 0;
    ipc::AttemptInfo info;
};

void insertRun(Database& db, const RunRecord& run);
[[nodiscard]] std::vector<RunRecord> selectRuns(Database& db); // oldest first

void insertAttempt(Database& db, const ipc::AttemptInfo& attempt);
[[nodiscard]] std::vector<AttemptRow> selectAttempts(Database& db, const std::string& run); // oldest first
[[nodiscard]] std::optional<AttemptRow> selectAttempt(Database& db, const ipc::AttemptKey& key);
/// State, its text, end, heard-of time and emitted count; what ingest counts is left alone.
void updateAttempt(Database& db, const ipc::AttemptInfo& attempt);

void insertEvent(Database& db, ipc::Event& event); // fills the id
[[nodiscard]] std::optional<ipc::Event> selectFirstEvent(Database& db, const std::string& run);
[[nodiscard]] std::vector<ipc::Event> selectEvents(Database& db, const ipc::EventQuery& query);

void putCommand(Database& db, const ipc::Command& command);
[[nodiscard]] std::optional<ipc::Command> selectCommand(Database& db, const std::string& id);
[[nodiscard]] std::vector<ipc::Command> selectCommands(Database& db, const ipc::CommandQuery& query);
/// Those that are accepted and have no outcome yet, oldest first.
[[nodiscard]] std::vector<ipc::Command> selectPendingCommands(Database& db, const std::string& run);

/// True when the outcome changed the command (a settled one stays as it is).
bool settle(ipc::Command& command, const ipc::CommandOutcome& outcome, std::int64_t nowUs);

} // namespace telehelm::store
