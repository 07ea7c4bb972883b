// SPDX-License-Identifier: Apache-2.0
// The store's inside, shared by the sources that implement it (store.cpp, store_ingest.cpp, store_queries.cpp).
#pragma once

#include <map>
#include <mutex>
#include <shared_mutex>

#include "store/byte_stream.h"
#include "store/commit_mark.h"
#include "store/ema.h"
#include "store/ingest_ledger.h"
#include "store/point_store.h"
#include "store/series_rows.h"
#include "store/sqlite.h"
#include "store/store.h"

namespace telehelm::store {

[[nodiscard]] Error unknownAttempt(const ipc::AttemptKey& key);

/// Connections, locks and what memory holds: one connection writes, a small pool reads snapshots. Any thread. Errors of SQLite are thrown up
/// to guarded(), which makes Errors of them.
class Store::Impl {
public:
    Impl(const std::filesystem::path& file, Access access)
        : m_file(file), m_readMode(readMode(file, access)), m_isReadOnly(access == Access::ReadOnly),
          m_writer(file, m_isReadOnly ? m_readMode : Database::Mode::ReadWrite), m_mark(file) {}
    ~Impl() {
        if (!m_isReadOnly)
            foldLogs();
    }

    Result<void> prepare();
    [[nodiscard]] const std::vector<std::string>& notices() const { return m_notices; }

    template <typename T>
    Result<T> write(const std::function<T(Database&)>& work) {
        return guarded<T>([&]() -> Result<T> {
            const std::lock_guard lock(m_writeMutex);
            Transaction transaction(m_writer);
            if constexpr (std::is_void_v<T>) {
                work(m_writer);
                commit(transaction);
                return {};
            } else {
                T made = work(m_writer);
                commit(transaction);
                return made;
            }
        });
    }

    template <typename T>
    Result<T> read(const std::function<Result<T>(Database&)>& work) {
        return guarded<T>([&] {
            Lease lease(*this);
            return work(*lease.db);
        });
    }

    Result<std::vector<IngestedBatch>> ingest(std::span<ipc::TelemetryBatch> batches);
    Result<std::uint64_t> acknowledged(const ipc::AttemptKey& key, std::uint64_t firstUnacked);
    Result<std::vector<SequenceGap>> gaps(const ipc::AttemptKey& key);
    Result<ipc::DeletedRun> deleteRun(const ipc::DeletedRun& record);
    Result<bool> purge();
    Result<ipc::SeriesPage> listSeries(const ipc::SeriesListQuery& query);
    Result<ipc::LineageInfo> lineage(const std::string& run);
    Result<void> querySeries(const ipc::SeriesQuery& query, const std::function<bool(ipc::SeriesSegment&&)>& sink);

private:
    static constexpr std::size_t kIdleReaders = 4;

    // A reading connection, given back when done.
    struct Lease {
        explicit Lease(Impl& owner) : impl(owner), db(owner.takeReader()) {}
        ~Lease() { impl.giveReader(std::move(db)); }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        Impl& impl;
        std::unique_ptr<Database> db;
    };
    struct Snapshot { // one moment of the database for several reads
        explicit Snapshot(Database& reader) : db(reader) {
            db.execute("BEGIN");
            db.query("SELECT 1 FROM runs LIMIT 1").next(); // the snapshot is taken at the first read
        }
        ~Snapshot() {
            try {
                db.execute("COMMIT");
            } catch (const SqlError&) {
                // Ending a read-only transaction has no effect that could be lost.
            }
        }
        Snapshot(const Snapshot&) = delete;
        Snapshot& operator=(const Snapshot&) = delete;
        Database& db;
    };

    template <typename T, typename Work>
    Result<T> guarded(const Work& work) {
        try {
            return work();
        } catch (const SqlError& error) {
            return tl::unexpected(toError(error, m_file.string()));
        } catch (const DamagedBlob& damage) {
            return fail(ErrorCode::DataLoss, std::string("damaged: ") + damage.what(), m_file.string());
        }
    }

    std::unique_ptr<Database> takeReader() {
        {
            const std::lock_guard lock(m_readerMutex);
            if (!m_readers.empty()) {
                auto db = std::move(m_readers.back());
                m_readers.pop_back();
                return db;
            }
        }
        auto db = std::make_unique<Database>(m_file, m_readMode);
        db->execute("PRAGMA cache_size=-4000"); // the system caches the file's pages, too
        return db;
    }
    void giveReader(std::unique_ptr<Database> db) {
        const std::lock_guard lock(m_readerMutex);
        if (m_readers.size() < kIdleReaders)
            m_readers.push_back(std::move(db));
    }

    IngestLedger* ledger(const ipc::AttemptKey& key); // write mutex held; null: unknown attempt
    IngestedBatch ingestOne(ipc::TelemetryBatch& batch);
    void storeSequence(const IngestLedger& state, const ipc::TelemetryBatch& batch, std::uint64_t points);
    void writeGaps(const IngestLedger& state);
    Result<ipc::DeletedRun> mark(ipc::DeletedRun record);
    void commit(Transaction& transaction); // write mutex held
    void foldLogs();
    NamesFound searchNames(Database& db, std::int64_t attempt, const NameRange& range, std::uint32_t limit);
    void loadPoints(Database& db, const std::vector<std::int64_t>& attempts, std::shared_lock<std::shared_mutex>& lock);

    // Without a log nothing is on its way into the file, and SQLite need not make the files that a log takes.
    static Database::Mode readMode(const std::filesystem::path& file, Access access) {
        std::error_code error;
        const auto logBytes = std::filesystem::file_size(file.string() + "-wal", error);
        return access == Access::ReadOnly && (error || logBytes == 0) ? Database::Mode::Immutable : Database::Mode::ReadOnly;
    }

    // constant after construction
    const std::filesystem::path m_file;
    const Database::Mode m_readMode;
    const bool m_isReadOnly;
    std::mutex m_writeMutex;
    Database m_writer;                             // guarded by m_writeMutex
    CommitMark m_mark;                             // guarded by m_writeMutex
    std::uint64_t m_commits = 0;                   // guarded by m_writeMutex
    std::vector<std::string> m_notices;            // constant after prepare()
    std::map<ipc::AttemptKey, IngestLedger> m_ingest;    // guarded by m_writeMutex
    PointStore m_points;                           // has its own lock, taken after m_writeMutex
    EmaCache m_ema;                                // any thread
    std::mutex m_readerMutex;
    std::vector<std::unique_ptr<Database>> m_readers; // guarded by m_readerMutex
};

} // namespace telehelm::store
