// SPDX-License-Identifier: Apache-2.0
#include "supervise/process.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

extern char** environ;

namespace telehelm::supervise {
namespace {

namespace fs = std::filesystem;

struct Stat {
    char state = 0;
    pid_t session = 0;
    std::uint64_t startTicks = 0;
};

std::optional<Stat> readStat(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    if (!std::getline(file, line))
        return std::nullopt;
    const auto nameEnd = line.rfind(')'); // the name may hold anything
    if (nameEnd == std::string::npos)
        return std::nullopt;
    std::istringstream fields(line.substr(nameEnd + 1));
    Stat stat;
    std::string skipped;
    pid_t parent = 0, group = 0;
    fields >> stat.state >> parent >> group >> stat.session;
    for (int field = 7; field < 22; ++field)
        fields >> skipped;
    fields >> stat.startTicks;
    return fields ? std::optional(stat) : std::nullopt;
}

std::string bootId() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    file >> id;
    return id;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> all;
    for (std::string& word : words)
        all.push_back(word.data());
    all.push_back(nullptr);
    return all;
}

// Between fork and exec: only calls that are safe there.
[[noreturn]] void becomeJob(char* const* argv, char* const* environment, const char* workingDir, int log, int errorPipe) {
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP})
        signal(number, SIG_DFL);
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && dup2(null, 0) >= 0 && dup2(log, 1) >= 0 && dup2(log, 2) >= 0 && chdir(workingDir) == 0) {
        syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC: sockets and locks of ours stay ours */);
        execve(argv[0], argv, environment);
    }
    const int code = errno;
    if (write(errorPipe, &code, sizeof code) != sizeof code)
        _exit(126);
    _exit(127);
}

} // namespace

std::optional<ProcessId> identify(pid_t pid) {
    const auto stat = readStat(pid);
    if (!stat)
        return std::nullopt;
    return ProcessId{pid, stat->startTicks, bootId(), false};
}

bool isAlive(const ProcessId& process) {
    if (process.pid <= 0 || process.bootId != bootId())
        return false;
    const auto stat = readStat(process.pid);
    return stat && stat->startTicks == process.startTicks && stat->state != 'Z' && stat->state != 'X';
}

Result<ProcessId> spawn(const SpawnOptions& options) {
    const std::string what = options.command.front();
    const int log = open(options.logFile.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0)
        return fail(ErrorCode::FailedPrecondition, std::string("cannot be written: ") + std::strerror(errno), options.logFile.string());
    std::vector<std::string> command = options.command, environment;
    for (char** entry = environ; *entry; ++entry)
        environment.emplace_back(*entry);
    environment.insert(environment.end(), options.extraEnvironment.begin(), options.extraEnvironment.end());
    const std::vector<char*> argv = pointers(command), env = pointers(environment);
    int errorPipe[2];
    if (pipe2(errorPipe, O_CLOEXEC) != 0) {
        close(log);
        return fail(ErrorCode::ResourceExhausted, std::strerror(errno), "pipe");
    }
    const pid_t pid = fork();
    if (pid == 0)
        becomeJob(argv.data(), env.data(), options.workingDir.c_str(), log, errorPipe[1]);
    close(log);
    close(errorPipe[1]);
    int code = pid < 0 ? errno : 0;
    if (pid > 0 && read(errorPipe[0], &code, sizeof code) < 0)
        code = errno;
    close(errorPipe[0]);
    if (code != 0)
        return fail(ErrorCode::FailedPrecondition, std::string("cannot be started: ") + std::strerror(code), what);
    const auto process = identify(pid);
    if (!process)
        return fail(ErrorCode::Internal, "its process is gone at once", what);
    return *process;
}

void signalSession(const ProcessId& leader, int signal, bool spareLeader) {
    if (!isAlive(leader) && readStat(leader.pid))
        return; // a stranger has the pid now: its session is not ours
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
        const std::string name = entry.path().filename();
        pid_t pid = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size())
            continue;
        const auto stat = readStat(pid);
        if (stat && stat->session == leader.pid && stat->startTicks >= leader.startTicks && !(spareLeader && pid == leader.pid))
            ::kill(pid, signal);
    }
}

Result<void> writePidFile(const fs::path& file, const ProcessId& process) {
    std::ofstream out(file, std::ios::trunc);
    out << nlohmann::json{{"pid", process.pid}, {"start_ticks", process.startTicks}, {"boot_id", process.bootId},
                          {"launcher", process.isLauncher}}
               .dump()
        << "\n";
    out.close();
    if (!out)
        return fail(ErrorCode::ResourceExhausted, "cannot be written", file.string());
    return {};
}

std::optional<ProcessId> readPidFile(const fs::path& file) {
    std::ifstream in(file);
    const nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
    if (!json.is_object() || !json.contains("pid") || !json.contains("start_ticks"))
        return std::nullopt;
    return ProcessId{json.value("pid", 0), json.value("start_ticks", std::uint64_t{0}), json.value("boot_id", std::string()),
                     json.value("launcher", false)};
}

std::string lastLines(const fs::path& file, std::size_t lines) {
    constexpr std::streamoff kTail = 16 * 1024;
    std::ifstream in(file, std::ios::binary | std::ios::ate);
    if (!in)
        return {};
    const std::streamoff size = in.tellg();
    in.seekg(std::max<std::streamoff>(0, size - kTail));
    std::string text((std::istreambuf_iterator<char>(in)), {});
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    std::size_t start = text.size();
    for (std::size_t i = 0; i < lines && start != std::string::npos && start > 0; ++i)
        start = text.rfind('\n', start - 1);
    return start == std::string::npos ? text : text.substr(start == 0 ? 0 : start + 1);
}

} // namespace telehelm::supervise
