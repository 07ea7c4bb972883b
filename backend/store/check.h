// SPDX-License-Identifier: Apache-2.0
// `telehelmd check`: is every point of the store there, and does every summary say what its points say?
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "telehelm/ipc/result.h"

namespace telehelm::store {

/// Something that is not as it should be.
struct Damage {
    std::string run;
    std::uint32_t attempt = 0;
    std::string series;           // empty: not of one series
    int level = -1;               // -1: not a chunk
    std::uint64_t chunk = 0;
    std::uint64_t pointsLost = 0; // 0: made again from what is whole
    std::int64_t firstStep = 0, lastStep = -1; // of the lost points; first > last: not known
    std::string what;
    bool isMended = false;        // by this check; lost points are mended when they are noted as known
    [[nodiscard]] std::string text() const; // one line
};

struct CheckOptions {
    bool repair = false;                           // needs the store for itself
    std::function<void(const Damage&)> found;      // at once, in the order of the store
    std::function<void(std::uint64_t chunks, std::uint64_t of)> progress; // now and then
};

struct CheckReport {
    std::uint64_t runs = 0, attempts = 0, series = 0, chunks = 0, points = 0;
    std::uint64_t damages = 0, mended = 0, pointsLost = 0;
    std::uint64_t knownLosses = 0, knownPointsLost = 0; // noted by earlier repairs
};

/// Without `repair` it only reads, and may run beside a daemon. An Error when there is nothing that could be checked.
[[nodiscard]] Result<CheckReport> checkStore(const std::filesystem::path& file, const CheckOptions& options);

} // namespace telehelm::store
