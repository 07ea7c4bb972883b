// SPDX-License-Identifier: Apache-2.0
#include "zmq/trainer_connection.h"

#include <fstream>

#include <zmq.h>

namespace telehelm::ipc {

using namespace std::chrono_literals;

TrainerConnection::TrainerConnection(std::string endpoint, std::filesystem::path endpointFile)
    : m_endpointFile(std::move(endpointFile)), m_endpoint(std::move(endpoint)) {}

TrainerConnection::Change TrainerConnection::update(Clock::time_point now) {
    if (m_monitor && m_monitor->update()) {
        if (m_monitor->connected()) {
            m_problem.clear();
            return Change::Opened;
        }
        m_problem = m_connectedTo + ": the daemon closed the link";
        drop(now, 100ms);
        return Change::Lost;
    }
    if (open() || now < m_nextLook)
        return Change::None;
    m_nextLook = now + 250ms;
    readEndpointFile();
    if (m_endpoint.empty()) {
        m_problem = m_endpointFile.string() + ": no daemon has written its endpoint here yet";
        return Change::None;
    }
    if (m_socket.handle() == nullptr || m_connectedTo != m_endpoint || now >= m_giveUp)
        connect(now);
    return Change::None;
}

void TrainerConnection::drop(Clock::time_point now, Clock::duration pause) {
    m_monitor.reset();
    m_socket = ZmqSocket();
    m_nextLook = now + pause;
}

void TrainerConnection::readEndpointFile() {
    if (m_endpointFile.empty())
        return;
    std::ifstream file(m_endpointFile);
    std::string line;
    if (file >> line)
        m_endpoint = line;
}

void TrainerConnection::connect(Clock::time_point now) {
    m_monitor.reset();
    // A fresh socket each time: the daemon sees a new identity and nothing half-sent comes along.
    m_socket = ZmqSocket(m_context, ZMQ_DEALER);
    m_socket.setOption(ZMQ_IMMEDIATE, 1); // no queue before the link stands: the hello must be the first message
    m_socket.setOption(ZMQ_SNDHWM, 1024);
    m_socket.setOption(ZMQ_RECONNECT_IVL, 100);
    m_socket.setOption(ZMQ_RECONNECT_IVL_MAX, 1000);
    m_monitor.emplace(m_context, m_socket);
    m_connectedTo = m_endpoint;
    m_giveUp = now + 5s;
    if (auto connected = m_socket.connect(m_endpoint); !connected)
        m_problem = connected.error().text();
    else
        m_problem = m_endpoint + ": no daemon answers";
}

SendResult TrainerConnection::send(FrameKind kind, std::string_view payload) {
    if (!open())
        return SendResult::NoPeer;
    const char letter = static_cast<char>(kind);
    return m_socket.send({kLinkTag, {&letter, 1}, payload});
}

bool TrainerConnection::receive(std::vector<std::string>& frames) {
    return m_socket.handle() != nullptr && m_socket.receive(frames);
}

void TrainerConnection::setLinger(int ms) {
    if (m_socket.handle() != nullptr)
        m_socket.setOption(ZMQ_LINGER, ms);
}

} // namespace telehelm::ipc
