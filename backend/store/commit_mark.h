// SPDX-License-Identifier: Apache-2.0
// A second witness beside the database: how many transactions were durable. A write-ahead log that was cut off loses whole
// transactions in silence; the mark knows better.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace telehelm::store {

/// `<database>-mark`: 8 bytes "THMARK01", the count, XXH64 of both (README.md). One thread at a time.
class CommitMark {
public:
    explicit CommitMark(const std::filesystem::path& database);
    ~CommitMark();
    CommitMark(const CommitMark&) = delete;
    CommitMark& operator=(const CommitMark&) = delete;

    /// Nothing when there is none that can be read.
    [[nodiscard]] static std::optional<std::uint64_t> read(const std::filesystem::path& database);
    /// After a commit. It is only a witness: that it cannot be written is no reason to refuse points.
    void write(std::uint64_t commits);

private:
    const std::filesystem::path m_file;
    int m_fd = -1;
};

} // namespace telehelm::store
