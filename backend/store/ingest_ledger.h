// SPDX-License-Identifier: Apache-2.0
// Which sequence numbers of an attempt are stored, missing or lost: the arithmetic of exactly-once.
#pragma once

#include <cstdint>
#include <vector>

namespace telehelm::store {

struct SequenceGap {
    std::uint64_t from = 0, to = 0; // inclusive
    bool operator==(const SequenceGap&) const = default;
};

struct IngestLedger {
    std::int64_t id = 0;             // the attempt's row
    std::uint64_t last = 0;          // highest sequence number stored
    std::vector<SequenceGap> gaps;   // missing below it, ascending
    std::uint64_t firstHeld = 0;     // the trainer has nothing before this any more: gaps there hold nothing up

    /// Every batch up to it is stored, or lost for good.
    [[nodiscard]] std::uint64_t ack() const;
    /// Notes that `sequence` is stored; false when it was before.
    bool take(std::uint64_t sequence);
};

} // namespace telehelm::store
