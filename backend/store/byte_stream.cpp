// SPDX-License-Identifier: Apache-2.0
#include "store/byte_stream.h"

#include <xxhash.h>

namespace telehelm::store {

void putVarint(std::string& out, std::uint64_t value) {
    char bytes[kMaxVarintBytes];
    out.append(bytes, putVarint(bytes, value));
}

void putFixed64(std::string& out, std::uint64_t value) {
    char bytes[8];
    out.append(bytes, putFixed64(bytes, value));
}

void putPlanes(std::string& out, std::span<const std::uint64_t> values) {
    const std::size_t start = out.size();
    out.resize(start + values.size() * 8);
    char* plane = out.data() + start;
    for (int shift = 0; shift < 64; shift += 8, plane += values.size())
        for (std::size_t i = 0; i < values.size(); ++i)
            plane[i] = static_cast<char>(values[i] >> shift);
}

std::uint64_t checksum(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

void ByteReader::need(std::size_t bytes) const {
    if (m_bytes.size() - m_at < bytes)
        throw DamagedBlob("cut off");
}

std::uint8_t ByteReader::byte() {
    need(1);
    return static_cast<std::uint8_t>(m_bytes[m_at++]);
}

std::uint64_t ByteReader::varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        const std::uint8_t next = byte();
        value |= static_cast<std::uint64_t>(next & 0x7f) << shift;
        if (next < 0x80)
            return value;
    }
    throw DamagedBlob("number too long");
}

std::uint64_t ByteReader::fixed64() {
    need(8);
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 8)
        value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(m_bytes[m_at++])) << shift;
    return value;
}

void ByteReader::planes(std::span<std::uint64_t> out) {
    need(out.size() * 8);
    for (std::uint64_t& value : out)
        value = 0;
    for (int shift = 0; shift < 64; shift += 8, m_at += out.size())
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i] |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(m_bytes[m_at + i])) << shift;
}

} // namespace telehelm::store
