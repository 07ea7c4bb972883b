// SPDX-License-Identifier: Apache-2.0
// The symbols of kernels/cuda where there is no CUDA: nothing can be made, so nothing else is ever reached.
#include "telehelm/kernels/cuda/runtime.h"
#include "absent.h"

namespace telehelm::kernels::cuda {

void detail::StreamEnd::operator()(void*) const {}
void detail::EventEnd::operator()(void*) const {}
void detail::GraphEnd::operator()(void*) const {}
void detail::DeviceEnd::operator()(void*) const {}
void detail::PinnedEnd::operator()(void*) const {}

void useDevice(int) {
    absent();
}
MemoryInfo memoryInfo() {
    absent();
}
Stream::Stream() {
    absent();
}
void Stream::synchronize() const {
    absent();
}
Event::Event() {
    absent();
}
void Event::record(const Stream&) {
    absent();
}
void Event::holdUp(const Stream&) const {
    absent();
}
bool Event::isReached() const {
    absent();
}
void Event::synchronize() const {
    absent();
}
double Event::msSince(const Event&) const {
    absent();
}
DeviceBuffer::DeviceBuffer(std::size_t) {
    absent();
}
PinnedBuffer::PinnedBuffer(std::size_t) {
    absent();
}
Graph::Recording::Recording(const Stream& stream) : m_stream(stream), m_open(false) {
    absent();
}
Graph::Recording::~Recording() {
    static_cast<void>(m_stream);
    static_cast<void>(m_open);
}
Graph Graph::Recording::end() {
    absent();
}
void Graph::launch(const Stream&) const {
    absent();
}
void copyToDevice(void*, const void*, std::size_t, const Stream&) {
    absent();
}
void copyToHost(void*, const void*, std::size_t, const Stream&) {
    absent();
}
void copyOnDevice(void*, const void*, std::size_t, const Stream&) {
    absent();
}
void fillBytes(void*, int, std::size_t, const Stream&) {
    absent();
}

} // namespace telehelm::kernels::cuda
