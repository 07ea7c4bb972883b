// SPDX-License-Identifier: Apache-2.0
// The symbols of telehelm/kernels/cuda/runtime.h for machines without a device: its memory is the heap's, and a stream does
// nothing until somebody waits for it. Who reads or writes a buffer too early gets what was there before: poison, or another
// call's bytes.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>

#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::kernels::cuda {
namespace {

struct Queue {
    std::deque<std::function<void()>> works;
    std::size_t given = 0, done = 0; // since the beginning
    void give(std::function<void()> work) {
        works.push_back(std::move(work));
        ++given;
    }
    void runUntil(std::size_t mark) {
        while (done < mark && !works.empty()) {
            const auto work = std::move(works.front());
            works.pop_front();
            ++done;
            work();
        }
    }
};

struct Mark {
    std::shared_ptr<Queue> queue;
    std::size_t at = 0;
    void reach() const {
        if (queue) {
            queue->runUntil(at);
        }
    }
};

std::shared_ptr<Queue>& queueOf(void* stream) {
    return *static_cast<std::shared_ptr<Queue>*>(stream);
}

void* poisoned(std::size_t bytes) {
    void* block = std::malloc(bytes + 1);
    std::memset(block, 0xFB, bytes); // as floats and as bf16: about −1e36
    return block;
}

} // namespace

namespace detail {
void StreamEnd::operator()(void* handle) const {
    queueOf(handle)->runUntil(queueOf(handle)->given);
    delete static_cast<std::shared_ptr<Queue>*>(handle);
}
void EventEnd::operator()(void* handle) const {
    delete static_cast<Mark*>(handle);
}
void DeviceEnd::operator()(void* block) const {
    std::free(block);
}
void PinnedEnd::operator()(void* block) const {
    std::free(block);
}
} // namespace detail

Stream::Stream() : m_handle(new std::shared_ptr<Queue>(std::make_shared<Queue>())) {}
void Stream::synchronize() const {
    Queue& queue = *queueOf(native());
    queue.runUntil(queue.given);
}

Event::Event() : m_handle(new Mark) {}
void Event::record(const Stream& stream) {
    const std::shared_ptr<Queue>& queue = queueOf(stream.native());
    *static_cast<Mark*>(native()) = {queue, queue->given};
}
void Event::holdUp(const Stream& stream) const {
    queueOf(stream.native())->give([mark = *static_cast<const Mark*>(native())] { mark.reach(); });
}
void Event::synchronize() const {
    static_cast<const Mark*>(native())->reach();
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : m_block(poisoned(bytes)), m_bytes(bytes) {}
PinnedBuffer::PinnedBuffer(std::size_t bytes) : m_block(poisoned(bytes)), m_bytes(bytes) {}

void copyToDevice(void* device, const void* host, std::size_t bytes, const Stream& stream) {
    queueOf(stream.native())->give([=] { std::memcpy(device, host, bytes); });
}
void copyToHost(void* host, const void* device, std::size_t bytes, const Stream& stream) {
    queueOf(stream.native())->give([=] { std::memcpy(host, device, bytes); });
}

} // namespace telehelm::kernels::cuda
