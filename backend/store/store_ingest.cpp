// SPDX-License-Identifier: Apache-2.0
// What comes in, exactly once, and what is deleted.
#include <algorithm>
#include <chrono>

#include "store/deleted_runs.h"
#include "store/records.h"
#include "store/store_impl.h"

namespace telehelm::store {

using ipc::AttemptKey;

constexpr auto kPurgePiece = std::chrono::milliseconds(8); // as long as others wait for the writer

IngestLedger* Store::Impl::ledger(const AttemptKey& key) {
    if (const auto found = m_ingest.find(key); found != m_ingest.end())
        return &found->second;
    const auto row = selectAttempt(m_writer, key);
    if (!row)
        return nullptr;
    IngestLedger state{row->id, row->info.lastSequence, {}, 0};
    for (Rows rows = m_writer.query("SELECT from_sequence, to_sequence FROM gaps WHERE attempt_id=? ORDER BY from_sequence", row->id);
         rows.next();)
        state.gaps.push_back({static_cast<std::uint64_t>(rows.integer(0)), static_cast<std::uint64_t>(rows.integer(1))});
    return &m_ingest.emplace(key, std::move(state)).first->second;
}

Result<std::vector<IngestedBatch>> Store::Impl::ingest(std::span<ipc::TelemetryBatch> batches) {
    const std::lock_guard lock(m_writeMutex);
    const std::lock_guard pointsLock(m_points.mutex());
    auto result = guarded<std::vector<IngestedBatch>>([&]() -> Result<std::vector<IngestedBatch>> {
        std::vector<IngestedBatch> done;
        Transaction transaction(m_writer);
        for (ipc::TelemetryBatch& batch : batches)
            done.push_back(ingestOne(batch));
        m_points.tidy(m_writer);
        commit(transaction);
        return done;
    });
    if (!result)
        for (const ipc::TelemetryBatch& batch : batches)
            if (const auto found = m_ingest.find(batch.key); found != m_ingest.end()) {
                m_points.forget(found->second.id);
                m_ingest.erase(found);
            }
    return result;
}

IngestedBatch Store::Impl::ingestOne(ipc::TelemetryBatch& batch) {
    IngestedBatch done;
    IngestLedger* state = ledger(batch.key);
    if (!state || batch.sequence == 0) {
        done.refused = state ? Error{ErrorCode::InvalidArgument, "a batch needs a sequence number from 1 on", "store"}
                             : unknownAttempt(batch.key);
        return done;
    }
    const std::vector<SequenceGap> gapsBefore = state->gaps;
    if (state->take(batch.sequence)) {
        done.stored = true;
        done.points = pointCount(batch);
        m_points.append(m_writer, state->id, batch.series);
        for (ipc::Event& event : batch.events) {
            event.key = batch.key;
            insertEvent(m_writer, event);
        }
        for (const ipc::CommandOutcome& outcome : batch.outcomes) {
            auto command = selectCommand(m_writer, outcome.id);
            if (!command || !settle(*command, outcome, ipc::nowUs()))
                continue;
            store::putCommand(m_writer, *command);
            done.settled.push_back(std::move(*command));
        }
        storeSequence(*state, batch, done.points);
        if (gapsBefore != state->gaps)
            writeGaps(*state);
    }
    done.ack = state->ack();
    return done;
}

void Store::Impl::storeSequence(const IngestLedger& state, const ipc::TelemetryBatch& batch, std::uint64_t points) {
    std::int64_t step = 0, tokens = 0;
    for (const ipc::SeriesBlock& block : batch.series)
        for (const ipc::Point& point : block.points) {
            step = std::max(step, point.step);
            tokens = std::max(tokens, point.tokens);
        }
    m_writer.run("UPDATE attempts SET last_sequence=?, points_stored=points_stored+?, step=max(step, ?), tokens=max(tokens, ?), "
                 "last_heard_us=max(last_heard_us, ?) WHERE id=?",
                 state.last, points, step, tokens, ipc::nowUs(), state.id);
}

void Store::Impl::writeGaps(const IngestLedger& state) {
    m_writer.run("DELETE FROM gaps WHERE attempt_id=?", state.id);
    for (const SequenceGap& gap : state.gaps)
        m_writer.run("INSERT INTO gaps(attempt_id, from_sequence, to_sequence) VALUES(?,?,?)", state.id, gap.from, gap.to);
}

Result<std::uint64_t> Store::Impl::acknowledged(const AttemptKey& key, std::uint64_t firstUnacked) {
    const std::lock_guard lock(m_writeMutex);
    return guarded<std::uint64_t>([&]() -> Result<std::uint64_t> {
        IngestLedger* state = ledger(key);
        if (!state)
            return tl::unexpected(unknownAttempt(key));
        state->firstHeld = std::max(state->firstHeld, firstUnacked);
        return state->ack();
    });
}

Result<std::vector<SequenceGap>> Store::Impl::gaps(const AttemptKey& key) {
    const std::lock_guard lock(m_writeMutex);
    return guarded<std::vector<SequenceGap>>([&]() -> Result<std::vector<SequenceGap>> {
        const IngestLedger* state = ledger(key);
        if (!state)
            return tl::unexpected(unknownAttempt(key));
        return state->gaps;
    });
}

Result<ipc::DeletedRun> Store::Impl::deleteRun(const ipc::DeletedRun& record) {
    const std::lock_guard lock(m_writeMutex);
    const std::lock_guard pointsLock(m_points.mutex());
    auto deleted = mark(record);
    if (deleted || deleted.error().code != ErrorCode::ResourceExhausted)
        return deleted;
    // On a full disk, the very moment to delete something, the write-ahead log may have room for it once it is emptied.
    const auto emptied = guarded<void>([&]() -> Result<void> {
        m_writer.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        return {};
    });
    return emptied ? mark(record) : deleted;
}

// Both locks held.
Result<ipc::DeletedRun> Store::Impl::mark(ipc::DeletedRun record) {
    return guarded<ipc::DeletedRun>([&]() -> Result<ipc::DeletedRun> {
        Transaction transaction(m_writer);
        const std::vector<std::int64_t> attempts = markDeleted(m_writer, record);
        if (attempts.empty())
            return fail(ErrorCode::NotFound, "no run named “" + record.run + "”", "store");
        commit(transaction);
        for (const std::int64_t id : attempts)
            m_points.forget(id);
        std::erase_if(m_ingest, [&](const auto& known) { return known.first.run == record.run; });
        return record;
    });
}

Result<bool> Store::Impl::purge() {
    const std::lock_guard lock(m_writeMutex);
    return guarded<bool>([&]() -> Result<bool> {
        const auto end = std::chrono::steady_clock::now() + kPurgePiece;
        std::vector<std::int64_t> gone;
        Transaction transaction(m_writer);
        const std::optional<std::int64_t> attempt = attemptToPurge(m_writer);
        bool hasMore = purgeSome(m_writer, gone);
        if (!hasMore)
            return false;
        while (hasMore && attemptToPurge(m_writer) == attempt && std::chrono::steady_clock::now() < end)
            hasMore = purgeSome(m_writer, gone);
        commit(transaction);
        for (const std::int64_t series : gone)
            m_ema.forget(series);
        if (attempt) { // a reader that began before the deletion may have loaded it again
            const std::lock_guard pointsLock(m_points.mutex());
            m_points.forget(*attempt);
        }
        return hasMore;
    });
}

} // namespace telehelm::store
