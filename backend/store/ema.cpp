// SPDX-License-Identifier: Apache-2.0
#include "store/ema.h"

#include <cmath>
#include <limits>

namespace telehelm::store {
namespace {

constexpr std::uint64_t kStride = 256;
constexpr std::size_t kMaxCurves = 20'000; // a forgotten curve is computed again

// Goes from point `at` over the points and notes the state before each of the indices.
void collect(SeriesReader& reader, double weight, ipc::EmaState state, std::uint64_t at, std::span<const std::uint64_t> indices,
             std::vector<ipc::EmaState>& found) {
    std::size_t next = 0;
    const auto note = [&] {
        for (; next < indices.size() && indices[next] == at; ++next)
            found.push_back(state);
    };
    note();
    if (next == indices.size())
        return;
    reader.readPoints(at, indices.back(), [&](std::span<const ipc::Point> points) {
        for (const ipc::Point& point : points) {
            advance(state, weight, point.value);
            ++at;
            note();
        }
    });
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

std::shared_ptr<EmaCache::Curve> EmaCache::curve(std::int64_t series, double weight) {
    const std::lock_guard lock(m_mutex);
    if (m_curves.size() > kMaxCurves)
        m_curves.clear();
    std::shared_ptr<Curve>& found = m_curves[{series, weight}];
    if (!found)
        found = std::make_shared<Curve>();
    return found;
}

void EmaCache::extend(Curve& curve, SeriesReader& reader, double weight) {
    ipc::EmaState state = curve.states.back();
    std::uint64_t at = (curve.states.size() - 1) * kStride;
    const std::uint64_t end = reader.size() / kStride * kStride;
    if (at >= end)
        return;
    reader.readPoints(at, end, [&](std::span<const ipc::Point> points) {
        for (const ipc::Point& point : points) {
            advance(state, weight, point.value);
            if (++at % kStride == 0)
                curve.states.push_back(state);
        }
    });
}

std::vector<ipc::EmaState> EmaCache::at(SeriesReader& reader, double weight, const ipc::EmaState& initial,
                                        std::span<const std::uint64_t> indices) {
    const std::shared_ptr<Curve> known = curve(reader.state().id, weight);
    const std::lock_guard lock(known->mutex);
    if (known->states.empty() || !(known->states.front() == initial))
        known->states = {initial}; // a late point of the parent moved the start
    extend(*known, reader, weight);
    std::vector<ipc::EmaState> found;
    found.reserve(indices.size());
    while (found.size() < indices.size()) {
        const std::uint64_t from = indices[found.size()];
        const std::uint64_t mark = std::min<std::uint64_t>(from / kStride, known->states.size() - 1);
        // As far as the indices lie close together, one pass over the points answers them all.
        std::size_t last = found.size();
        while (last + 1 < indices.size() && indices[last + 1] - indices[last] < kStride)
            ++last;
        collect(reader, weight, known->states[mark], mark * kStride, indices.subspan(found.size(), last + 1 - found.size()), found);
    }
    return found;
}

} // namespace telehelm::store
