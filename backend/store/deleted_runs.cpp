// SPDX-License-Identifier: Apache-2.0
#include "store/deleted_runs.h"

#include "store/records.h"

namespace telehelm::store {
namespace {

constexpr std::int64_t kRows = 64; // at a time: of the largest kind, chunks, about 1 MB

/// Runs a statement that deletes at most kRows rows; false when there were none.
template <typename... Args>
bool took(Database& db, const char* sql, const Args&... args) {
    db.run(sql, args..., kRows);
    return db.changes() > 0;
}

bool purgeSeries(Database& db, std::int64_t attempt, std::vector<std::int64_t>& gone) {
    std::vector<std::int64_t> some;
    for (Rows rows = db.query("SELECT id FROM series WHERE attempt_id=? LIMIT ?", attempt, kRows); rows.next();)
        some.push_back(rows.integer(0));
    std::int64_t rows = 0;
    for (const std::int64_t series : some) {
        (void)took(db, "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE series=? LIMIT ?)", series);
        rows += db.changes() + 1;
        if (rows > kRows) // its name stays as long as a chunk does
            break;
        db.run("DELETE FROM tail_open WHERE series=?", series);
        db.run("DELETE FROM series WHERE id=?", series);
        gone.push_back(series);
    }
    return !some.empty();
}

// The log goes first: while an attempt has one, somebody who asked for its points before it was deleted may bring it back to memory.
bool purgeAttempt(Database& db, std::int64_t attempt, std::vector<std::int64_t>& gone) {
    return took(db, "DELETE FROM tail_log WHERE id IN (SELECT id FROM tail_log WHERE attempt_id=? LIMIT ?)", attempt) ||
           purgeSeries(db, attempt, gone) ||
           took(db, "DELETE FROM tail_open WHERE series IN (SELECT series FROM tail_open WHERE attempt_id=? LIMIT ?)", attempt) ||
           took(db, "DELETE FROM gaps WHERE attempt_id=?1 AND from_sequence IN (SELECT from_sequence FROM gaps WHERE attempt_id=?1 LIMIT ?2)", attempt) ||
           took(db, "DELETE FROM damaged WHERE id IN (SELECT id FROM damaged WHERE attempt_id=? LIMIT ?)", attempt);
}

} // namespace

std::vector<std::int64_t> markDeleted(Database& db, ipc::DeletedRun& record) {
    std::vector<std::int64_t> attempts;
    record.points = 0;
    for (const AttemptRow& attempt : selectAttempts(db, record.run)) {
        attempts.push_back(attempt.id);
        record.points += attempt.info.pointsStored;
        db.run("INSERT INTO deleted_attempts(id, deleted_run) VALUES(?,?)", attempt.id, record.id);
    }
    record.attempts = static_cast<std::uint32_t>(attempts.size());
    db.run("UPDATE store_state SET last_attempt=max(last_attempt, (SELECT coalesce(max(id), 0) FROM attempts)), "
           "last_series=max(last_series, (SELECT coalesce(max(id), 0) FROM series))");
    // Events may be many: those up to this one are hidden at once, and purged later. Runs, attempts and commands are few.
    db.run("INSERT INTO deleted_runs(id, run, deleted_us, author, host, reason, attempts, points, checkpoints, checkpoint_bytes, kept_in, last_event, "
           "is_purged) VALUES(?,?,?,?,?,?,?,?,?,?,?,(SELECT coalesce(max(id), 0) FROM events),0)",
           record.id, record.run, record.deletedUs, record.author, record.host, record.reason, record.attempts, record.points, record.checkpoints,
           record.checkpointBytes, record.keptIn);
    for (const char* sql : {"DELETE FROM attempts WHERE run=?", "DELETE FROM commands WHERE run=?", "DELETE FROM runs WHERE run=?"})
        db.run(sql, record.run);
    return attempts;
}

std::optional<std::int64_t> attemptToPurge(Database& db) {
    Rows rows = db.query("SELECT id FROM deleted_attempts ORDER BY id LIMIT 1");
    return rows.next() ? std::optional(rows.integer(0)) : std::nullopt;
}

bool purgeSome(Database& db, std::vector<std::int64_t>& gone) {
    if (const auto attempt = attemptToPurge(db)) {
        if (!purgeAttempt(db, *attempt, gone))
            db.run("DELETE FROM deleted_attempts WHERE id=?", *attempt);
        return true;
    }
    std::string id, run;
    std::int64_t lastEvent = 0;
    {
        Rows rows = db.query("SELECT id, run, last_event FROM deleted_runs WHERE is_purged=0 LIMIT 1");
        if (!rows.next())
            return false;
        id = rows.text(0);
        run = rows.text(1);
        lastEvent = rows.integer(2);
    }
    if (!took(db, "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE run=? AND id<=? LIMIT ?)", run, lastEvent))
        db.run("UPDATE deleted_runs SET is_purged=1 WHERE id=?", id);
    return true;
}

std::vector<ipc::DeletedRun> selectDeletedRuns(Database& db) {
    std::vector<ipc::DeletedRun> all;
    for (Rows rows = db.query("SELECT id, run, deleted_us, author, host, reason, attempts, points, checkpoints, checkpoint_bytes, kept_in FROM deleted_runs "
                              "ORDER BY deleted_us, id");
         rows.next();)
        all.push_back({rows.text(0), rows.text(1), rows.integer(2), rows.text(3), rows.text(4), rows.text(5), static_cast<std::uint32_t>(rows.integer(6)),
                       static_cast<std::uint64_t>(rows.integer(7)), static_cast<std::uint32_t>(rows.integer(8)), rows.integer(9), rows.text(10)});
    return all;
}

} // namespace telehelm::store
