// SPDX-License-Identifier: Apache-2.0
// Streams, buffers and graphs on the host. A stream is a queue that runs only when somebody waits, and then as unluckily as the
// rules allow (gpu.h: Order): who forgot an event, or writes pinned memory too early, gets wrong numbers. Each thread has a device
// of its own: several ranks of a test are one thread each.
#include "gpu.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <new>
#include <random>
#include <utility>
#include <vector>

namespace telehelm::kernels::cuda {
namespace {

using Clock = std::chrono::steady_clock;
using Work = std::vector<std::function<void()>>;

struct Queue;

/// Where a stream was when an event was recorded in it.
struct Mark {
    std::shared_ptr<Queue> queue; // null: never recorded, nobody waits for it
    std::size_t at = 0;
    std::shared_ptr<Clock::time_point> reachedAt;
    [[nodiscard]] bool isReached() const;
};

struct Item {
    std::function<void()> work;
    Mark until = {}; // which holds it up
};

struct Device {
    std::vector<std::weak_ptr<Queue>> queues;
    std::mt19937 random{20260101};
};

struct Queue {
    explicit Queue(std::shared_ptr<Device> on) : device(std::move(on)) {}
    void give(Item item) {
        items.push_back(std::move(item));
        ++given;
    }
    const std::shared_ptr<Device> device;
    std::deque<Item> items;
    std::size_t given = 0, done = 0; // since the beginning
};

bool Mark::isReached() const {
    return queue == nullptr || queue->done >= at;
}

struct Recorded {
    const Queue* stream;
    Work work;
};

thread_local std::unique_ptr<Recorded> recording;
thread_local std::size_t allocatedBytes = 0;
thread_local const std::shared_ptr<Device> ownDevice = std::make_shared<Device>();
std::atomic<host::Order> order{host::Order::Late};

/// Kernels share the fibers: the threads take turns, item by item.
std::recursive_mutex oneAtATime;

std::shared_ptr<Queue>& queueOf(void* handle) {
    return *static_cast<std::shared_ptr<Queue>*>(handle);
}
std::shared_ptr<Queue>& queueOf(const Stream& stream) {
    return queueOf(stream.native());
}
Mark& markOf(const Event& event) {
    return *static_cast<Mark*>(event.native());
}

std::vector<std::shared_ptr<Queue>> queuesOf(Device& device) {
    std::vector<std::shared_ptr<Queue>> alive;
    std::erase_if(device.queues, [](const auto& queue) { return queue.expired(); });
    for (const auto& queue : device.queues)
        alive.push_back(queue.lock());
    return alive;
}

/// Runs the first item unless it is held up. After one that fails the device is of no use any more, as CUDA has it.
bool step(Queue& queue) {
    if (queue.items.empty() || !queue.items.front().until.isReached())
        return false;
    const Item item = std::move(queue.items.front());
    queue.items.pop_front();
    try {
        if (item.work)
            item.work();
    } catch (...) {
        for (const auto& each : queuesOf(*queue.device)) {
            each->done += each->items.size();
            each->items.clear();
        }
        ++queue.done;
        throw;
    }
    ++queue.done;
    return true;
}

/// Nothing but what it needs.
void stepTowards(const Mark& mark) {
    if (mark.queue->items.empty())
        host::broken("a stream waits for what nobody gave it");
    if (const Mark until = mark.queue->items.front().until; !until.isReached())
        stepTowards(until);
    else
        step(*mark.queue);
}

void runOthers(const Queue& waitedFor) {
    for (bool goesOn = true; goesOn;) {
        goesOn = false;
        for (const auto& queue : queuesOf(*waitedFor.device))
            while (queue.get() != &waitedFor && step(*queue))
                goesOn = true;
    }
}

/// One item at least.
void advance(const Mark& mark) {
    const std::lock_guard lock(oneAtATime);
    if (mark.isReached())
        return;
    if (order == host::Order::Early)
        runOthers(*mark.queue);
    if (order == host::Order::Shuffled) {
        const auto queues = queuesOf(*mark.queue->device);
        if (step(*queues[mark.queue->device->random() % queues.size()]))
            return;
    }
    stepTowards(mark);
}

void runUntil(const Mark& mark) {
    while (!mark.isReached())
        advance(mark);
}

Mark endOf(const std::shared_ptr<Queue>& queue) {
    return {queue, queue->given, {}};
}

/// What CUDA does before it gives memory back.
void runAll() {
    for (const auto& queue : queuesOf(*ownDevice))
        runUntil(endOf(queue));
}

/// Poisoned: what nobody writes is NaN.
void* allocate(std::size_t bytes, int value) {
    void* block = ::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{256});
    std::memset(block, value, bytes);
    return block;
}
void release(void* block) {
    runAll();
    ::operator delete (block, std::align_val_t{256});
}

} // namespace

namespace host {
std::size_t allocated() {
    return allocatedBytes;
}
void orderStreams(Order wanted) {
    order = wanted;
}
void submit(const Stream& stream, std::function<void()> work) {
    const std::lock_guard lock(oneAtATime);
    const std::shared_ptr<Queue>& queue = queueOf(stream);
    if (recording == nullptr)
        queue->give({std::move(work)});
    else if (recording->stream == queue.get())
        recording->work.push_back(std::move(work));
    else
        broken("work for one stream while another one is recorded");
}
} // namespace host

void detail::StreamEnd::operator()(void* handle) const {
    runUntil(endOf(queueOf(handle)));
    delete static_cast<std::shared_ptr<Queue>*>(handle);
}
void detail::EventEnd::operator()(void* handle) const {
    delete static_cast<Mark*>(handle);
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

Stream::Stream() : m_handle(new std::shared_ptr<Queue>(std::make_shared<Queue>(ownDevice))) {
    ownDevice->queues.emplace_back(queueOf(*this));
}
void Stream::synchronize() const {
    if (recording != nullptr)
        host::broken("a stream is synchronized while one is recorded");
    runUntil(endOf(queueOf(*this)));
}

Event::Event() : m_handle(new Mark) {}
void Event::record(const Stream& stream) {
    const auto reachedAt = std::make_shared<Clock::time_point>();
    host::submit(stream, [reachedAt] { *reachedAt = Clock::now(); });
    markOf(*this) = {queueOf(stream), queueOf(stream)->given, reachedAt};
}
void Event::holdUp(const Stream& stream) const {
    if (recording != nullptr)
        host::broken("a stream waits for an event while one is recorded");
    queueOf(stream)->give({{}, markOf(*this)});
}
bool Event::isReached() const {
    advance(markOf(*this));
    return markOf(*this).isReached();
}
void Event::synchronize() const {
    runUntil(markOf(*this));
}
double Event::msSince(const Event& earlier) const {
    const Mark &from = markOf(earlier), &to = markOf(*this);
    if (from.queue == nullptr || to.queue == nullptr || !from.isReached() || !to.isReached())
        host::broken("time between events that are not both reached");
    return std::chrono::duration<double, std::milli>(*to.reachedAt - *from.reachedAt).count();
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : m_block(allocate(bytes, 0xFF)), m_bytes(bytes) {
    allocatedBytes += bytes;
    if (recording != nullptr)
        host::broken("memory is allocated while a stream is recorded");
}
PinnedBuffer::PinnedBuffer(std::size_t bytes) : m_block(allocate(bytes, 0)), m_bytes(bytes) {}

Graph::Recording::Recording(const Stream& stream) : m_stream(stream) {
    recording = std::make_unique<Recorded>(Recorded{queueOf(stream).get(), {}});
}
Graph::Recording::~Recording() {
    if (m_open)
        recording.reset();
}
Graph Graph::Recording::end() {
    m_open = false;
    Graph graph;
    graph.m_handle.reset(new Work(std::move(recording->work)));
    recording.reset();
    return graph;
}
void Graph::launch(const Stream& stream) const {
    for (const auto& work : *static_cast<const Work*>(m_handle.get()))
        host::submit(stream, work);
}

void copyToDevice(void* device, const void* from, std::size_t bytes, const Stream& stream) {
    host::submit(stream, [=] { std::memcpy(device, from, bytes); });
}
void copyToHost(void* to, const void* device, std::size_t bytes, const Stream& stream) {
    host::submit(stream, [=] { std::memcpy(to, device, bytes); });
}
void copyOnDevice(void* to, const void* from, std::size_t bytes, const Stream& stream) {
    host::submit(stream, [=] { std::memmove(to, from, bytes); });
}
void fillBytes(void* device, int value, std::size_t bytes, const Stream& stream) {
    host::submit(stream, [=] { std::memset(device, value, bytes); });
}

} // namespace telehelm::kernels::cuda
