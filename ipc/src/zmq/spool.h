// SPDX-License-Identifier: Apache-2.0
// Batches that no daemon has acknowledged yet, in a file that outlives the trainer. Byte format: ipc/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "telehelm/ipc/result.h"
#include "telehelm/ipc/types.h"

namespace telehelm::ipc {

struct SpoolRecord {
    std::uint64_t sequence = 0;
    std::uint32_t points = 0;
    std::int64_t offset = 0; // of the record in the file
    std::uint32_t bytes = 0; // of the payload
};

/// One thread. Append-only until everything in it is acknowledged; then emptied.
class Spool {
public:
    Spool() = default;
    ~Spool();
    Spool(const Spool&) = delete;
    Spool& operator=(const Spool&) = delete;

    /// Opens or creates. A cut-off or damaged tail is dropped; a file of another attempt or with a damaged head is put
    /// aside under another name, never overwritten.
    Result<void> open(const std::filesystem::path& file, const AttemptKey& key);
    [[nodiscard]] const std::vector<SpoolRecord>& found() const { return m_found; } // when opened, ascending
    [[nodiscard]] std::uint64_t acked() const { return m_acked; }
    [[nodiscard]] bool empty() const;

    Result<SpoolRecord> append(std::uint64_t sequence, std::uint32_t points, std::string_view payload);
    [[nodiscard]] Result<std::string> read(const SpoolRecord& record) const;
    /// Everything up to `acked` is safe elsewhere: the file shrinks to its head.
    Result<void> clear(std::uint64_t acked);
    Result<void> sync();

private:
    Result<void> scan(std::int64_t fileBytes);
    Result<void> writeHead();
    [[nodiscard]] bool readHead();
    [[nodiscard]] Error problem(const std::string& what) const;

    std::filesystem::path m_file;
    std::uint32_t m_keyCheck = 0;
    int m_fd = -1;
    std::int64_t m_end = 0;
    std::uint64_t m_acked = 0;
    std::vector<SpoolRecord> m_found;
};

/// CRC-32 as in zlib and PNG, so that a spool can be read with any language's standard library.
[[nodiscard]] std::uint32_t crc32(std::string_view bytes);

} // namespace telehelm::ipc
