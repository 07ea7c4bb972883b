// SPDX-License-Identifier: Apache-2.0
#include "daemon/fidelity_book.h"

#include <algorithm>

namespace telehelm::daemon {
namespace {

constexpr std::int64_t kForgetAfterUs = 30'000'000; // clients report every few seconds
constexpr std::size_t kMostClients = 1000;
constexpr std::size_t kLongestText = 200;

} // namespace

void FidelityBook::recovered(const ipc::AttemptKey& key, std::uint64_t points) {
    const std::lock_guard lock(m_mutex);
    m_runs[key.run].attempts[key.attempt].acked = points;
}

void FidelityBook::stored(const ipc::TelemetryBatch& batch, std::uint64_t points) {
    const std::lock_guard lock(m_mutex);
    Run& run = m_runs[batch.key.run];
    run.storedSinceStart += points;
    Attempt& attempt = run.attempts[batch.key.attempt];
    if (batch.sequence <= attempt.ackedNumber)
        attempt.acked += points;
    else
        attempt.waiting[batch.sequence] = points;
    for (const ipc::SeriesBlock& block : batch.series)
        for (const ipc::Point& point : block.points)
            run.newestUs = std::max(run.newestUs, point.wallUs);
}

void FidelityBook::acked(const ipc::AttemptKey& key, std::uint64_t sequence) {
    const std::lock_guard lock(m_mutex);
    Attempt& attempt = m_runs[key.run].attempts[key.attempt];
    attempt.ackedNumber = std::max(attempt.ackedNumber, sequence);
    while (!attempt.waiting.empty() && attempt.waiting.begin()->first <= attempt.ackedNumber) {
        attempt.acked += attempt.waiting.begin()->second;
        attempt.waiting.erase(attempt.waiting.begin());
    }
}

void FidelityBook::forget(const std::string& run) {
    const std::lock_guard lock(m_mutex);
    if (const auto found = m_runs.find(run); found != m_runs.end())
        found->second = {.attempts = {}, .storedSinceStart = found->second.storedSinceStart, .newestUs = 0};
}

void FidelityBook::storeTrouble(const std::optional<Error>& trouble) {
    const std::lock_guard lock(m_mutex);
    m_trouble = trouble ? trouble->text() : std::string();
}

Result<void> FidelityBook::report(ipc::ClientCounters client, std::int64_t nowUs) {
    if (client.id.empty() || std::max({client.id.size(), client.program.size(), client.host.size(), client.user.size()}) > kLongestText)
        return fail(ErrorCode::InvalidArgument, "a client's report needs an id, and none of its texts may be longer than 200 bytes", "telehelmd");
    const std::lock_guard lock(m_mutex);
    std::erase_if(m_clients, [&](const auto& known) { return known.second.reportedUs < nowUs - kForgetAfterUs; });
    if (m_clients.size() >= kMostClients && !m_clients.contains(client.id))
        return fail(ErrorCode::ResourceExhausted, "this daemon keeps the counters of 1,000 clients at most", "telehelmd");
    client.reportedUs = nowUs;
    m_clients[client.id] = std::move(client);
    return {};
}

void FidelityBook::fill(ipc::RunCounters& run) const {
    const std::lock_guard lock(m_mutex);
    const auto found = m_runs.find(run.run);
    if (found == m_runs.end())
        return;
    run.storedSinceStart = found->second.storedSinceStart;
    run.newestUs = found->second.newestUs;
    run.acked = 0;
    for (const auto& [number, attempt] : found->second.attempts)
        run.acked += attempt.acked;
}

std::vector<ipc::ClientCounters> FidelityBook::clients(std::int64_t nowUs) const {
    const std::lock_guard lock(m_mutex);
    std::vector<ipc::ClientCounters> all;
    for (const auto& [id, client] : m_clients)
        if (client.reportedUs >= nowUs - kForgetAfterUs)
            all.push_back(client);
    return all;
}

std::string FidelityBook::storeTrouble() const {
    const std::lock_guard lock(m_mutex);
    return m_trouble;
}

} // namespace telehelm::daemon
