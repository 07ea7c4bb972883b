// SPDX-License-Identifier: Apache-2.0
#include "ctl/tf_events.h"

#include <array>
#include <bit>

namespace telehelm::ctl {
namespace {

constexpr std::array<std::uint32_t, 256> makeTable() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
        table[i] = crc;
    }
    return table;
}
constexpr auto kTable = makeTable();

template <typename Int>
std::string littleEndian(Int value) {
    std::string bytes(sizeof value, '\0');
    for (std::size_t i = 0; i < sizeof value; ++i)
        bytes[i] = static_cast<char>(value >> (8 * i));
    return bytes;
}

// TFRecord masks, so that a checksum of data that hold checksums stays useful.
std::string maskedCrc(std::string_view bytes) {
    const std::uint32_t crc = crc32c(bytes);
    return littleEndian(((crc >> 15) | (crc << 17)) + 0xa282ead8u);
}

std::string varint(std::uint64_t value) {
    std::string bytes;
    for (; value >= 0x80; value >>= 7)
        bytes += static_cast<char>((value & 0x7f) | 0x80);
    return bytes + static_cast<char>(value);
}

// Protobuf fields: number and wire type, then the value.
std::string varintField(int number, std::uint64_t value) { return varint(static_cast<std::uint64_t>(number) << 3) + varint(value); }
std::string doubleField(int number, double value) {
    return varint(static_cast<std::uint64_t>(number) << 3 | 1) + littleEndian(std::bit_cast<std::uint64_t>(value));
}
std::string bytesField(int number, std::string_view bytes) {
    return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

} // namespace

std::uint32_t crc32c(std::string_view bytes) {
    std::uint32_t crc = ~0u;
    for (const char c : bytes)
        crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
    return ~crc;
}

std::string tfRecord(std::string_view data) {
    const std::string length = littleEndian(static_cast<std::uint64_t>(data.size()));
    return length + maskedCrc(length) + std::string(data) + maskedCrc(data);
}

// event.proto: wall_time 1, step 2, file_version 3, summary 5.
std::string tfFileVersion(double wallSeconds) { return tfRecord(doubleField(1, wallSeconds) + bytesField(3, "brain.Event:2")); }

// summary.proto: Summary.value 1; Value.tag 1, .tensor 8, .metadata 9; SummaryMetadata.plugin_data 1, .data_class 4 (1: scalar).
// tensor.proto: dtype 1 (2: double), tensor_shape 2 (empty: a scalar), double_val 6 (packed).
std::string tfScalar(const std::string& tag, std::int64_t step, double wallSeconds, double value, bool isFirst) {
    const std::string tensor =
        varintField(1, 2) + bytesField(2, "") + bytesField(6, littleEndian(std::bit_cast<std::uint64_t>(value)));
    std::string summary = bytesField(1, tag) + bytesField(8, tensor);
    if (isFirst)
        summary += bytesField(9, bytesField(1, bytesField(1, "scalars")) + varintField(4, 1));
    return tfRecord(doubleField(1, wallSeconds) + varintField(2, static_cast<std::uint64_t>(step)) + bytesField(5, bytesField(1, summary)));
}

} // namespace telehelm::ctl
