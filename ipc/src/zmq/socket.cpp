// SPDX-License-Identifier: Apache-2.0
#include "zmq/socket.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "address.h"

namespace telehelm::ipc {
namespace {

std::string lastProblem() { return zmq_strerror(zmq_errno()); }

} // namespace

ZmqContext::ZmqContext() : m_handle(zmq_ctx_new()) {
    if (m_handle == nullptr)
        throw std::runtime_error("zmq_ctx_new: " + lastProblem());
}
ZmqContext::~ZmqContext() { zmq_ctx_term(m_handle); }

ZmqSocket::ZmqSocket(const ZmqContext& context, int type) : m_handle(zmq_socket(context.handle(), type)) {
    if (m_handle == nullptr)
        throw std::runtime_error("zmq_socket: " + lastProblem());
    setOption(ZMQ_LINGER, 0);
}
ZmqSocket::~ZmqSocket() {
    if (m_handle != nullptr)
        zmq_close(m_handle);
}
ZmqSocket::ZmqSocket(ZmqSocket&& other) noexcept : m_handle(std::exchange(other.m_handle, nullptr)) {}
ZmqSocket& ZmqSocket::operator=(ZmqSocket&& other) noexcept {
    std::swap(m_handle, other.m_handle);
    return *this;
}

void ZmqSocket::setOption(int option, int value) { zmq_setsockopt(m_handle, option, &value, sizeof value); }

void ZmqSocket::subscribe(std::string_view prefix) { zmq_setsockopt(m_handle, ZMQ_SUBSCRIBE, prefix.data(), prefix.size()); }

Result<void> ZmqSocket::bind(const std::string& endpoint) {
    if (auto allowed = checkLoopbackEndpoint(endpoint); !allowed)
        return allowed;
    if (zmq_bind(m_handle, endpoint.c_str()) == 0)
        return {};
    if (zmq_errno() == EADDRINUSE)
        return fail(ErrorCode::AlreadyExists,
                    "the port is taken by another program; stop it, choose another port, or * for any free one", endpoint);
    return fail(ErrorCode::InvalidArgument, "cannot listen here: " + lastProblem(), endpoint);
}

Result<void> ZmqSocket::connect(const std::string& endpoint) {
    if (auto allowed = checkLoopbackEndpoint(endpoint); !allowed)
        return allowed;
    if (zmq_connect(m_handle, endpoint.c_str()) != 0)
        return fail(ErrorCode::InvalidArgument, "cannot connect: " + lastProblem(), endpoint);
    return {};
}

std::string ZmqSocket::lastEndpoint() const {
    char text[512] = {};
    std::size_t length = sizeof text;
    zmq_getsockopt(m_handle, ZMQ_LAST_ENDPOINT, text, &length);
    return text;
}

SendResult ZmqSocket::send(const std::vector<std::string_view>& frames) {
    // Only the first frame can meet a full queue; libzmq takes the rest of a message that it has begun.
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const int flags = ZMQ_DONTWAIT | (i + 1 < frames.size() ? ZMQ_SNDMORE : 0);
        int rc = -1;
        do {
            rc = zmq_send(m_handle, frames[i].data(), frames[i].size(), flags);
        } while (rc < 0 && zmq_errno() == EINTR);
        if (rc < 0)
            return zmq_errno() == EHOSTUNREACH ? SendResult::NoPeer : SendResult::WouldBlock;
    }
    return SendResult::Sent;
}

bool ZmqSocket::receive(std::vector<std::string>& frames) {
    frames.clear();
    for (int more = 1; more != 0;) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        int rc = -1;
        do {
            rc = zmq_msg_recv(&message, m_handle, ZMQ_DONTWAIT);
        } while (rc < 0 && zmq_errno() == EINTR);
        if (rc < 0) {
            zmq_msg_close(&message);
            return false;
        }
        frames.emplace_back(static_cast<const char*>(zmq_msg_data(&message)), zmq_msg_size(&message));
        more = zmq_msg_more(&message);
        zmq_msg_close(&message);
    }
    return true;
}

ZmqMonitor::ZmqMonitor(const ZmqContext& context, const ZmqSocket& watched) {
    static std::atomic<unsigned> counter{0};
    const std::string name = "inproc://monitor-" + std::to_string(++counter);
    zmq_socket_monitor(watched.handle(), name.c_str(), ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED);
    m_socket = ZmqSocket(context, ZMQ_PAIR);
    zmq_connect(m_socket.handle(), name.c_str());
}

bool ZmqMonitor::update() {
    const bool before = m_connected;
    std::vector<std::string> frames; // event (u16) and value (u32) in native order | endpoint
    while (m_socket.receive(frames)) {
        std::uint16_t event = 0;
        if (frames.empty() || frames[0].size() < sizeof event)
            continue;
        std::memcpy(&event, frames[0].data(), sizeof event);
        m_connected = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
    }
    return m_connected != before;
}

Waker::Waker() : m_fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (m_fd < 0)
        throw std::runtime_error(std::string("eventfd: ") + std::strerror(errno));
}
Waker::~Waker() { close(m_fd); }

void Waker::notify() {
    const std::uint64_t one = 1; // fails only when the counter is full, and then it wakes anyway
    if (write(m_fd, &one, sizeof one) < 0)
        return;
}
void Waker::drain() {
    std::uint64_t count = 0;
    if (read(m_fd, &count, sizeof count) < 0)
        return;
}

std::string littleEndian(std::uint64_t value) {
    std::string bytes(8, '\0');
    for (std::size_t i = 0; i < 8; ++i)
        bytes[i] = static_cast<char>(value >> (8 * i));
    return bytes;
}

std::uint64_t fromLittleEndian(std::string_view eightBytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8 && i < eightBytes.size(); ++i)
        value |= static_cast<std::uint64_t>(static_cast<unsigned char>(eightBytes[i])) << (8 * i);
    return value;
}

} // namespace telehelm::ipc
