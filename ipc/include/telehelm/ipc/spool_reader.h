// SPDX-License-Identifier: Apache-2.0
// A spool as others find it: read, and never written to, so that the trainer's machine may still own it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

/// A batch that lies whole in the file.
struct SpooledBatch {
    std::uint64_t sequence = 0;
    std::uint32_t points = 0;
    std::uint32_t bytes = 0;  // of its payload
    std::int64_t offset = 0;
};

/// One thread. Behind a damaged stretch the next whole batch is looked for: only what the stretch held is missing.
class SpoolReader {
public:
    /// Goes through the whole file once; `goesOn` is called with the bytes done every now and then and stops it by false (Cancelled).
    static Result<SpoolReader> open(const std::filesystem::path& file, const std::function<bool(std::uint64_t)>& goesOn);
    SpoolReader(SpoolReader&& other) noexcept;
    SpoolReader& operator=(SpoolReader&& other) noexcept;
    SpoolReader(const SpoolReader&) = delete;
    SpoolReader& operator=(const SpoolReader&) = delete;
    ~SpoolReader();

    [[nodiscard]] const std::vector<SpooledBatch>& batches() const { return m_batches; } // by number, each once
    [[nodiscard]] std::uint64_t acked() const { return m_acked; } // batches up to this one were acknowledged by a daemon; they may be gone
    /// What of the file is not sound, a sentence each.
    [[nodiscard]] const std::vector<std::string>& damage() const { return m_damage; }
    [[nodiscard]] std::uint64_t bytes() const { return static_cast<std::uint64_t>(m_bytes); } // of the file, when opened
    [[nodiscard]] const std::filesystem::path& file() const { return m_file; }
    [[nodiscard]] Result<TelemetryBatch> read(const SpooledBatch& batch) const;

private:
    SpoolReader(std::filesystem::path file, int fd, std::int64_t bytes) : m_file(std::move(file)), m_fd(fd), m_bytes(bytes) {}
    Result<void> readHead();
    Result<void> scan(const std::function<bool(std::uint64_t)>& goesOn);
    [[nodiscard]] bool takeRecord(std::int64_t offset, std::string& buffer);
    [[nodiscard]] std::int64_t nextRecord(std::int64_t from, std::string& buffer) const;
    void sortBatches();

    std::filesystem::path m_file;
    int m_fd = -1;
    std::int64_t m_bytes = 0;
    std::uint64_t m_acked = 0;
    std::vector<SpooledBatch> m_batches;
    std::vector<std::string> m_damage;
};

} // namespace telehelm::ipc
