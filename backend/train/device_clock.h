// SPDX-License-Identifier: Apache-2.0
// Times of a step as a device's stream has them, by events in it: the host runs ahead, and its own clock would only tell how fast
// work is handed over.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "telehelm/kernels/cuda/runtime.h"
#include "train/step_watch.h"

namespace telehelm::train {

/// Trainer thread only. No allocation once a step has been measured.
class DeviceClock {
public:
    /// Borrowed.
    explicit DeviceClock(const kernels::cuda::Stream& stream) : m_stream(stream) {}

    /// What the stream is given from here on is of this phase; while it has nothing to do, too.
    void enter(Phase phase) { turn(phase); }
    /// Between steps nothing counts.
    void leave() { turn(std::nullopt); }

    /// A mark in another stream; it stays what it is until take() or forget().
    [[nodiscard]] const kernels::cuda::Event& mark(const kernels::cuda::Stream& other);
    /// The stream goes on when the mark is reached, and the time that it stands still for counts. The mark must not be recorded
    /// again before take() or forget().
    void hold(Meter meter, const kernels::cuda::Event& until);

    /// All that was measured since the last call. Whoever calls it has waited for the stream.
    [[nodiscard]] StepTimes take();
    /// The same where nobody wants to know; the stream may still be at it.
    void forget();

private:
    struct Turn {
        const kernels::cuda::Event* at;
        std::optional<Phase> phase;
    };
    struct Held {
        const kernels::cuda::Event *since, *until;
        Meter meter;
        std::optional<Phase> phase;
    };
    kernels::cuda::Event& next();
    void turn(std::optional<Phase> phase);

    const kernels::cuda::Stream& m_stream;
    std::deque<kernels::cuda::Event> m_events; // the first m_used are in use; they stay where they are
    std::size_t m_used = 0;
    std::vector<Turn> m_turns; // the last one goes on
    std::vector<Held> m_held;
};

} // namespace telehelm::train
