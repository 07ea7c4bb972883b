// SPDX-License-Identifier: Apache-2.0
#include "zmq/trainer_outbox.h"

#include <algorithm>

#include "convert/convert.h"

namespace telehelm::ipc {
namespace {

Result<std::string> withNumber(const std::string& payload, std::uint64_t sequence) {
    v1::TelemetryBatch wire;
    if (!wire.ParseFromString(payload))
        return fail(ErrorCode::Internal, "batch " + std::to_string(sequence) + " cannot be read back");
    wire.set_sequence(sequence);
    return wire.SerializeAsString();
}

} // namespace

Result<void> TrainerOutbox::open(const std::filesystem::path& spoolFile, const AttemptKey& key, std::size_t memoryPoints) {
    m_mostMemoryPoints = memoryPoints;
    if (auto opened = m_spool.open(spoolFile, key); !opened)
        return opened;
    m_acked = m_spool.acked();
    for (const SpoolRecord& record : m_spool.found()) {
        if (record.sequence <= m_acked)
            continue;
        if (!m_pending.empty() && m_pending.back().sequence == record.sequence)
            m_pending.pop_back(); // the later one of the same number stands
        m_pending.push_back({record.sequence, record.points, false, false, {}, record, Clock::now()});
    }
    m_firstInMemory = m_pending.size();
    m_nextSequence = m_pending.empty() ? m_acked + 1 : m_pending.back().sequence + 1;
    return {};
}

void TrainerOutbox::add(TelemetryBatch&& batch) {
    batch.sequence = m_nextSequence++;
    v1::TelemetryBatch wire;
    toWire(batch, wire);
    Pending pending;
    pending.sequence = batch.sequence;
    pending.points = static_cast<std::uint32_t>(pointCount(batch));
    pending.payload = wire.SerializeAsString();
    pending.addedAt = Clock::now();
    m_memoryPoints += pending.points;
    m_pending.push_back(std::move(pending));
}

std::uint64_t TrainerOutbox::ack(std::uint64_t sequence) {
    std::uint64_t points = 0;
    while (!m_pending.empty() && m_pending.front().sequence <= sequence) {
        const Pending& front = m_pending.front();
        points += front.points;
        if (!front.payload.empty())
            m_memoryPoints -= front.points;
        m_acked = front.sequence;
        m_pending.pop_front();
        m_cursor -= std::min<std::size_t>(m_cursor, 1);
        m_firstInMemory -= std::min<std::size_t>(m_firstInMemory, 1);
    }
    // A failure to shorten the file costs only a repetition, which the daemon knows by its number.
    if (m_firstInMemory == 0 && !m_spool.empty())
        (void)m_spool.clear(m_acked);
    return points;
}

std::uint64_t TrainerOutbox::welcome(std::uint64_t lastStored) {
    const bool first = !m_welcomed;
    m_welcomed = true;
    m_cursor = 0;
    const auto own = std::find_if(m_pending.begin(), m_pending.end(), [](const Pending& p) { return p.own; });
    const std::uint64_t ownFirst = own == m_pending.end() ? m_nextSequence : own->sequence;
    // Numbers that this process gave out before it could know that an earlier one had used them already.
    if (first && lastStored >= ownFirst)
        renumberFrom(lastStored + 1);
    return ack(lastStored);
}

// Those that lie in the spool go there once more, under the new number. One that cannot be read now stays where it is: next() tells, and
// tries again.
void TrainerOutbox::renumberFrom(std::uint64_t first) {
    for (std::size_t i = 0; i < m_pending.size(); ++i) {
        Pending& pending = m_pending[i];
        if (!pending.own)
            continue;
        pending.sequence = first++;
        auto payload = pending.payload.empty() ? payloadOf(pending) : withNumber(pending.payload, pending.sequence);
        if (!payload)
            continue;
        if (pending.payload.empty())
            m_memoryPoints += pending.points;
        pending.payload = std::move(*payload);
        pending.record.reset();
        m_firstInMemory = std::min(m_firstInMemory, i);
    }
    m_nextSequence = first;
}

Result<std::string> TrainerOutbox::payloadOf(const Pending& pending) const {
    if (!pending.payload.empty() || !pending.record)
        return pending.payload;
    auto payload = m_spool.read(*pending.record);
    return payload && pending.record->sequence != pending.sequence ? withNumber(*payload, pending.sequence) : payload;
}

Result<std::optional<TrainerOutbox::Outgoing>> TrainerOutbox::next() {
    if (m_cursor >= m_pending.size())
        return std::optional<Outgoing>();
    const Pending& pending = m_pending[m_cursor];
    return payloadOf(pending).map(
        [&](std::string&& payload) { return std::optional<Outgoing>({std::move(payload), pending.wasSent}); });
}

void TrainerOutbox::sent() {
    m_pending[m_cursor].wasSent = true;
    ++m_cursor;
}

Result<void> TrainerOutbox::spill(Clock::duration age) {
    const bool tooMany = m_memoryPoints > m_mostMemoryPoints;
    const auto now = Clock::now();
    for (; m_firstInMemory < m_pending.size(); ++m_firstInMemory) {
        Pending& pending = m_pending[m_firstInMemory];
        if (!tooMany && now - pending.addedAt < age)
            break;
        if (pending.record)
            continue;
        auto record = m_spool.append(pending.sequence, pending.points, pending.payload);
        if (!record)
            return tl::unexpected(record.error());
        pending.record = *record;
        m_pointsSpooled += pending.points;
    }
    if (!tooMany)
        return {};
    for (Pending& pending : m_pending) {
        if (!pending.record || pending.payload.empty())
            continue;
        pending.payload = {};
        m_memoryPoints -= pending.points;
    }
    return {};
}

} // namespace telehelm::ipc
