// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace telehelm::rank {

/// What the command line says.
struct RankOptions {
    std::filesystem::path config;
    std::string run; // "": the config's name
    std::uint32_t attempt = 1;
    std::filesystem::path runDir;        // "": <state>/runs/<run>/attempt-<n>
    std::filesystem::path checkpointDir; // "": runDir/../checkpoints
    std::filesystem::path linkFile;      // "": no daemon
    bool offline = false;
    std::string devices;    // reserved for CUDA: "0,1"
    int threads = 0;        // of one rank; 0: the cores divided among the ranks here
    std::int64_t steps = 0; // 0: as the config says
    std::string logLevel = "info";
    std::filesystem::path exportHf, importHf; // at most one is set: convert instead of train
    std::filesystem::path checkpoint;         // to export; "": the newest sound one
};

/// The options, or the exit code with which the program should end (--help: 0, wrong use: 2); messages are printed.
struct ParsedOptions {
    std::optional<RankOptions> options;
    int exitCode = 0;
};
[[nodiscard]] ParsedOptions parseOptions(int argc, char** argv, bool speaks);

} // namespace telehelm::rank
