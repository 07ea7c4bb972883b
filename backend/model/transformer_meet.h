// SPDX-License-Identifier: Apache-2.0
// How a team shares rows, and where the tensor ranks meet. Private to the Transformer's sources.
#pragma once

#include "model/transformer.h"

namespace telehelm::model {

constexpr std::int64_t kRowGrain = 16; // rows of a team member start at multiples of it, for full register tiles

/// True when members can take whole sequences and stay balanced; then attention needs no barriers around it.
template <typename Ops> bool Transformer<Ops>::ownsSequences(const Worker& worker, const Batch& batch) const {
    return batch.sequences % worker.count == 0;
}

template <typename Ops> kernels::Range Transformer<Ops>::rowsOf(const Worker& worker, const Batch& batch) const {
    return worker.share(batch.sequences * m_T, ownsSequences(worker, batch) ? m_T : kRowGrain);
}

template <typename Ops> kernels::Range Transformer<Ops>::ownRowsOf(const Worker& worker, const Batch& batch) const {
    return m_rowParts == 1 ? rowsOf(worker, batch) : worker.share(batch.sequences * m_T / m_rowParts, kRowGrain);
}

/// A team's function must not throw: what a communicator throws is kept, and thrown again where the team has ended.
template <typename Ops> template <typename Function> void Transformer<Ops>::guarded(const Function& function) {
    if (m_failure)
        return;
    try {
        function();
    } catch (...) {
        m_failure = std::current_exception();
    }
}

/// The team's first member calls the communicator when all have come; nobody goes on before.
template <typename Ops>
template <typename Function>
void Transformer<Ops>::meet(const Worker& worker, const Function& function) {
    worker.barrier();
    if (worker.index == 0)
        guarded(function);
    worker.barrier();
}

/// Nobody reads these weights before they are there.
template <typename Ops> void Transformer<Ops>::need(const Worker& worker, std::int64_t from, std::int64_t to) {
    if (!m_turns.needed)
        return;
    if (worker.index == 0)
        guarded([&] { m_turns.needed(from, to); });
    worker.barrier();
}

/// After a barrier behind the last addition to these gradients.
template <typename Ops> void Transformer<Ops>::tellDone(const Worker& worker, std::int64_t from, std::int64_t to) {
    if (worker.index == 0 && m_turns.done)
        guarded([&] { m_turns.done(from, to); });
}

/// All ranks' rows: `own` itself unless they are split.
template <typename Ops>
auto Transformer<Ops>::gather(const Worker& worker, const Batch& batch, const Real* own, Real* all) -> const Real* {
    if (m_rowParts == 1)
        return own;
    const auto size = static_cast<std::size_t>(boundarySize(batch.sequences));
    meet(worker, [&] { m_tensor->allGather(std::span<const Real>(own, size), std::span<Real>(all, size * static_cast<std::size_t>(m_rowParts))); });
    return all;
}

/// The ranks' sums of `all` (N, C), own rows into `own`; where rows are not split `own` is `all`.
template <typename Ops> void Transformer<Ops>::sumRows(const Worker& worker, const Batch& batch, Real* all, Real* own) {
    if (m_rowParts == 1) {
        sum(worker, all, batch.sequences * m_T * m_C);
        return;
    }
    const auto size = static_cast<std::size_t>(boundarySize(batch.sequences));
    meet(worker, [&] { m_tensor->reduceScatter(std::span<const Real>(all, size * static_cast<std::size_t>(m_rowParts)), std::span<Real>(own, size)); });
}

template <typename Ops> void Transformer<Ops>::sum(const Worker& worker, Real* values, std::int64_t count) {
    if (m_tensor != nullptr)
        meet(worker, [&] { m_tensor->allReduce(std::span<Real>(values, static_cast<std::size_t>(count)), comm::Reduce::Sum); });
}

} // namespace telehelm::model
