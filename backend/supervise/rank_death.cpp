// SPDX-License-Identifier: Apache-2.0
#include "supervise/rank_death.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <utility>

namespace telehelm::supervise {
namespace {

constexpr std::size_t kOwnLines = 4;

// Lines that name the rank, without mpirun's.
std::string ownLinesOf(const std::string& log, int rank) {
    const std::regex named("(^|[^a-z])rank " + std::to_string(rank) + "([^0-9]|$)");
    std::vector<std::string> lines;
    std::istringstream text(log);
    for (std::string line; std::getline(text, line);)
        if (line.find("mpirun") == std::string::npos && line.find("MPI_") == std::string::npos && std::regex_search(line, named))
            lines.push_back(line);
    std::string out;
    for (std::size_t i = lines.size() > kOwnLines ? lines.size() - kOwnLines : 0; i < lines.size(); ++i)
        out += (out.empty() ? "" : "\n") + lines[i];
    return out;
}

std::string word(char state) {
    return state == 'R' ? "running" : state == 'S' ? "sleeping" : state == 'D' ? "waiting for a device" : state == 'T' ? "stopped" : state == 'Z' ? "dead" : std::string(1, state);
}

// The rank that Open MPI gave a process; -1: it is none.
int rankOf(const std::filesystem::path& process) {
    std::ifstream file(process / "environ", std::ios::binary);
    const std::string prefix = "OMPI_COMM_WORLD_RANK=";
    for (std::string entry; std::getline(file, entry, '\0');)
        if (entry.starts_with(prefix))
            return std::stoi(entry.substr(prefix.size()));
    return -1;
}

} // namespace

std::optional<RankDeath> whoDied(const std::string& log) {
    RankDeath death;
    std::smatch found;
    static const std::regex signalled(R"(process rank (\d+) with PID \d+ on node \S+ exited on\s+(signal \d+ \([^)]*\)))");
    static const std::regex exited(R"(Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+))");
    static const std::regex aborted(R"(MPI_ABORT was invoked on rank (\d+) [^\n]*\n?\s*with errorcode (\d+))");
    if (std::regex_search(log, found, signalled))
        death.why = found[2];
    else if (std::regex_search(log, found, aborted) || std::regex_search(log, found, exited))
        death.why = "exit code " + found[2].str();
    else
        return std::nullopt;
    death.rank = std::stoi(found[1]);
    death.ownLines = ownLinesOf(log, death.rank);
    return death;
}

std::string RankLook::text() const {
    std::string text = "pid " + std::to_string(pid) + ", " + word(state);
    if (!place)
        return text;
    text += ": ";
    if (place->phase == ipc::RankPhase::Between)
        text += "after step " + std::to_string(place->step);
    else
        text += (place->step > 0 ? "step " + std::to_string(place->step) + ", " : "") + ipc::name(place->phase);
    return text + (place->isTalking ? ", waiting for other ranks" : "");
}

std::map<int, RankLook> lookAtRanks(const ProcessId& leader, const std::filesystem::path& attemptDir) {
    std::map<int, RankLook> ranks;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
        const std::string name = entry.path().filename();
        pid_t pid = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size())
            continue;
        std::ifstream file(entry.path() / "stat");
        std::string stat;
        std::getline(file, stat);
        const auto nameEnd = stat.rfind(')');
        if (nameEnd == std::string::npos)
            continue;
        std::istringstream fields(stat.substr(nameEnd + 1));
        char state = 0;
        pid_t parent = 0, group = 0, session = 0;
        fields >> state >> parent >> group >> session;
        if (session != leader.pid)
            continue;
        if (const int rank = leader.isLauncher ? rankOf(entry.path()) : pid == leader.pid ? 0 : -1; rank >= 0)
            ranks[rank] = {std::nullopt, pid, state};
    }
    const auto places = ipc::readRankPlaces(attemptDir / ipc::kRankPageFile);
    for (auto& [rank, look] : ranks)
        if (static_cast<std::size_t>(rank) < places.size())
            look.place = places[static_cast<std::size_t>(rank)];
    return ranks;
}

std::vector<int> laggards(const std::map<int, RankLook>& ranks) {
    std::vector<int> stopped, behind;
    std::pair<std::int64_t, ipc::RankPhase> earliest;
    for (const auto& [rank, look] : ranks) {
        if (look.state == 'T')
            stopped.push_back(rank);
        if (!look.place || look.place->isTalking)
            continue;
        const std::pair here(look.place->step, look.place->phase);
        if (behind.empty() || here < earliest)
            behind.clear();
        if (behind.empty() || here == earliest) {
            earliest = here;
            behind.push_back(rank);
        }
    }
    return stopped.empty() ? behind : stopped;
}

} // namespace telehelm::supervise
