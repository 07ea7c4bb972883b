// SPDX-License-Identifier: Apache-2.0
#include "data/process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace telehelm::data {

namespace {

constexpr std::size_t kKeptOutput = 64 * 1024;

/// Ours, but with messages that can be understood by a program.
std::vector<std::string> plainEnvironment() {
    std::vector<std::string> variables = {"LC_ALL=C"};
    for (char** entry = environ; *entry != nullptr; ++entry)
        if (std::strncmp(*entry, "LC_ALL=", 7) != 0 && std::strncmp(*entry, "LANGUAGE=", 9) != 0)
            variables.emplace_back(*entry);
    return variables;
}

/// As posix_spawn wants it; it does not write to the texts.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (const auto& text : texts)
        out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
}

/// Starts the program with its output in a pipe; gives the process id, and the pipe's reading end in `from`.
int spawn(const std::vector<std::string>& command, const std::filesystem::path& cwd, int& from, pid_t& pid) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawn_file_actions_addchdir_np(&actions, cwd.c_str());
    const auto variables = plainEnvironment();
    const int error =
        ::posix_spawnp(&pid, command[0].c_str(), &actions, nullptr, pointers(command).data(), pointers(variables).data());
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0)
        ::close(ends[0]);
    from = ends[0];
    return error;
}

} // namespace

Result<ProcessResult> runProcess(const std::vector<std::string>& command, const std::filesystem::path& cwd,
                                 const std::function<bool()>& tick) {
    int from = -1;
    pid_t pid = -1;
    if (const int error = spawn(command, cwd, from, pid); error != 0)
        return fail(error == ENOENT ? ErrorCode::NotFound : ErrorCode::Unavailable,
                    std::string("cannot be started: ") + std::strerror(error), command[0]);
    ProcessResult result;
    bool cancelled = false;
    for (bool open = true; open;) {
        pollfd wait{from, POLLIN, 0};
        if (::poll(&wait, 1, 200) > 0) {
            std::array<char, 4096> buffer{};
            const auto count = ::read(from, buffer.data(), buffer.size());
            open = count > 0 || (count < 0 && errno == EINTR);
            if (count > 0)
                result.output.append(buffer.data(), static_cast<std::size_t>(count));
            if (result.output.size() > 2 * kKeptOutput)
                result.output.erase(0, result.output.size() - kKeptOutput);
        }
        if (!tick() && !cancelled) {
            cancelled = true;
            ::kill(pid, SIGTERM);
        }
    }
    ::close(from);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (cancelled)
        return fail(ErrorCode::Cancelled, "interrupted");
    result.exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

} // namespace telehelm::data
