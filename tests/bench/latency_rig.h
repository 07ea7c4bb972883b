// SPDX-License-Identifier: Apache-2.0
// What the latency benchmarks share: a real telehelmd in a state folder of its own, and a trainer that emits through the real link at
// a set pace instead of training. The daemon launches the benchmark itself as that trainer. Errors are exceptions, so that the daemon
// is ended on the way out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "telehelm/ipc/control_api.h"

namespace telehelm::bench {

inline constexpr std::size_t kSeriesPerStep = 7;

[[noreturn]] void give(const std::string& why);
[[nodiscard]] double percentile(const std::vector<double>& sorted, double share);

/// telehelmd on free ports; ended and cleaned up with the object.
class DaemonRig {
public:
    /// Its trainers will emit `steps` steps at this pace.
    DaemonRig(std::int64_t steps, double perSecond);
    ~DaemonRig();
    DaemonRig(const DaemonRig&) = delete;
    DaemonRig& operator=(const DaemonRig&) = delete;
    [[nodiscard]] const std::string& control() const { return m_control; } // HOST:PORT
    /// A config that the daemon accepts, with a corpus that is a manifest alone: nothing is trained here.
    [[nodiscard]] ipc::StartRequest request() const;

private:
    void launch(const std::filesystem::path& program);
    void end();
    std::filesystem::path m_state;
    std::string m_control;
    pid_t m_pid = -1;
};

/// Whether the daemon has started this program as its trainer, and then that part: emits and ends; an exit code.
[[nodiscard]] bool isTrainer(const std::vector<std::string>& words);
[[nodiscard]] int train(const std::vector<std::string>& words);

} // namespace telehelm::bench
