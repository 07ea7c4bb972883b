// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/telemetry_worker.h"

#include <utility>

#include "telehelm/ipc/types.h"

namespace telehelm::app {
namespace {
constexpr int kReceiveTimeoutMs = 100;
constexpr auto kFirstAnswerWithin = std::chrono::milliseconds(1500);
} // namespace

TelemetryWorker::TelemetryWorker(Open open, LinkChanged linkChanged)
    : m_open(std::move(open)), m_linkChanged(std::move(linkChanged)), m_thread([this] { loop(); }) {}

TelemetryWorker::~TelemetryWorker() {
    requestStop();
    m_thread.join();
}

void TelemetryWorker::requestStop() {
    const std::lock_guard lock(m_mutex);
    m_stop = true;
    m_wake.notify_all();
}

void TelemetryWorker::connectTo(const std::string& endpoint, std::uint32_t protocol) {
    const std::lock_guard lock(m_mutex);
    m_reopen = m_reopen || endpoint != m_endpoint || protocol != m_protocol;
    m_endpoint = endpoint;
    m_protocol = protocol;
    m_wake.notify_all();
}

void TelemetryWorker::reconnectNow() {
    const std::lock_guard lock(m_mutex);
    m_tryNow = !m_endpoint.empty();
    m_wake.notify_all();
}

std::vector<ReceivedNews> TelemetryWorker::take() {
    std::deque<ReceivedNews> taken;
    {
        const std::lock_guard lock(m_mutex);
        taken.swap(m_buffer);
    }
    return {std::make_move_iterator(taken.begin()), std::make_move_iterator(taken.end())};
}

void TelemetryWorker::loop() {
    while (nextTurn()) {
        if (m_socket)
            receiveOnce();
    }
}

/// Opens the socket where it is time for that; waits while there is none. False: stop.
bool TelemetryWorker::nextTurn() {
    std::unique_lock lock(m_mutex);
    if (!m_socket)
        m_wake.wait_for(lock, std::chrono::milliseconds(kReceiveTimeoutMs), [this] { return m_stop || m_reopen || m_tryNow; });
    if (m_stop)
        return false;
    // The socket may have come back by itself since the operator asked.
    const bool tryNow = std::exchange(m_tryNow, false) && m_status.state != LinkState::Up && !(m_socket && m_socket->connected());
    if (m_reopen || tryNow || Clock::now() >= m_nextAttempt) {
        m_reopen = false;
        m_openEndpoint = m_endpoint;
        m_openProtocol = m_protocol;
        lock.unlock();
        openSocket();
    }
    return true;
}

void TelemetryWorker::openSocket() {
    m_nextAttempt = Clock::time_point::max();
    m_openedAt = Clock::now();
    m_socket.reset();
    auto opened = m_open(m_openEndpoint, m_openProtocol);
    if (!opened) {
        noteDown(QString::fromStdString(opened.error().text()));
        return;
    }
    m_socket = std::move(*opened);
    if (m_status.state == LinkState::Off || m_status.state == LinkState::Up) {
        m_status = {};
        m_status.state = LinkState::Connecting;
        m_status.sinceUs = ipc::nowUs();
        m_linkChanged(m_status);
    }
}

void TelemetryWorker::receiveOnce() {
    auto received = m_socket->receive(kReceiveTimeoutMs);
    if (received && *received) {
        const std::lock_guard lock(m_mutex);
        if (m_buffer.size() >= kCapacity)
            m_buffer.pop_front();
        m_buffer.push_back({std::move(**received), ipc::nowUs()});
    } else if (!received) {
        // An unreadable frame: its number is missing in the row, so the ledger finds the hole. Never spin on a broken socket.
        m_status.text = QString::fromStdString(received.error().text());
        std::unique_lock lock(m_mutex);
        m_wake.wait_for(lock, std::chrono::milliseconds(20), [this] { return m_stop; });
    }
    noteLink(m_socket->connected());
}

void TelemetryWorker::noteLink(bool connected) {
    if (connected) {
        if (m_status.state == LinkState::Up)
            return;
        m_status = {};
        m_status.state = LinkState::Up;
        m_status.sinceUs = ipc::nowUs();
        m_backOff.reset();
        m_nextAttempt = Clock::time_point::max();
        m_linkChanged(m_status);
        return;
    }
    if (m_status.state == LinkState::Up)
        noteDown(QStringLiteral("the connection to %1 broke").arg(QString::fromStdString(m_openEndpoint)));
    else if (m_nextAttempt == Clock::time_point::max() && Clock::now() - m_openedAt > kFirstAnswerWithin)
        noteDown(QStringLiteral("no answer from %1").arg(QString::fromStdString(m_openEndpoint)));
}

void TelemetryWorker::noteDown(const QString& why) {
    if (m_status.state != LinkState::Down) {
        m_status.state = LinkState::Down;
        m_status.sinceUs = ipc::nowUs();
        m_status.attempt = 0;
    }
    ++m_status.attempt;
    m_status.latencyMs = -1;
    m_status.text = why;
    const auto wait = m_backOff.next();
    m_nextAttempt = Clock::now() + wait;
    m_status.nextAttemptUs = ipc::nowUs() + std::chrono::microseconds(wait).count();
    m_linkChanged(m_status);
}

} // namespace telehelm::app
