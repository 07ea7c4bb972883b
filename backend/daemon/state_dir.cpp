// SPDX-License-Identifier: Apache-2.0
#include "daemon/state_dir.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "daemon/version.h"

namespace telehelm::daemon {

namespace fs = std::filesystem;

fs::path defaultStateDir() {
    if (const char* state = std::getenv("XDG_STATE_HOME"); state && *state)
        return fs::path(state) / "telehelm";
    const char* home = std::getenv("HOME");
    return fs::path(home && *home ? home : "/") / ".local/state/telehelm";
}

Result<void> writeFileAtomically(const fs::path& file, const std::string& text) {
    const fs::path temporary = file.string() + ".tmp-" + std::to_string(getpid());
    const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0;
    std::size_t done = 0;
    while (ok && done < text.size()) {
        const ssize_t n = write(fd, text.data() + done, text.size() - done);
        ok = n > 0 || (n < 0 && errno == EINTR);
        done += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    ok = ok && fsync(fd) == 0;
    int problem = ok ? 0 : errno;
    if (fd >= 0)
        close(fd);
    if (ok && rename(temporary.c_str(), file.c_str()) != 0)
        problem = errno;
    if (problem == 0)
        return {};
    unlink(temporary.c_str());
    return fail(problem == ENOSPC ? ErrorCode::ResourceExhausted : ErrorCode::FailedPrecondition,
                std::string("cannot be written: ") + std::strerror(problem), file.string());
}

Result<StateDir> StateDir::lock(const fs::path& dir) {
    std::error_code error;
    fs::create_directories(dir, error);
    if (error)
        return fail(ErrorCode::FailedPrecondition, "the state folder cannot be made: " + error.message() + "; choose another with --state-dir",
                    dir.string());
    const fs::path file = dir / "lock";
    const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail(ErrorCode::FailedPrecondition,
                    std::string("the state folder cannot be written: ") + std::strerror(errno) + "; choose another with --state-dir, or look at what it holds with --read-only",
                    dir.string());
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        std::ifstream in(file);
        std::string pid;
        in >> pid;
        close(fd);
        return fail(ErrorCode::AlreadyExists,
                    "another telehelmd (pid " + (pid.empty() ? "unknown" : pid) + ") serves this state folder; use that one, stop it "
                    "(telehelmctl daemon stop), or choose another folder with --state-dir",
                    dir.string());
    }
    const std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
        const int problem = errno;
        close(fd);
        return fail(problem == ENOSPC ? ErrorCode::ResourceExhausted : ErrorCode::FailedPrecondition,
                    std::string("the state folder cannot be written: ") + std::strerror(problem) + "; free some space or choose another with --state-dir",
                    dir.string());
    }
    return StateDir(dir, fd);
}

StateDir::~StateDir() {
    if (m_fd >= 0)
        close(m_fd);
}

Result<void> writeDaemonCard(const fs::path& dir, const DaemonCard& card) {
    const nlohmann::json json = {{"pid", getpid()},     {"control", card.control}, {"live", card.live},
                                 {"link", card.link},   {"epoch", card.epoch},     {"version", kVersion}};
    return writeFileAtomically(dir / "daemon.json", json.dump(1) + "\n");
}

void removeDaemonCard(const fs::path& dir) {
    std::error_code error;
    fs::remove(dir / "daemon.json", error);
}

} // namespace telehelm::daemon
