// SPDX-License-Identifier: GPL-3.0-or-later
// The thread that owns the SUB socket: waits at most 100 ms for news and puts them into a bounded buffer, which the GUI's timer swaps
// out under one lock. Public members: any thread. The callback: on the worker's own thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "session/back_off.h"
#include "session/session.h"

namespace telehelm::app {

struct ReceivedNews {
    ipc::News news;
    std::int64_t receivedUs = 0;
};

class TelemetryWorker {
public:
    using Open = std::function<Result<std::unique_ptr<ipc::LiveSubscriber>>(const std::string& endpoint, std::uint32_t protocol)>;
    using LinkChanged = std::function<void(const LinkStatus&)>;
    TelemetryWorker(Open open, LinkChanged linkChanged);
    ~TelemetryWorker(); // stops and joins within the receive timeout
    void connectTo(const std::string& endpoint, std::uint32_t protocol);
    void reconnectNow();
    void requestStop();
    /// Everything that came since the last call, oldest first. What does not fit is dropped at the old end: the news numbers tell.
    [[nodiscard]] std::vector<ReceivedNews> take();

private:
    using Clock = std::chrono::steady_clock;
    void loop();
    bool nextTurn();
    void openSocket();
    void receiveOnce();
    void noteLink(bool connected);
    void noteDown(const QString& why);

    static constexpr std::size_t kCapacity = 16'384;
    const Open m_open;
    const LinkChanged m_linkChanged;

    // Guarded by m_mutex.
    std::mutex m_mutex;
    std::condition_variable m_wake;
    std::deque<ReceivedNews> m_buffer;
    std::string m_endpoint;
    std::uint32_t m_protocol = ipc::kProtocolVersion;
    bool m_reopen = false, m_stop = false; // reopen: another endpoint
    bool m_tryNow = false;                 // open again unless the link stands

    // Worker thread only.
    std::unique_ptr<ipc::LiveSubscriber> m_socket;
    std::string m_openEndpoint;
    std::uint32_t m_openProtocol = ipc::kProtocolVersion;
    LinkStatus m_status;
    BackOff m_backOff;
    Clock::time_point m_nextAttempt = Clock::time_point::max(), m_openedAt;
    std::thread m_thread;
};

} // namespace telehelm::app
