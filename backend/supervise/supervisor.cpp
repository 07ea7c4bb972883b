// SPDX-License-Identifier: Apache-2.0
#include "supervise/supervisor.h"

#include <chrono>
#include <csignal>
#include <cstring>

#include <sys/wait.h>
#include <unistd.h>

namespace telehelm::supervise {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 100ms;
constexpr std::size_t kLogLines = 12;

std::vector<std::string> environmentFor(const JobSpec& spec) {
    if (spec.ranks > 1 && geteuid() == 0) // Open MPI refuses root otherwise; whoever runs the daemon as root has decided
        return {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
    return {};
}

} // namespace

std::string JobExit::text() const {
    if (exitCode)
        return "exit code " + std::to_string(*exitCode);
    if (signal)
        return "killed by signal " + std::to_string(*signal) + " (" + strsignal(*signal) + ")";
    return "ended unseen, after the daemon had been restarted";
}

Supervisor::Supervisor(std::filesystem::path rankProgram, std::function<void(JobExit)> onExit)
    : m_rankProgram(std::move(rankProgram)), m_onExit(std::move(onExit)), m_thread([this] { run(); }) {}

Supervisor::~Supervisor() {
    {
        const std::lock_guard lock(m_mutex);
        m_stopping = true;
    }
    m_changed.notify_all();
    m_thread.join();
}

Result<void> Supervisor::canLaunch(const JobSpec& spec) const {
    return jobCommand(spec, m_rankProgram).map([](const auto&) {});
}

Result<ProcessId> Supervisor::launch(const JobSpec& spec) {
    auto command = jobCommand(spec, m_rankProgram);
    if (!command)
        return tl::unexpected(command.error());
    const std::filesystem::path log = spec.attemptDir / "log.txt";
    auto process = spawn({std::move(*command), log, spec.attemptDir, environmentFor(spec)});
    if (!process)
        return process;
    process->isLauncher = spec.ranks > 1;
    if (auto written = writePidFile(spec.attemptDir / "pid", *process); !written) {
        signalSession(*process, SIGKILL, false); // a job that could not be found again must not run
        waitpid(process->pid, nullptr, 0);
        return tl::unexpected(written.error());
    }
    const std::lock_guard lock(m_mutex);
    m_jobs[spec.key] = {*process, log, true};
    return process;
}

bool Supervisor::adopt(const ipc::AttemptKey& key, const std::filesystem::path& attemptDir) {
    const auto process = readPidFile(attemptDir / "pid");
    if (!process || !isAlive(*process))
        return false;
    const std::lock_guard lock(m_mutex);
    m_jobs[key] = {*process, attemptDir / "log.txt", false};
    return true;
}

std::optional<ProcessId> Supervisor::find(const ipc::AttemptKey& key) const {
    const std::lock_guard lock(m_mutex);
    const auto found = m_jobs.find(key);
    return found == m_jobs.end() ? std::nullopt : std::optional(found->second.process);
}

bool Supervisor::isRunning(const ipc::AttemptKey& key) const { return find(key).has_value(); }

void Supervisor::terminate(const ipc::AttemptKey& key) {
    if (const auto process = find(key)) {
        if (process->isLauncher)
            signalSession(*process, SIGTERM, true);
        else
            ::kill(process->pid, SIGTERM);
    }
}

void Supervisor::kill(const ipc::AttemptKey& key) {
    if (const auto process = find(key))
        signalSession(*process, SIGKILL, false);
}

bool Supervisor::waitUntilGone(const ipc::AttemptKey& key, int timeoutMs) {
    std::unique_lock lock(m_mutex);
    return m_changed.wait_for(lock, std::chrono::milliseconds(timeoutMs), [&] { return !m_jobs.contains(key); });
}

std::optional<JobExit> Supervisor::look(const ipc::AttemptKey& key, const Job& job) {
    JobExit ended{key, std::nullopt, std::nullopt, {}};
    if (job.isChild) {
        int status = 0;
        if (waitpid(job.process.pid, &status, WNOHANG) != job.process.pid)
            return std::nullopt;
        if (WIFEXITED(status))
            ended.exitCode = WEXITSTATUS(status);
        else if (WIFSIGNALED(status))
            ended.signal = WTERMSIG(status);
    } else if (isAlive(job.process))
        return std::nullopt;
    ended.lastLogLines = lastLines(job.logFile, kLogLines);
    return ended;
}

void Supervisor::run() {
    std::unique_lock lock(m_mutex);
    while (!m_stopping) {
        std::vector<JobExit> exits;
        for (const auto& [key, job] : m_jobs)
            if (auto ended = look(key, job))
                exits.push_back(std::move(*ended));
        for (const JobExit& ended : exits)
            m_jobs.erase(ended.key);
        if (!exits.empty()) {
            lock.unlock();
            for (JobExit& ended : exits)
                m_onExit(std::move(ended));
            m_changed.notify_all();
            lock.lock();
        }
        m_changed.wait_for(lock, kLookEvery, [&] { return m_stopping; });
    }
}

} // namespace telehelm::supervise
