// SPDX-License-Identifier: Apache-2.0
// What the fuzzers share. Each takes any bytes, turns them into what its subject may meet, and aborts where a promise is broken.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <unistd.h>

#include <fuzzer/FuzzedDataProvider.h>

namespace telehelm::fuzz {

/// A broken promise: libFuzzer keeps the input.
inline void require(bool holds, const char* promise) {
    if (holds)
        return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// A folder for files, made anew at each start.
inline std::filesystem::path workFolder(const char* subject) {
    const char* given = std::getenv("TELEHELM_FUZZ_FOLDER");
    const auto folder = (given != nullptr ? std::filesystem::path(given) : std::filesystem::temp_directory_path()) /
                        (std::string(subject) + "-" + std::to_string(getpid()));
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    return folder;
}

} // namespace telehelm::fuzz
