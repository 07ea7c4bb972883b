// SPDX-License-Identifier: Apache-2.0
#include "store/ingest_ledger.h"

#include <algorithm>

namespace telehelm::store {

std::uint64_t IngestLedger::ack() const {
    for (const SequenceGap& gap : gaps)
        if (gap.to >= firstHeld)
            return std::max({gap.from, firstHeld, std::uint64_t{1}}) - 1;
    return last;
}

bool IngestLedger::take(std::uint64_t sequence) {
    if (sequence > last) {
        if (sequence > last + 1)
            gaps.push_back({last + 1, sequence - 1});
        last = sequence;
        return true;
    }
    for (auto gap = gaps.begin(); gap != gaps.end(); ++gap) {
        if (sequence < gap->from || sequence > gap->to)
            continue;
        const SequenceGap below{gap->from, sequence - 1}, above{sequence + 1, gap->to};
        gap = gaps.erase(gap);
        if (above.from <= above.to)
            gap = gaps.insert(gap, above);
        if (below.from <= below.to)
            gaps.insert(gap, below);
        return true;
    }
    return false;
}

} // namespace telehelm::store
