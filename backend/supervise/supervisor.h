// SPDX-License-Identifier: Apache-2.0
// Starts jobs, finds them again after a restart of the daemon, and tells when one has ended.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "supervise/job_command.h"
#include "supervise/process.h"

namespace telehelm::supervise {

/// How a job ended.
struct JobExit {
    ipc::AttemptKey key;
    std::optional<int> exitCode; // neither: it was adopted, and nobody but init saw how it ended
    std::optional<int> signal;
    std::string lastLogLines;
    /// "exit code 3", "killed by signal 9 (Killed)", "ended while the daemon was away".
    [[nodiscard]] std::string text() const;
};

/// Any thread.
class Supervisor {
public:
    /// `onExit` is called on the supervisor's own thread, once per job. It may not destroy the supervisor.
    Supervisor(std::filesystem::path rankProgram, std::function<void(JobExit)> onExit);
    ~Supervisor(); // jobs go on
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;

    /// Checks what launch() would need without starting anything.
    [[nodiscard]] Result<void> canLaunch(const JobSpec& spec) const;
    Result<ProcessId> launch(const JobSpec& spec);
    /// Takes a job of an earlier daemon under watch; false when it does not run any more.
    bool adopt(const ipc::AttemptKey& key, const std::filesystem::path& attemptDir);

    [[nodiscard]] bool isRunning(const ipc::AttemptKey& key) const;
    [[nodiscard]] std::optional<ProcessId> processOf(const ipc::AttemptKey& key) const { return find(key); }
    /// SIGTERM to the ranks: they save and exit. The launcher is spared, it would kill them a second later.
    void terminate(const ipc::AttemptKey& key);
    /// SIGKILL to every process of the job.
    void kill(const ipc::AttemptKey& key);
    /// True when it is gone within the time.
    bool waitUntilGone(const ipc::AttemptKey& key, int timeoutMs);

private:
    struct Job {
        ProcessId process;
        std::filesystem::path logFile;
        bool isChild = false;
    };
    void run();
    static std::optional<JobExit> look(const ipc::AttemptKey& key, const Job& job);
    [[nodiscard]] std::optional<ProcessId> find(const ipc::AttemptKey& key) const;

    // constant after construction
    const std::filesystem::path m_rankProgram;
    const std::function<void(JobExit)> m_onExit;

    // guarded by m_mutex
    mutable std::mutex m_mutex;
    std::condition_variable m_changed;
    std::map<ipc::AttemptKey, Job> m_jobs;
    bool m_stopping = false;

    std::thread m_thread; // last
};

} // namespace telehelm::supervise
