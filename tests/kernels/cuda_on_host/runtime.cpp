// SPDX-License-Identifier: Apache-2.0
// Streams, buffers and graphs on the host: work is done at once, or kept while a graph is being recorded.
#include "gpu.h"

#include <chrono>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace telehelm::kernels::cuda {
namespace {

using Work = std::vector<std::function<void()>>;
thread_local Work* recording = nullptr;
thread_local std::size_t allocatedBytes = 0;

/// Kernels share the fibers: several ranks of a test, one thread each, take turns.
std::recursive_mutex oneAtATime;

/// Poisoned: what nobody writes is NaN.
void* allocate(std::size_t bytes, int value) {
    void* block = ::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{256});
    std::memset(block, value, bytes);
    return block;
}
void release(void* block) {
    ::operator delete (block, std::align_val_t{256});
}

} // namespace

namespace host {
std::size_t allocated() {
    return allocatedBytes;
}
void submit(std::function<void()> work) {
    if (recording != nullptr) {
        recording->push_back(std::move(work));
        return;
    }
    const std::lock_guard lock(oneAtATime);
    work();
}
} // namespace host

void detail::StreamEnd::operator()(void* handle) const {
    delete static_cast<int*>(handle);
}
void detail::EventEnd::operator()(void* handle) const {
    delete static_cast<std::chrono::steady_clock::time_point*>(handle);
}
void detail::GraphEnd::operator()(void* handle) const {
    delete static_cast<Work*>(handle);
}
void detail::DeviceEnd::operator()(void* block) const {
    release(block);
}
void detail::PinnedEnd::operator()(void* block) const {
    release(block);
}

void useDevice(int) {}
MemoryInfo memoryInfo() {
    return {1ULL << 33, 1ULL << 34};
}

Stream::Stream() : m_handle(new int(0)) {}
void Stream::synchronize() const {
    if (recording != nullptr)
        host::broken("a stream is synchronized while it is recorded");
}

Event::Event() : m_handle(new std::chrono::steady_clock::time_point()) {}
void Event::record(const Stream&) {
    *static_cast<std::chrono::steady_clock::time_point*>(m_handle.get()) = std::chrono::steady_clock::now();
}
void Event::holdUp(const Stream&) const {}
bool Event::isReached() const {
    return true;
}
void Event::synchronize() const {}
double Event::msSince(const Event& earlier) const {
    return std::chrono::duration<double, std::milli>(*static_cast<std::chrono::steady_clock::time_point*>(m_handle.get()) -
                                                     *static_cast<std::chrono::steady_clock::time_point*>(earlier.m_handle.get()))
        .count();
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : m_block(allocate(bytes, 0xFF)), m_bytes(bytes) {
    allocatedBytes += bytes;
    if (recording != nullptr)
        host::broken("memory is allocated while a stream is recorded");
}
PinnedBuffer::PinnedBuffer(std::size_t bytes) : m_block(allocate(bytes, 0)), m_bytes(bytes) {}

Graph::Recording::Recording(const Stream& stream) : m_stream(stream) {
    recording = new Work;
}
Graph::Recording::~Recording() {
    if (m_open) {
        delete recording;
        recording = nullptr;
    }
}
Graph Graph::Recording::end() {
    m_open = false;
    Graph graph;
    graph.m_handle.reset(std::exchange(recording, nullptr));
    return graph;
}
void Graph::launch(const Stream&) const {
    const std::lock_guard lock(oneAtATime);
    for (const auto& work : *static_cast<const Work*>(m_handle.get()))
        work();
}

void copyToDevice(void* device, const void* from, std::size_t bytes, const Stream&) {
    host::submit([=] { std::memcpy(device, from, bytes); });
}
void copyToHost(void* to, const void* device, std::size_t bytes, const Stream&) {
    host::submit([=] { std::memcpy(to, device, bytes); });
}
void copyOnDevice(void* to, const void* from, std::size_t bytes, const Stream&) {
    host::submit([=] { std::memmove(to, from, bytes); });
}
void fillBytes(void* device, int value, std::size_t bytes, const Stream&) {
    host::submit([=] { std::memset(device, value, bytes); });
}

} // namespace telehelm::kernels::cuda
