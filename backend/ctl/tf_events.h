// SPDX-License-Identifier: Apache-2.0
// TensorBoard's event files: protobuf Events in TFRecord frames, written by hand, since nobody else here needs TensorFlow's schema.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace telehelm::ctl {

/// CRC-32C (Castagnoli), as in RFC 3720.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

/// length (u64) | masked CRC-32C of these 8 bytes (u32) | data | masked CRC-32C of the data (u32), all little endian.
[[nodiscard]] std::string tfRecord(std::string_view data);

/// The first record of a file.
[[nodiscard]] std::string tfFileVersion(double wallSeconds);
/// A scalar as a double, so that no digit is lost. `isFirst`: of its tag in this file; then it says that the tag is a scalar.
[[nodiscard]] std::string tfScalar(const std::string& tag, std::int64_t step, double wallSeconds, double value, bool isFirst);

} // namespace telehelm::ctl
