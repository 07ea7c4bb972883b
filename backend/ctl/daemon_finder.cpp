// SPDX-License-Identifier: Apache-2.0
#include "ctl/daemon_finder.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "telehelm/ipc/control_client.h"

namespace telehelm::ctl {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

fs::path findDaemonProgram() {
    std::error_code error;
    const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / "telehelmd";
    if (!error && access(beside.c_str(), X_OK) == 0)
        return beside;
    const char* path = std::getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (const fs::path candidate = fs::path(folder) / "telehelmd"; access(candidate.c_str(), X_OK) == 0)
            return candidate;
    return {};
}

std::string lastLine(const fs::path& file) {
    std::ifstream in(file);
    std::string last;
    for (std::string line; std::getline(in, line);)
        if (!line.empty())
            last = line;
    return last;
}

// The child's part between fork and exec: only async-signal-safe calls.
[[noreturn]] void becomeDaemon(const char* program, char* const* arguments, int log) {
    setsid();
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(program, arguments);
    _exit(127);
}

bool answers(const std::string& address) {
    return ipc::makeControlClient(address, 2000)->hello(ipc::kProtocolVersion, "telehelmctl").has_value();
}

Result<DaemonCard> waitForCard(const fs::path& stateDir, pid_t child, const fs::path& log) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (std::chrono::steady_clock::now() < until) {
        if (const auto card = readDaemonCard(stateDir); card && card->pid == child && answers(card->control))
            return *card;
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child)
            return fail(ErrorCode::Unavailable, "telehelmd ended at once: " + lastLine(log), log.string());
        std::this_thread::sleep_for(50ms);
    }
    return fail(ErrorCode::Unavailable, "telehelmd does not answer after 30 s; its log says: " + lastLine(log), log.string());
}

} // namespace

fs::path defaultStateDir() {
    if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0')
        return fs::path(state) / "telehelm";
    const char* home = std::getenv("HOME");
    return fs::path(home != nullptr && *home != '\0' ? home : "/") / ".local/state/telehelm";
}

Result<DaemonCard> readDaemonCard(const fs::path& stateDir) {
    const fs::path file = stateDir / "daemon.json";
    std::ifstream in(file);
    if (!in)
        return fail(ErrorCode::Unavailable, "no telehelmd runs here; start one with “telehelmctl daemon start”, or name one with --server",
                    stateDir.string());
    const auto json = nlohmann::json::parse(in, nullptr, false);
    if (!json.is_object() || !json.contains("control") || !json["control"].is_string())
        return fail(ErrorCode::DataLoss, "not the card of a daemon (no “control” in it); remove it and run “telehelmctl daemon start”",
                    file.string());
    return DaemonCard{json.contains("pid") && json["pid"].is_number_integer() ? json["pid"].get<int>() : 0, json["control"].get<std::string>()};
}

Result<DaemonCard> launchDaemon(const fs::path& stateDir, bool anyPort) {
    const fs::path program = findDaemonProgram();
    if (program.empty())
        return fail(ErrorCode::NotFound, "the program telehelmd is neither next to telehelmctl nor in PATH");
    std::error_code error;
    fs::create_directories(stateDir, error);
    const fs::path log = stateDir / "telehelmd.log";
    const int logFd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (logFd < 0)
        return fail(ErrorCode::FailedPrecondition, std::string("cannot be written: ") + std::strerror(errno) + "; choose another --state-dir",
                    log.string());
    std::vector<std::string> words = {program.string(), "--state-dir", stateDir.string()};
    if (anyPort)
        words.insert(words.end(), {"--control", "127.0.0.1:0", "--live", "tcp://127.0.0.1:*"});
    std::vector<char*> arguments;
    for (std::string& word : words)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0)
        becomeDaemon(program.c_str(), arguments.data(), logFd);
    close(logFd);
    if (child < 0)
        return fail(ErrorCode::ResourceExhausted, std::string("telehelmd cannot be started: ") + std::strerror(errno));
    return waitForCard(stateDir, child, log);
}

} // namespace telehelm::ctl
