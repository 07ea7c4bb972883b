// SPDX-License-Identifier: Apache-2.0
// Where each rank of a job stands: a file that all its ranks map, so that it can be read when they say nothing any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "telehelm/ipc/result.h"

namespace telehelm::ipc {

inline constexpr const char* kRankPageFile = "ranks"; // in the attempt's folder

/// In their order.
enum class RankPhase : std::uint8_t { Starting, Data, Forward, Backward, Reduce, Optimizer, Gather, Checkpoint, Between };
[[nodiscard]] const char* name(RankPhase phase); // "forward"; Between: after a step, before the next one

struct RankPlace {
    std::int64_t step = 0;
    RankPhase phase = RankPhase::Starting;
    bool isTalking = false; // in a call to other ranks, waiting for them included
    bool operator==(const RankPlace&) const = default;
};

/// One rank's line of it. A word is a store to memory: it may be said at each turn of a step. One thread.
class RankPage {
public:
    /// Makes the file or makes it longer; the rank's line begins anew.
    [[nodiscard]] static Result<RankPage> open(const std::filesystem::path& file, int rank);
    RankPage(RankPage&& other) noexcept;
    RankPage& operator=(RankPage&&) = delete;
    ~RankPage();

    void at(std::int64_t step, RankPhase phase);
    void talks(bool isTalking);

private:
    RankPage(std::byte* bytes, std::size_t size, std::size_t line) : m_bytes(bytes), m_size(size), m_line(line) {}

    std::byte* m_bytes; // null: moved from
    std::size_t m_size, m_line;
};

/// All lines, by rank; none where there is no such file.
[[nodiscard]] std::vector<RankPlace> readRankPlaces(const std::filesystem::path& file);

} // namespace telehelm::ipc
