// SPDX-License-Identifier: Apache-2.0
#include "daemon/open_metrics.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>
#include <vector>

namespace telehelm::daemon {
namespace {

using Labels = std::vector<std::pair<const char*, std::string>>;

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\' || c == '"')
            out += '\\';
        if (c == '\n')
            out += "\\n";
        else
            out += c;
    }
    return out;
}

std::string numberText(double value) {
    char text[64];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

class Writer {
public:
    /// A unit is the last word of the name, as the format wants it; empty: none.
    void family(const std::string& name, const char* type, const char* unit, const char* help) {
        m_name = name;
        m_suffix = std::string(type) == "counter" ? "_total" : std::string(type) == "info" ? "_info" : "";
        m_text += "# TYPE " + name + " " + type + "\n";
        if (*unit != '\0')
            m_text += "# UNIT " + name + " " + unit + "\n";
        m_text += "# HELP " + name + " " + help + "\n";
    }
    void sample(const Labels& labels, const std::string& value) {
        m_text += m_name + m_suffix;
        for (std::size_t i = 0; i < labels.size(); ++i)
            m_text += (i == 0 ? "{" : ",") + std::string(labels[i].first) + "=\"" + escaped(labels[i].second) + "\"";
        m_text += (labels.empty() ? " " : "} ") + value + "\n";
    }
    void sample(const Labels& labels, std::uint64_t value) { sample(labels, std::to_string(value)); }
    [[nodiscard]] std::string take() { return std::move(m_text) + "# EOF\n"; }

private:
    std::string m_text, m_name, m_suffix;
};

std::string ageText(std::int64_t thenUs, std::int64_t nowUs) {
    return numberText(static_cast<double>(std::max<std::int64_t>(0, nowUs - thenUs)) / 1e6);
}

void writeDaemon(Writer& out, const ipc::DaemonStatus& s) {
    out.family("telehelm_build", "info", "", "The program and the protocol that it speaks.");
    out.sample({{"program", s.daemon.program}, {"protocol", std::to_string(ipc::kProtocolVersion)}}, 1);
    out.family("telehelm_start_time_seconds", "gauge", "seconds", "When this daemon started, seconds since 1970.");
    out.sample({}, numberText(static_cast<double>(s.daemon.startedUs) / 1e6));
    out.family("telehelm_resident_memory_bytes", "gauge", "bytes", "Memory of the daemon.");
    out.sample({}, std::to_string(s.residentBytes));
    out.family("telehelm_store_bytes", "gauge", "bytes", "Size of the store on disk.");
    out.sample({}, std::to_string(s.storeBytes));
    out.family("telehelm_store_refusing", "gauge", "", "1 while the store takes no telemetry.");
    out.sample({}, s.storeTrouble.empty() ? 0 : 1);
    out.family("telehelm_live_subscriptions", "gauge", "", "Different subscriptions on the live stream.");
    out.sample({}, s.subscriptions);
    out.family("telehelm_live_messages", "counter", "", "Messages published on the live stream.");
    out.sample({}, s.messagesPublished);
    out.family("telehelm_bad_frames", "counter", "", "Messages from trainers that could not be understood.");
    out.sample({}, s.badFrames);
}

void writeRuns(Writer& out, const ipc::DaemonStatus& s) {
    using Run = ipc::RunCounters;
    const auto each = [&](const char* name, const char* type, std::uint64_t Run::*counter, const char* help) {
        out.family(std::string("telehelm_run_") + name + "_points", type, "points", help);
        for (const Run& run : s.runs)
            out.sample({{"run", run.run}}, run.*counter);
    };
    each("emitted", "counter", &Run::emitted, "Points that the run's trainers have emitted.");
    each("acked", "counter", &Run::acked, "Points that were acknowledged to the trainers.");
    each("stored", "counter", &Run::stored, "Points in the store.");
    each("stored_since_start", "counter", &Run::storedSinceStart, "Points stored since this daemon started.");
    each("published", "counter", &Run::published, "Points published since this daemon started.");
    each("lost", "gauge", &Run::lost, "Points emitted by attempts that have ended and never stored.");
    out.family("telehelm_run_newest_point_age_seconds", "gauge", "seconds", "Time since the run's newest point was measured.");
    for (const Run& run : s.runs)
        if (run.newestUs > 0)
            out.sample({{"run", run.run}}, ageText(run.newestUs, s.nowUs));
}

void writeClients(Writer& out, const ipc::DaemonStatus& s) {
    using Client = ipc::ClientCounters;
    const auto labels = [](const Client& client) {
        return Labels{{"client", client.id}, {"program", client.program}, {"host", client.host}, {"user", client.user}};
    };
    const auto each = [&](const char* name, const char* type, std::uint64_t Client::*counter, const char* unit, const char* help) {
        out.family(std::string("telehelm_client_") + name, type, unit, help);
        for (const Client& client : s.clients)
            out.sample(labels(client), client.*counter);
    };
    each("received_points", "counter", &Client::received, "points", "Points that the client received over the live stream.");
    each("missed_points", "counter", &Client::missed, "points", "Points published that the client did not receive.");
    each("repaired_points", "counter", &Client::repaired, "points", "Missed points that the client fetched from history.");
    each("lost_points", "gauge", &Client::lost, "points", "Missed points that history did not have either.");
    each("gaps", "counter", &Client::gaps, "", "Times that the client missed news.");
    out.family("telehelm_client_newest_point_age_seconds", "gauge", "seconds", "Time since the newest point that the client has was emitted.");
    for (const Client& client : s.clients)
        if (client.newestUs > 0)
            out.sample(labels(client), ageText(client.newestUs, s.nowUs));
}

} // namespace

std::string openMetrics(const ipc::DaemonStatus& status) {
    Writer out;
    writeDaemon(out, status);
    writeRuns(out, status);
    writeClients(out, status);
    return out.take();
}

} // namespace telehelm::daemon
