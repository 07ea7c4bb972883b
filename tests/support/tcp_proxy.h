// SPDX-License-Identifier: Apache-2.0
// A network between two programs of a test, which can be cut: in silence, as when a cable is pulled, or with every connection broken.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <list>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace telehelm::testing {

/// Forwards 127.0.0.1:port() to 127.0.0.1:target on a thread of its own. Setters: any thread.
class TcpProxy {
public:
    explicit TcpProxy(int target) : m_target(target), m_listener(listenAnywhere(m_port)), m_thread([this] { run(); }) {}
    ~TcpProxy() {
        m_stopping = true;
        m_thread.join();
        breakAll();
        close(m_listener);
    }
    TcpProxy(const TcpProxy&) = delete;
    TcpProxy& operator=(const TcpProxy&) = delete;

    [[nodiscard]] int port() const { return m_port; }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(m_port); }

    enum class Line { Up, Silent, Broken }; // Silent: not a byte moves, nobody is told. Broken: connections are reset at once
    void set(Line line) { m_line = line; }
    [[nodiscard]] std::uint64_t bytes() const { return m_bytes; }

private:
    struct Way { // one direction of a connection
        std::string waiting;
        bool ended = false;
    };
    struct Pair {
        std::array<int, 2> fd;
        std::array<Way, 2> from; // from[i]: read from fd[i], to be written to fd[1 - i]
    };

    static int listenAnywhere(int& port) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 64) != 0 ||
            getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
            throw std::runtime_error("the proxy cannot listen");
        port = ntohs(address.sin_port);
        return fd;
    }
    void run() {
        while (!m_stopping) {
            const Line line = m_line;
            if (line == Line::Broken)
                breakAll();
            if (line == Line::Silent) {
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
                continue;
            }
            turn(line == Line::Broken);
        }
    }
    void turn(bool isBroken) {
        std::vector<pollfd> items = {{m_listener, POLLIN, 0}};
        for (const Pair& pair : m_pairs)
            for (std::size_t i = 0; i < 2; ++i)
                items.push_back({pair.fd[i],
                                 static_cast<short>((pair.from[i].waiting.size() < kMostWaiting && !pair.from[i].ended ? POLLIN : 0) |
                                                    (pair.from[1 - i].waiting.empty() ? 0 : POLLOUT)), 0});
        poll(items.data(), items.size(), 5);
        if ((items[0].revents & POLLIN) != 0)
            take(isBroken);
        for (auto pair = m_pairs.begin(); pair != m_pairs.end();) {
            const auto next = std::next(pair);
            if (!move(*pair)) {
                drop(*pair);
                m_pairs.erase(pair);
            }
            pair = next;
        }
    }
    void take(bool isBroken) {
        const int near = accept4(m_listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (near < 0)
            return;
        const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(static_cast<std::uint16_t>(m_target));
        Pair pair{{near, far}, {}};
        if (isBroken || connect(far, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            return drop(pair);
        fcntl(far, F_SETFL, O_NONBLOCK);
        const int yes = 1;
        for (const int fd : pair.fd)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        m_pairs.push_back(std::move(pair));
    }
    /// False when the connection is over.
    bool move(Pair& pair) {
        for (std::size_t i = 0; i < 2; ++i) {
            Way& way = pair.from[i];
            char buffer[1 << 16];
            while (!way.ended && way.waiting.size() < kMostWaiting) {
                const ssize_t got = recv(pair.fd[i], buffer, sizeof buffer, 0);
                if (got < 0 && (errno == EAGAIN || errno == EINTR))
                    break;
                if (got <= 0)
                    way.ended = true;
                else
                    way.waiting.append(buffer, static_cast<std::size_t>(got));
            }
            while (!way.waiting.empty()) {
                const ssize_t sent = send(pair.fd[1 - i], way.waiting.data(), way.waiting.size(), MSG_NOSIGNAL);
                if (sent < 0 && (errno == EAGAIN || errno == EINTR))
                    break;
                if (sent <= 0)
                    return false;
                m_bytes += static_cast<std::uint64_t>(sent);
                way.waiting.erase(0, static_cast<std::size_t>(sent));
            }
            if (way.ended && way.waiting.empty())
                return false;
        }
        return true;
    }
    static void drop(const Pair& pair) {
        const linger atOnce{1, 0}; // reset, not a polite end
        for (const int fd : pair.fd) {
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &atOnce, sizeof atOnce);
            close(fd);
        }
    }
    void breakAll() {
        for (const Pair& pair : m_pairs)
            drop(pair);
        m_pairs.clear();
    }

    static constexpr std::size_t kMostWaiting = 1 << 20;
    const int m_target;
    int m_port = 0;
    const int m_listener;
    std::atomic<Line> m_line{Line::Up};
    std::atomic<bool> m_stopping{false};
    std::atomic<std::uint64_t> m_bytes{0};
    std::list<Pair> m_pairs; // the thread's
    std::thread m_thread;    // last: starts when all else stands
};

} // namespace telehelm::testing
