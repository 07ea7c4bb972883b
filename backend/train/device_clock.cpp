// SPDX-License-Identifier: Apache-2.0
#include "train/device_clock.h"

#include <algorithm>
#include <utility>

namespace telehelm::train {

namespace cuda = kernels::cuda;

cuda::Event& DeviceClock::next() {
    if (m_used == m_events.size()) {
        m_events.emplace_back();
    }
    return m_events[m_used++];
}

void DeviceClock::turn(std::optional<Phase> phase) {
    cuda::Event& at = next();
    at.record(m_stream);
    m_turns.push_back({&at, phase});
}

const cuda::Event& DeviceClock::mark(const cuda::Stream& other) {
    cuda::Event& at = next();
    at.record(other);
    return at;
}

void DeviceClock::hold(Meter meter, const cuda::Event& until) {
    cuda::Event& since = next();
    since.record(m_stream);
    until.holdUp(m_stream);
    m_held.push_back({&since, &until, meter, m_turns.empty() ? std::nullopt : m_turns.back().phase});
}

StepTimes DeviceClock::take() {
    StepTimes times;
    for (std::size_t i = 0; i + 1 < m_turns.size(); ++i) {
        if (m_turns[i].phase) {
            times.phases[static_cast<std::size_t>(*m_turns[i].phase)] += m_turns[i + 1].at->msSince(*m_turns[i].at);
        }
    }
    for (const Held& held : m_held) {
        if (held.phase) { // what was there before it was asked for held nobody up
            const double ms = std::max(0.0, held.until->msSince(*held.since));
            times.meters[static_cast<std::size_t>(held.meter)] += ms;
            times.inside[static_cast<std::size_t>(*held.phase)] += ms;
        }
    }
    forget();
    return times;
}

void DeviceClock::forget() {
    m_held.clear();
    m_used = 0;
    if (!m_turns.empty()) { // what goes on keeps its beginning
        cuda::Event& first = m_events.front();
        for (cuda::Event& event : m_events) {
            if (&event == m_turns.back().at) {
                std::swap(first, event);
            }
        }
        m_turns = {{&first, m_turns.back().phase}};
        m_used = 1;
    }
}

} // namespace telehelm::train
