// SPDX-License-Identifier: Apache-2.0
// The bytes of a spool file, for those who write and those who only read it (ipc/README.md).
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <unistd.h>

namespace telehelm::ipc::spool {

// Head: magic (8) | acked (u64) | CRC-32 of "run/attempt" (u32) | CRC-32 of the 20 bytes before (u32).
// Record: payload bytes (u32) | CRC-32 of the rest (u32) | sequence (u64) | points (u32) | payload. All little endian.
inline constexpr std::string_view kMagic = "THSPOOL1";
inline constexpr std::int64_t kHeadBytes = 24;
inline constexpr std::int64_t kRecordHeadBytes = 20;
inline constexpr std::uint32_t kLargestPayload = 1u << 30;

template <typename T>
void put(std::string& bytes, T value) {
    for (std::size_t i = 0; i < sizeof value; ++i)
        bytes += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
}

template <typename T>
T get(std::string_view bytes, std::size_t at) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    return static_cast<T>(value);
}

/// False also where the file has fewer.
inline bool readAll(int fd, std::string& bytes, std::size_t count, std::int64_t offset) {
    bytes.resize(count);
    std::size_t done = 0;
    while (done < count) {
        const ssize_t n = pread(fd, bytes.data() + done, count - done, offset + static_cast<std::int64_t>(done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += static_cast<std::size_t>(n);
    }
    return true;
}

} // namespace telehelm::ipc::spool
