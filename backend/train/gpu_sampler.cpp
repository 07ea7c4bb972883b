// SPDX-License-Identifier: Apache-2.0
#include "train/gpu_sampler.h"

#include <utility>

namespace telehelm::train {

GpuSampler::GpuSampler(std::unique_ptr<NvmlDevice> device, std::chrono::milliseconds period)
    : m_device(std::move(device)), m_period(period), m_latest(m_device->read()), m_thread([this] { run(); }) {}

GpuSampler::~GpuSampler() {
    {
        const std::lock_guard lock(m_mutex);
        m_isOver = true;
    }
    m_wake.notify_all();
    m_thread.join();
}

GpuReading GpuSampler::latest() const {
    const std::lock_guard lock(m_mutex);
    return m_latest;
}

void GpuSampler::run() {
    std::unique_lock lock(m_mutex);
    while (!m_wake.wait_for(lock, m_period, [this] { return m_isOver; })) {
        lock.unlock();
        const GpuReading reading = m_device->read();
        lock.lock();
        m_latest = reading;
    }
}

} // namespace telehelm::train
