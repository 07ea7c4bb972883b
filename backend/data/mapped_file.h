// SPDX-License-Identifier: Apache-2.0
// A whole file, mapped read-only.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "telehelm/ipc/result.h"

namespace telehelm::data {

/// Move-only owner of a mapping; an empty file maps to an empty span. Any thread may read.
class MappedFile {
public:
    [[nodiscard]] static Result<MappedFile> open(const std::filesystem::path& path);
    MappedFile(MappedFile&& other) noexcept : m_bytes(std::exchange(other.m_bytes, {})) {}
    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(m_bytes, other.m_bytes);
        return *this;
    }
    ~MappedFile();

    [[nodiscard]] std::span<const std::byte> bytes() const { return m_bytes; }

private:
    explicit MappedFile(std::span<const std::byte> bytes) : m_bytes(bytes) {}
    std::span<const std::byte> m_bytes;
};

} // namespace telehelm::data
