// SPDX-License-Identifier: Apache-2.0
#include "store/schema.h"

#include <array>

#include "store/migration_v2.h"

namespace telehelm::store {
namespace {

constexpr std::int64_t kApplicationId = 0x74686c6d; // "thlm"

// Version 1. Byte formats of the BLOBs: README.md. A new file goes through all steps, so this one stays as it was.
void createVersion1(Database& db) {
    db.execute(R"sql(
CREATE TABLE runs(
  run TEXT PRIMARY KEY, description TEXT NOT NULL, created_us INTEGER NOT NULL, start_command TEXT NOT NULL);
CREATE INDEX runs_by_command ON runs(start_command);
CREATE TABLE attempts(
  id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(run), attempt INTEGER NOT NULL,
  parent INTEGER NOT NULL, fork_step INTEGER NOT NULL, state INTEGER NOT NULL, state_text TEXT NOT NULL,
  started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL, step INTEGER NOT NULL, tokens INTEGER NOT NULL,
  last_heard_us INTEGER NOT NULL, points_emitted INTEGER NOT NULL, points_stored INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL, config TEXT NOT NULL, run_dir TEXT NOT NULL, UNIQUE(run, attempt));
CREATE TABLE gaps(
  attempt_id INTEGER NOT NULL, from_sequence INTEGER NOT NULL, to_sequence INTEGER NOT NULL,
  PRIMARY KEY(attempt_id, from_sequence)) WITHOUT ROWID;
CREATE TABLE series(
  id INTEGER PRIMARY KEY, attempt_id INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE(attempt_id, name));
CREATE TABLE chunks(
  id INTEGER PRIMARY KEY, series INTEGER NOT NULL, level INTEGER NOT NULL, idx INTEGER NOT NULL,
  step_lo INTEGER NOT NULL, step_hi INTEGER NOT NULL, tokens_lo INTEGER NOT NULL, tokens_hi INTEGER NOT NULL,
  wall_lo INTEGER NOT NULL, wall_hi INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE(series, level, idx));
CREATE TABLE tail_log(id INTEGER PRIMARY KEY, attempt_id INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX tail_log_by_attempt ON tail_log(attempt_id);
CREATE TABLE tail_open(series INTEGER PRIMARY KEY, attempt_id INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX tail_open_by_attempt ON tail_open(attempt_id);
CREATE TABLE events(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, attempt INTEGER NOT NULL, kind INTEGER NOT NULL,
  severity INTEGER NOT NULL, step INTEGER NOT NULL, tokens INTEGER NOT NULL, wall_us INTEGER NOT NULL,
  text TEXT NOT NULL, facts TEXT NOT NULL);
CREATE INDEX events_by_run ON events(run, id);
CREATE TABLE commands(
  id TEXT PRIMARY KEY, run TEXT NOT NULL, attempt INTEGER NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  requested_us INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX commands_by_time ON commands(requested_us);
)sql");
}

// Runs that were deleted, and those of their attempts whose rows are still to be purged. SQLite would give a new row the highest id
// again once its owner is gone: what was ever given is remembered.
void migrateToVersion3(Database& db) {
    db.execute(R"sql(
CREATE TABLE deleted_runs(
  id TEXT PRIMARY KEY, run TEXT NOT NULL, deleted_us INTEGER NOT NULL, author TEXT NOT NULL, host TEXT NOT NULL, reason TEXT NOT NULL,
  attempts INTEGER NOT NULL, points INTEGER NOT NULL, checkpoints INTEGER NOT NULL, checkpoint_bytes INTEGER NOT NULL,
  kept_in TEXT NOT NULL, last_event INTEGER NOT NULL, is_purged INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX deleted_runs_to_purge ON deleted_runs(run, last_event) WHERE is_purged=0;
CREATE TABLE deleted_attempts(id INTEGER PRIMARY KEY, deleted_run TEXT NOT NULL);
ALTER TABLE store_state ADD COLUMN last_attempt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store_state ADD COLUMN last_series INTEGER NOT NULL DEFAULT 0;
)sql");
}

// Step i brings a file from version i to i + 1.
constexpr std::array<void (*)(Database&), kSchemaVersion> kMigrations = {createVersion1, migrateToVersion2, migrateToVersion3};

std::int64_t pragma(Database& db, const char* sql) {
    Rows rows = db.query(sql);
    return rows.next() ? rows.integer(0) : 0;
}

} // namespace

Result<int> schemaVersion(Database& db, const std::string& context) {
    const std::int64_t version = pragma(db, "PRAGMA user_version");
    const std::int64_t application = pragma(db, "PRAGMA application_id");
    if (application != kApplicationId && (application != 0 || version != 0))
        return fail(ErrorCode::DataLoss, "this SQLite file is not a store of Telehelm; use another state folder", context);
    if (version > kSchemaVersion)
        return fail(ErrorCode::VersionMismatch,
                    "the store has version " + std::to_string(version) + ", written by a newer Telehelm; this one reads up to " +
                        std::to_string(kSchemaVersion) + ". Use the newer program or another --state-dir",
                    context);
    return static_cast<int>(version);
}

Result<void> prepareSchema(Database& db, const std::string& context) {
    // secure_delete: where SQLite is built to, it would write zeros over all that is deleted, as much again as it frees.
    db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=16000; PRAGMA cache_size=-16000; "
               "PRAGMA secure_delete=FAST");
    const auto version = schemaVersion(db, context);
    if (!version)
        return tl::unexpected(version.error());
    if (*version == kSchemaVersion)
        return {};
    Transaction transaction(db);
    for (std::size_t step = static_cast<std::size_t>(*version); step < kMigrations.size(); ++step)
        kMigrations[step](db);
    db.execute("PRAGMA user_version=" + std::to_string(kSchemaVersion));
    db.execute("PRAGMA application_id=" + std::to_string(kApplicationId));
    transaction.commit();
    return {};
}

Result<void> requireSchema(Database& db, const std::string& context) {
    const auto version = schemaVersion(db, context);
    if (!version)
        return tl::unexpected(version.error());
    if (*version != kSchemaVersion)
        return fail(ErrorCode::FailedPrecondition,
                    "the store has version " + std::to_string(*version) + " and must be brought to version " + std::to_string(kSchemaVersion) +
                        " first: start telehelmd once on a copy that can be written",
                    context);
    return {};
}

} // namespace telehelm::store
