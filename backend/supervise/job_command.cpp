// SPDX-License-Identifier: Apache-2.0
#include "supervise/job_command.h"

#include <cstdlib>
#include <sstream>

#include <unistd.h>

namespace telehelm::supervise {

namespace fs = std::filesystem;

fs::path findProgram(const std::string& name) {
    std::error_code error;
    const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / name;
    if (access(beside.c_str(), X_OK) == 0)
        return beside;
    const char* path = std::getenv("PATH");
    std::istringstream folders(path ? path : "/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');) {
        const fs::path candidate = fs::path(folder.empty() ? "." : folder) / name;
        if (access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate, error))
            return candidate;
    }
    return {};
}

Result<std::vector<std::string>> jobCommand(const JobSpec& spec, const fs::path& rankProgram) {
    const fs::path trainer = rankProgram.empty() ? findProgram("telehelm-rank") : rankProgram;
    if (trainer.empty())
        return fail(ErrorCode::NotFound, "the trainer telehelm-rank is neither beside this program nor on the PATH; build it (./dev build)",
                    "launch");
    std::vector<std::string> command;
    if (spec.ranks > 1) {
        const fs::path mpirun = findProgram("mpirun");
        if (mpirun.empty())
            return fail(ErrorCode::NotFound,
                        "mpirun is not installed, but the run asks for " + std::to_string(spec.ranks) +
                            " ranks: install the package openmpi-bin, or set [parallel] data = 1",
                        "launch");
        command = {mpirun.string(), "-np", std::to_string(spec.ranks), "--oversubscribe", "--bind-to", "none"};
    }
    for (const std::string& word : {trainer.string(), std::string("--config"), (spec.attemptDir / "config.toml").string(),
                                    std::string("--run"), spec.key.run, std::string("--attempt"), std::to_string(spec.key.attempt),
                                    std::string("--run-dir"), spec.attemptDir.string(), std::string("--checkpoint-dir"),
                                    spec.checkpointDir.string(), std::string("--link-file"), spec.linkFile.string()})
        command.push_back(word);
    return command;
}

} // namespace telehelm::supervise
