// SPDX-License-Identifier: Apache-2.0
// Varints and byte planes: the bricks of the store's BLOBs (README.md).
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace telehelm::store {

/// A BLOB that cannot be read: cut off, wrong version, checksum wrong. Caught where a query names the series.
class DamagedBlob : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[nodiscard]] constexpr std::uint64_t zigzag(std::uint64_t v) {
    return (v << 1) ^ (static_cast<std::int64_t>(v) < 0 ? ~std::uint64_t{0} : 0);
}
[[nodiscard]] constexpr std::uint64_t unzigzag(std::uint64_t v) { return (v >> 1) ^ (~(v & 1) + 1); }

constexpr std::size_t kMaxVarintBytes = 10;
/// At `to`, which must have room for it; both return where the next byte goes.
inline char* putVarint(char* to, std::uint64_t value) { // LEB128
    for (; value >= 0x80; value >>= 7)
        *to++ = static_cast<char>(value | 0x80);
    *to++ = static_cast<char>(value);
    return to;
}
inline char* putFixed64(char* to, std::uint64_t value) { // little endian
    for (int shift = 0; shift < 64; shift += 8)
        *to++ = static_cast<char>(value >> shift);
    return to;
}
void putVarint(std::string& out, std::uint64_t value);
void putFixed64(std::string& out, std::uint64_t value);
/// Eight planes of bytes, lowest first: bytes that change little stand side by side.
void putPlanes(std::string& out, std::span<const std::uint64_t> values);

[[nodiscard]] std::uint64_t checksum(std::string_view bytes);   // XXH64, seed 0

/// Reads what the put functions wrote; throws DamagedBlob past the end.
class ByteReader {
public:
    explicit ByteReader(std::string_view bytes) : m_bytes(bytes) {}
    std::uint64_t varint();
    std::uint64_t fixed64();
    std::uint8_t byte();
    void planes(std::span<std::uint64_t> out);
    [[nodiscard]] std::string_view rest() const { return m_bytes.substr(m_at); }
    [[nodiscard]] std::size_t left() const { return m_bytes.size() - m_at; }
    [[nodiscard]] bool atEnd() const { return m_at == m_bytes.size(); }

private:
    void need(std::size_t bytes) const;
    std::string_view m_bytes;
    std::size_t m_at = 0;
};

} // namespace telehelm::store
