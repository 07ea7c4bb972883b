// SPDX-License-Identifier: Apache-2.0
// The trainer's DEALER socket: finds the daemon through the endpoint file, notices its death, comes back.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "zmq/link_frames.h"
#include "zmq/socket.h"

namespace telehelm::ipc {

/// Link thread only.
class TrainerConnection {
public:
    using Clock = std::chrono::steady_clock;

    TrainerConnection(std::string endpoint, std::filesystem::path endpointFile);

    enum class Change { None, Opened, Lost };
    /// Connects when it is time to; tells when the TCP link came up (say hello now) or went away.
    Change update(Clock::time_point now);
    /// Gives the link up and tries again after a pause, with whatever the endpoint file says then.
    void drop(Clock::time_point now, Clock::duration pause);

    SendResult send(FrameKind kind, std::string_view payload);
    bool receive(std::vector<std::string>& frames);
    void setLinger(int ms);
    [[nodiscard]] bool open() const { return m_monitor && m_monitor->connected(); }
    [[nodiscard]] const std::string& endpoint() const { return m_endpoint; }
    [[nodiscard]] const std::string& problem() const { return m_problem; }
    [[nodiscard]] void* socket() const { return m_socket.handle(); } // null while there is none
    [[nodiscard]] void* monitor() const { return m_monitor ? m_monitor->handle() : nullptr; }

private:
    void readEndpointFile();
    void connect(Clock::time_point now);

    const std::filesystem::path m_endpointFile;
    std::string m_endpoint;       // where to connect next
    std::string m_problem;
    ZmqContext m_context;
    ZmqSocket m_socket;
    std::optional<ZmqMonitor> m_monitor;
    std::string m_connectedTo;    // where the present socket tries
    Clock::time_point m_nextLook; // at the endpoint file
    Clock::time_point m_giveUp;   // then a fresh socket
};

} // namespace telehelm::ipc
