// SPDX-License-Identifier: Apache-2.0
#include "store/ema.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace telehelm::store {
namespace {

constexpr std::size_t kMostStates = 1 << 19;      // of one curve; beyond, every second is dropped
constexpr std::uint64_t kFewPoints = 1 << 16;     // gone through in a millisecond or two
constexpr std::size_t kEntryBytes = 200;

// Goes from point `at` over the points and notes the state before each of the indices.
void collect(SeriesReader& reader, double weight, ipc::EmaState state, std::uint64_t at, std::span<const std::uint64_t> indices,
             std::vector<ipc::EmaState>& found) {
    std::size_t next = 0;
    const auto noteUpTo = [&](std::uint64_t index) {
        for (; next < indices.size() && indices[next] <= index; ++next)
            found.push_back(state);
    };
    noteUpTo(at);
    if (next < indices.size())
        reader.readValues(at, indices.back(), [&](std::uint64_t from, std::span<const double> values) {
            noteUpTo(from);
            for (const double value : values) {
                advance(state, weight, value);
                noteUpTo(++from);
            }
        });
    noteUpTo(std::numeric_limits<std::uint64_t>::max()); // behind points that are lost
}

} // namespace

void advance(ipc::EmaState& state, double weight, double value) {
    if (!std::isfinite(value))
        return;
    state.last = state.last * weight + (1 - weight) * value;
    ++state.n;
}

double shown(const ipc::EmaState& state, double weight) {
    if (state.n == 0)
        return std::numeric_limits<double>::quiet_NaN();
    return state.last / (1 - std::pow(weight, static_cast<double>(state.n)));
}

std::shared_ptr<EmaCache::Curve> EmaCache::curve(const Key& key) {
    const std::lock_guard lock(m_mutex);
    Entry& entry = m_curves[key];
    if (!entry.curve)
        entry.curve = std::make_shared<Curve>();
    entry.used = ++m_clock;
    return entry.curve;
}

void EmaCache::account(const Key& key, std::size_t bytes) {
    const std::lock_guard lock(m_mutex);
    const auto entry = m_curves.find(key);
    if (entry == m_curves.end()) // forgotten meanwhile
        return;
    m_bytes += bytes - entry->second.bytes;
    entry->second.bytes = bytes;
    while (m_bytes > m_mostBytes && m_curves.size() > 1) {
        const auto oldest =
            std::min_element(m_curves.begin(), m_curves.end(), [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
        m_bytes -= oldest->second.bytes;
        m_curves.erase(oldest);
    }
}

void EmaCache::forget(std::int64_t series) {
    const std::lock_guard lock(m_mutex);
    for (auto curve = m_curves.lower_bound({series, 0.0}); curve != m_curves.end() && curve->first.first == series;) {
        m_bytes -= curve->second.bytes;
        curve = m_curves.erase(curve);
    }
}

bool EmaCache::isNearlyKnown(const SeriesReader& reader, double weight) {
    if (reader.size() <= kFewPoints)
        return true;
    std::shared_ptr<Curve> known;
    {
        const std::lock_guard lock(m_mutex);
        const auto found = m_curves.find({reader.id(), weight});
        if (found == m_curves.end())
            return false;
        known = found->second.curve;
    }
    const std::unique_lock lock(known->mutex, std::try_to_lock); // held while somebody computes it
    return lock.owns_lock() && !known->states.empty() && (known->states.size() - 1) * known->stride + kFewPoints >= reader.size();
}

std::size_t EmaCache::bytes() {
    const std::lock_guard lock(m_mutex);
    return m_bytes;
}

void EmaCache::extend(Curve& curve, SeriesReader& reader, double weight) {
    ipc::EmaState state = curve.states.back();
    const std::uint64_t start = (curve.states.size() - 1) * curve.stride, end = reader.size() / curve.stride * curve.stride;
    if (start >= end)
        return;
    const auto keepUpTo = [&](std::uint64_t index) {
        while (curve.states.size() * curve.stride <= index) {
            curve.states.push_back(state);
            if (curve.states.size() <= kMostStates)
                continue;
            for (std::size_t i = 0; 2 * i < curve.states.size(); ++i)
                curve.states[i] = curve.states[2 * i];
            curve.states.resize((curve.states.size() + 1) / 2);
            curve.stride *= 2;
        }
    };
    reader.readValues(start, end, [&](std::uint64_t from, std::span<const double> values) {
        keepUpTo(from);
        for (const double value : values) {
            advance(state, weight, value);
            keepUpTo(++from);
        }
    });
    keepUpTo(end / curve.stride * curve.stride);
}

std::vector<ipc::EmaState> EmaCache::at(SeriesReader& reader, double weight, const ipc::EmaState& initial,
                                        std::span<const std::uint64_t> indices) {
    const Key key{reader.id(), weight};
    const std::shared_ptr<Curve> known = curve(key);
    std::vector<ipc::EmaState> found;
    found.reserve(indices.size());
    std::size_t bytes = 0;
    {
        const std::lock_guard lock(known->mutex);
        if (known->states.empty() || !(known->states.front() == initial)) { // a late point of the parent moved the start
            known->states = {initial};
            known->stride = 256;
        }
        extend(*known, reader, weight);
        const std::uint64_t stride = known->stride;
        while (found.size() < indices.size()) {
            const std::uint64_t mark = std::min<std::uint64_t>(indices[found.size()] / stride, known->states.size() - 1);
            // As far as the indices lie close together, one pass over the points answers them all.
            std::size_t last = found.size();
            while (last + 1 < indices.size() && indices[last + 1] - indices[last] < stride)
                ++last;
            collect(reader, weight, known->states[mark], mark * stride, indices.subspan(found.size(), last + 1 - found.size()), found);
        }
        bytes = known->states.capacity() * sizeof(ipc::EmaState) + kEntryBytes;
    }
    account(key, bytes);
    return found;
}

} // namespace telehelm::store
