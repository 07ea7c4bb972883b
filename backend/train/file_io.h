// SPDX-License-Identifier: Apache-2.0
// Files that survive a crash: written, fsynced, and only then seen under their name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "telehelm/ipc/result.h"

namespace telehelm::train {

/// 16 hex digits.
[[nodiscard]] std::string hexHash(std::uint64_t hash);
[[nodiscard]] std::uint64_t xxh3(std::span<const std::byte> bytes);
/// Of a whole file, read in pieces.
[[nodiscard]] Result<std::uint64_t> xxh3OfFile(const std::filesystem::path& path);

/// A new file that is written in order; close() makes it durable.
class DurableFile {
public:
    [[nodiscard]] static Result<DurableFile> create(const std::filesystem::path& path);
    DurableFile(DurableFile&& other) noexcept;
    DurableFile& operator=(DurableFile&& other) noexcept;
    ~DurableFile();
    [[nodiscard]] Result<void> write(std::span<const std::byte> bytes);
    [[nodiscard]] Result<void> close();
    [[nodiscard]] std::int64_t bytes() const { return m_bytes; }

private:
    DurableFile(int descriptor, std::filesystem::path path) : m_descriptor(descriptor), m_path(std::move(path)) {}
    int m_descriptor;
    std::filesystem::path m_path;
    std::int64_t m_bytes = 0;
};

/// Written beside its name, fsynced, renamed.
[[nodiscard]] Result<void> writeWhole(const std::filesystem::path& path, const std::string& text);
[[nodiscard]] Result<std::string> readWhole(const std::filesystem::path& path);
[[nodiscard]] Result<void> syncFolder(const std::filesystem::path& folder);

} // namespace telehelm::train
