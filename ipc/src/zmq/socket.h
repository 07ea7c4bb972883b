// SPDX-License-Identifier: Apache-2.0
// ZeroMQ as move-only values with Result errors. A socket belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::ipc {

class ZmqContext {
public:
    ZmqContext();
    ~ZmqContext();
    ZmqContext(const ZmqContext&) = delete;
    ZmqContext& operator=(const ZmqContext&) = delete;
    [[nodiscard]] void* handle() const { return m_handle; }

private:
    void* m_handle;
};

enum class SendResult { Sent, WouldBlock, NoPeer };

/// linger 0 from the start; every call is non-blocking.
class ZmqSocket {
public:
    ZmqSocket() = default;
    ZmqSocket(const ZmqContext& context, int type);
    ~ZmqSocket();
    ZmqSocket(ZmqSocket&& other) noexcept;
    ZmqSocket& operator=(ZmqSocket&& other) noexcept;

    void setOption(int option, int value);
    void subscribe(std::string_view prefix);
    /// Refuses other than loopback; names the endpoint and the remedy when it is taken.
    Result<void> bind(const std::string& endpoint);
    Result<void> connect(const std::string& endpoint);
    [[nodiscard]] std::string lastEndpoint() const;

    SendResult send(const std::vector<std::string_view>& frames);
    /// False when there is nothing to read.
    bool receive(std::vector<std::string>& frames);
    [[nodiscard]] void* handle() const { return m_handle; }

private:
    void* m_handle = nullptr;
};

/// Tells whether a client socket's TCP link stands, from libzmq's monitor events. Same thread as the socket.
class ZmqMonitor {
public:
    ZmqMonitor(const ZmqContext& context, const ZmqSocket& watched);
    /// Reads the events that came; true when the state changed.
    bool update();
    [[nodiscard]] bool connected() const { return m_connected; }
    [[nodiscard]] void* handle() const { return m_socket.handle(); }

private:
    ZmqSocket m_socket;
    bool m_connected = false;
};

/// An eventfd: wakes a thread that polls. notify() from any thread.
class Waker {
public:
    Waker();
    ~Waker();
    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;
    void notify();
    void drain();
    [[nodiscard]] int fd() const { return m_fd; }

private:
    int m_fd;
};

[[nodiscard]] std::string littleEndian(std::uint64_t value);
[[nodiscard]] std::uint64_t fromLittleEndian(std::string_view eightBytes);

} // namespace telehelm::ipc
