// SPDX-License-Identifier: Apache-2.0
#include "store/check.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "store/byte_stream.h"
#include "store/commit_mark.h"
#include "store/point_store.h"
#include "store/records.h"
#include "store/schema.h"
#include "store/series_check.h"
#include "store/series_reader.h"
#include "store/series_rows.h"

namespace telehelm::store {
namespace {

constexpr std::uint32_t kSeriesPerPage = 1000;

// One check of one store. One thread.
class Checker {
public:
    Checker(Database& db, const CheckOptions& options) : m_db(db), m_options(options) {}

    CheckReport run(const std::filesystem::path& file) {
        checkStructure();
        checkMark(file);
        for (Rows rows = m_db.query("SELECT count(*) FROM chunks WHERE level=0"); rows.next();)
            m_allChunks = static_cast<std::uint64_t>(rows.integer(0));
        for (const RunRecord& record : selectRuns(m_db)) {
            ++m_report.runs;
            for (const AttemptRow& attempt : selectAttempts(m_db, record.run))
                checkAttempt(attempt);
        }
        checkOrphans();
        checkRecords();
        for (Rows rows = m_db.query("SELECT count(*), coalesce(sum(points), 0) FROM damaged WHERE kind IN ('points', 'tail', 'log', 'commits')");
             rows.next();) {
            m_report.knownLosses = static_cast<std::uint64_t>(rows.integer(0));
            m_report.knownPointsLost = static_cast<std::uint64_t>(rows.integer(1));
        }
        return m_report;
    }

private:
    void tell(Damage damage) {
        ++m_report.damages;
        m_report.mended += damage.isMended ? 1 : 0;
        m_report.pointsLost += damage.pointsLost;
        m_attemptLost += damage.pointsLost;
        if (m_options.found)
            m_options.found(damage);
    }
    Damage about(const std::string& what) const {
        Damage damage;
        damage.run = m_key.run;
        damage.attempt = m_key.attempt;
        damage.what = what;
        return damage;
    }

    // The file as SQLite sees it: pages, trees, constraints.
    void checkStructure() {
        m_key = {};
        try {
            for (Rows rows = m_db.query("PRAGMA quick_check(20)"); rows.next();)
                if (rows.text(0) != "ok")
                    tell(about("the file's structure: " + rows.text(0) + " (sqlite3's .recover may save more)"));
        } catch (const SqlError& error) {
            if (!error.isDamage())
                throw;
            tell(about(std::string("the file's structure: ") + error.what()));
        }
    }

    void checkMark(const std::filesystem::path& file) {
        Rows rows = m_db.query("SELECT commits FROM store_state");
        if (!rows.next()) {
            Damage damage = about("table store_state has lost its row");
            damage.isMended = m_options.repair;
            if (m_options.repair)
                m_db.run("INSERT INTO store_state(id, commits) VALUES(1, ?)", CommitMark::read(file).value_or(0));
            return tell(std::move(damage));
        }
        const auto commits = static_cast<std::uint64_t>(rows.integer(0));
        if (const auto marked = CommitMark::read(file); marked && *marked > commits)
            tell(about("the last " + std::to_string(*marked - commits) + " transactions are gone: " + file.filename().string() +
                       "-wal was cut off or removed, or this is an older copy of the store"));
    }

    void checkAttempt(const AttemptRow& attempt) {
        ++m_report.attempts;
        m_key = attempt.info.key;
        m_attemptLost = 0;
        try {
            checkLog(attempt.id);
            std::uint64_t points = 0;
            std::string after;
            for (;;) {
                const std::vector<SeriesRow> page = pageOfSeries(m_db, attempt.id, NameRange({}, after), kSeriesPerPage);
                for (const SeriesRow& row : page)
                    points += checkSeries(attempt.id, row);
                if (page.size() < kSeriesPerPage)
                    break;
                after = page.back().name;
            }
            m_report.points += points;
            std::uint64_t known = 0;
            for (Rows rows = m_db.query("SELECT coalesce(sum(points), 0) FROM damaged WHERE attempt_id=? AND kind IN ('points', 'tail', 'log')", attempt.id);
                 rows.next();)
                known = static_cast<std::uint64_t>(rows.integer(0));
            const std::uint64_t accounted = points + known + (m_options.repair ? 0 : m_attemptLost);
            if (accounted != attempt.info.pointsStored)
                tell(about(std::to_string(attempt.info.pointsStored) + " points were acknowledged, " + std::to_string(accounted) +
                           " are there or known to be lost"));
        } catch (const SqlError& error) {
            if (!error.isDamage())
                throw;
            tell(about(std::string("its tables cannot be read on: ") + error.what()));
        }
    }

    // What is not in chunks yet.
    void checkLog(std::int64_t attemptId) {
        for (Rows rows = m_db.query("SELECT id, points, body FROM tail_log WHERE attempt_id=? ORDER BY id", attemptId); rows.next();)
            try {
                (void)decodeLog(rows.blob(2));
            } catch (const DamagedBlob& damage) {
                Damage found = about("log row " + std::to_string(rows.integer(0)) + ": " + damage.what() +
                                     "; the points may be of any series of the attempt");
                found.pointsLost = static_cast<std::uint64_t>(rows.integer(1));
                found.isMended = m_options.repair;
                tell(std::move(found));
            }
        m_open.emplace();
        m_open->load(m_db, attemptId);
        if (m_options.repair) { // sets aside what cannot be read
            m_open->fold(m_db, attemptId);
            m_open.emplace();
        }
    }

    std::uint64_t checkSeries(std::int64_t attemptId, const SeriesRow& listed) {
        ++m_report.series;
        const auto inMemory = m_open->series(attemptId).find(listed.name);
        const bool isLogged = inMemory != m_open->series(attemptId).end();
        const SeriesView view = isLogged ? viewOf(*inMemory->second) : viewOf(static_cast<const SeriesSummary&>(listed));
        std::uint64_t chunks = 0;
        for (Rows rows = m_db.query("SELECT max(idx) FROM chunks WHERE series=? AND level<=1", listed.id); rows.next() && !rows.isNull(0);)
            chunks = static_cast<std::uint64_t>(rows.integer(0)) + 1;
        const auto named = [&](Damage&& damage) {
            damage.run = m_key.run;
            damage.attempt = m_key.attempt;
            damage.series = listed.name;
            tell(std::move(damage));
        };
        if (chunks > view.points / kPointsPerChunk)
            summaryIsWrong(listed, chunks, named);
        chunks = std::max(chunks, view.openFrom / kPointsPerChunk);
        SeriesChecker checker(m_db, attemptId, listed.id, m_options.repair, named);
        std::uint64_t points = checker.checkChunks(chunks, [&] { countChunk(); });
        if (view.points / kPointsPerChunk < chunks)
            return points;
        SeriesReader reader(m_db, view);
        reader.readPoints(chunks * kPointsPerChunk, view.points, [&](std::uint64_t, std::span<const ipc::Point> part) { points += part.size(); });
        if (!reader.takeMissing().empty())
            tailIsLost(attemptId, listed, chunks, named);
        return points;
    }

    void summaryIsWrong(const SeriesRow& listed, std::uint64_t chunks, const std::function<void(Damage&&)>& named) {
        Damage damage = about("its row tells " + std::to_string(listed.points) + " points, its chunks " + std::to_string(chunks * kPointsPerChunk));
        damage.isMended = m_options.repair;
        if (m_options.repair) {
            SeriesSummary right = listed;
            right.points = chunks * kPointsPerChunk;
            m_db.run("DELETE FROM tail_open WHERE series=?", listed.id);
            updateSeries(m_db, right);
        }
        named(std::move(damage));
    }

    void tailIsLost(std::int64_t attemptId, const SeriesRow& listed, std::uint64_t chunks, const std::function<void(Damage&&)>& named) {
        Damage damage = about("open points (behind the last chunk) cannot be read");
        const std::uint64_t edge = chunks * kPointsPerChunk;
        damage.pointsLost = std::min(listed.points - std::min(listed.points, edge), kPointsPerChunk);
        damage.isMended = m_options.repair;
        if (m_options.repair) {
            m_db.run("INSERT INTO damaged(kind, attempt_id, series, level, idx, points, noted_us, text, body) "
                     "SELECT 'tail', ?, ?, 0, ?, ?, ?, 'open points that could not be read', (SELECT body FROM tail_open WHERE series=?)",
                     attemptId, listed.id, edge, damage.pointsLost, ipc::nowUs(), listed.id);
            m_db.run("DELETE FROM tail_open WHERE series=?", listed.id);
            SeriesSummary right = listed;
            right.points = edge;
            updateSeries(m_db, right);
        }
        named(std::move(damage));
    }

    void countChunk() {
        ++m_report.chunks;
        if (m_options.progress && m_report.chunks % 256 == 0)
            m_options.progress(m_report.chunks, m_allChunks);
    }

    void checkOrphans() {
        m_key = {};
        for (Rows rows = m_db.query("SELECT count(*), count(DISTINCT series) FROM chunks WHERE series NOT IN (SELECT id FROM series)"); rows.next();)
            if (rows.integer(0) > 0)
                tell(about(std::to_string(rows.integer(0)) + " chunks of " + std::to_string(rows.integer(1)) +
                           " series whose names are lost (they stay where they are)"));
        for (Rows rows = m_db.query("SELECT count(*) FROM series WHERE attempt_id NOT IN (SELECT id FROM attempts UNION SELECT id FROM deleted_attempts)");
             rows.next();)
            if (rows.integer(0) > 0)
                tell(about(std::to_string(rows.integer(0)) + " series of attempts that are not there any more"));
    }

    void checkRecords() {
        const auto check = [&](Rows rows, const std::string& what) {
            while (rows.next())
                if (!nlohmann::json::accept(rows.text(1)))
                    tell(about(what + " " + rows.text(0) + ": its details cannot be read"));
        };
        check(m_db.query("SELECT id, facts FROM events"), "event");
        check(m_db.query("SELECT id, body FROM commands"), "command");
    }

    Database& m_db;
    const CheckOptions& m_options;
    CheckReport m_report;
    ipc::AttemptKey m_key;
    std::uint64_t m_attemptLost = 0, m_allChunks = 0;
    std::optional<PointStore> m_open; // the attempt's points that are in the log only
};

} // namespace

std::string Damage::text() const {
    std::string line;
    if (!run.empty())
        line = "run “" + run + "”, attempt " + std::to_string(attempt);
    if (!series.empty())
        line += ", series “" + series + "”";
    if (level >= 0)
        line += ", level " + std::to_string(level) + ", chunk " + std::to_string(chunk);
    line += (line.empty() ? "" : ": ") + what;
    if (pointsLost > 0) {
        line += "; " + std::to_string(pointsLost) + " points lost";
        if (firstStep <= lastStep)
            line += " (steps " + std::to_string(firstStep) + " … " + std::to_string(lastStep) + ")";
        line += isMended ? ", noted" : "";
    } else if (isMended) {
        line += "; made again";
    }
    return line;
}

Result<CheckReport> checkStore(const std::filesystem::path& file, const CheckOptions& options) {
    const std::string context = file.string();
    if (!std::filesystem::exists(file))
        return fail(ErrorCode::NotFound, "there is no store here; name the folder with --state-dir", context);
    try {
        Database db(file, options.repair ? Database::Mode::ReadWrite : Database::Mode::ReadOnly);
        const auto version = schemaVersion(db, context);
        if (!version)
            return tl::unexpected(version.error());
        if (*version < kSchemaVersion && !options.repair)
            return fail(ErrorCode::FailedPrecondition,
                        "the store has the older version " + std::to_string(*version) +
                            "; telehelmd brings it to the present one when it starts, and so does check --repair",
                        context);
        if (!options.repair) {
            db.execute("BEGIN"); // one moment, whatever a daemon writes meanwhile
            const CheckReport report = Checker(db, options).run(file);
            db.execute("COMMIT");
            return report;
        }
        if (auto prepared = prepareSchema(db, context); !prepared)
            return tl::unexpected(prepared.error());
        Transaction transaction(db);
        const CheckReport report = Checker(db, options).run(file);
        transaction.commit();
        return report;
    } catch (const SqlError& error) {
        return tl::unexpected(toError(error, context));
    }
}

} // namespace telehelm::store
