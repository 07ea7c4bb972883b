// SPDX-License-Identifier: Apache-2.0
#include "exchange/safetensors.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "train/shard_map.h"

namespace telehelm::exchange {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMostHeaderBytes = 100'000'000; // what the reference implementation takes

/// What a header says that cannot be; caught in readHeader's caller.
struct HeaderFault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::int64_t bytesOf(Dtype dtype) {
    return dtype == Dtype::F32 ? 4 : 2;
}

Dtype dtypeFrom(const std::string& tensor, const std::string& text) {
    if (text == "F32") {
        return Dtype::F32;
    }
    if (text == "F16") {
        return Dtype::F16;
    }
    if (text == "BF16") {
        return Dtype::BF16;
    }
    throw HeaderFault(tensor + " is of dtype " + text + "; F32, F16 and BF16 can be read");
}

std::int64_t integerFrom(const std::string& tensor, const Json& json) {
    if (!json.is_number_unsigned() || json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
        throw HeaderFault(tensor + " has " + json.dump() + " where a whole number from 0 must be");
    }
    return json.get<std::int64_t>();
}

TensorMeta metaFrom(const std::string& name, const Json& json) {
    if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
        !json.contains("data_offsets") || !json.at("dtype").is_string() || !json.at("shape").is_array() ||
        !json.at("data_offsets").is_array() || json.at("data_offsets").size() != 2) {
        throw HeaderFault(name + " must have exactly dtype, shape and two data_offsets");
    }
    TensorMeta meta{.name = name, .dtype = dtypeFrom(name, json.at("dtype")), .shape = {}, .begin = 0, .end = 0};
    std::int64_t bytes = bytesOf(meta.dtype);
    for (const Json& size : json.at("shape")) {
        meta.shape.push_back(integerFrom(name, size));
        if (__builtin_mul_overflow(bytes, meta.shape.back(), &bytes)) {
            throw HeaderFault(name + " is too large to be: " + train::shapeText(meta.shape));
        }
    }
    meta.begin = integerFrom(name, json.at("data_offsets")[0]);
    meta.end = integerFrom(name, json.at("data_offsets")[1]);
    if (meta.end < meta.begin || meta.end - meta.begin != bytes) {
        throw HeaderFault(name + " of shape " + train::shapeText(meta.shape) + " takes " + std::to_string(bytes) +
                          " bytes, but its data_offsets are " + std::to_string(meta.begin) + " and " + std::to_string(meta.end));
    }
    return meta;
}

/// The data is the tensors one behind the other, and nothing else.
void checkTiling(const std::vector<TensorMeta>& tensors, std::int64_t dataBytes) {
    std::int64_t next = 0;
    for (const TensorMeta& tensor : tensors) {
        if (tensor.begin != next) {
            throw HeaderFault(tensor.name + " begins at byte " + std::to_string(tensor.begin) +
                              " of the data, but the tensors before it " + (tensor.begin < next ? "reach to " : "end at ") +
                              std::to_string(next));
        }
        next = tensor.end;
    }
    if (next != dataBytes) {
        throw HeaderFault("the tensors take " + std::to_string(next) + " bytes, but " + std::to_string(dataBytes) +
                          " follow the header" + (next > dataBytes ? "; the file is cut off" : ""));
    }
}

/// JSON that names a key twice is not two tensors: refused rather than guessed.
Json parseHeader(const std::string& text) {
    std::vector<std::set<std::string>> seen;
    const auto watch = [&](int, Json::parse_event_t event, Json& value) {
        if (event == Json::parse_event_t::object_start) {
            seen.emplace_back();
        } else if (event == Json::parse_event_t::object_end) {
            seen.pop_back();
        } else if (event == Json::parse_event_t::key && !seen.back().insert(value.get<std::string>()).second) {
            throw HeaderFault("the header names " + value.dump() + " twice");
        }
        return true;
    };
    return Json::parse(text, watch);
}

float fromHalf(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000U) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    const std::uint32_t fraction = half & 0x3FFU;
    if (exponent == 0) { // zero or subnormal: fraction · 2^-24
        const float value = static_cast<float>(fraction) * 0x1.0p-24F;
        return sign != 0 ? -value : value;
    }
    const std::uint32_t wide = exponent == 0x1F ? 0xFFU : exponent + 112;
    return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

Result<void> readAll(int descriptor, std::span<std::byte> out, std::int64_t offset, const std::filesystem::path& path) {
    while (!out.empty()) {
        const ssize_t got = ::pread(descriptor, out.data(), out.size(), offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return fail(ErrorCode::DataLoss,
                        got < 0 ? std::string("cannot be read: ") + std::strerror(errno)
                                : "ends at byte " + std::to_string(offset),
                        path.string());
        }
        out = out.subspan(static_cast<std::size_t>(got));
        offset += got;
    }
    return {};
}

} // namespace

std::int64_t TensorMeta::elements() const {
    return (end - begin) / bytesOf(dtype);
}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors,
                                                    const std::map<std::string, std::string>& metadata) {
    Json header = Json::object();
    header["__metadata__"] = metadata;
    std::int64_t end = 0;
    for (const auto& [name, shape] : tensors) {
        std::int64_t bytes = bytesOf(Dtype::F32);
        for (const std::int64_t size : shape) {
            bytes *= size;
        }
        header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
        end += bytes;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' '); // the data begins at a multiple of 8
    std::array<std::byte, kLengthBytes> length{};
    for (std::size_t i = 0; i < length.size(); ++i) {
        length[i] = static_cast<std::byte>(text.size() >> (8 * i));
    }
    auto file = train::DurableFile::create(path);
    if (!file) {
        return tl::unexpected(file.error());
    }
    if (auto written = file->write(length).and_then([&] { return file->write(std::as_bytes(std::span(text))); }); !written) {
        return tl::unexpected(written.error());
    }
    const std::int64_t size = file->bytes() + end;
    return SafetensorsWriter(std::move(*file), path, size);
}

Result<void> SafetensorsWriter::write(std::span<const float> values) {
    static_assert(std::endian::native == std::endian::little);
    return m_file.write(std::as_bytes(values));
}

Result<void> SafetensorsWriter::close() {
    if (m_file.bytes() != m_size) {
        return fail(ErrorCode::Internal,
                    std::to_string(m_file.bytes()) + " bytes were written, " + std::to_string(m_size) + " were promised",
                    m_path.string());
    }
    return m_file.close();
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
    SafetensorsFile file(path);
    file.m_descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    if (file.m_descriptor < 0 || error) {
        return fail(ErrorCode::NotFound, "cannot be opened: " + (error ? error.message() : std::strerror(errno)), path.string());
    }
    try {
        if (auto data = file.readHeader(static_cast<std::int64_t>(bytes)); !data) {
            return tl::unexpected(data.error());
        }
    } catch (const std::exception& fault) { // of the JSON or a HeaderFault
        return fail(ErrorCode::DataLoss, std::string("is no sound safetensors file: ") + fault.what(), path.string());
    }
    return file;
}

Result<std::int64_t> SafetensorsFile::readHeader(std::int64_t fileBytes) {
    if (fileBytes < kLengthBytes) {
        throw HeaderFault("it has " + std::to_string(fileBytes) + " bytes; the header's length alone takes 8");
    }
    std::array<std::byte, kLengthBytes> raw{};
    if (auto read = readAll(m_descriptor, raw, 0, m_path); !read) {
        return tl::unexpected(read.error());
    }
    std::uint64_t length = 0;
    for (std::size_t i = raw.size(); i-- > 0;) {
        length = length << 8 | static_cast<std::uint64_t>(raw[i]);
    }
    if (length > std::uint64_t{kMostHeaderBytes} || static_cast<std::int64_t>(length) > fileBytes - kLengthBytes) {
        throw HeaderFault("its header should have " + std::to_string(length) + " bytes; " +
                          std::to_string(fileBytes - kLengthBytes) + " are there and " + std::to_string(kMostHeaderBytes) +
                          " are the most");
    }
    std::string text(length, '\0');
    if (auto read = readAll(m_descriptor, std::as_writable_bytes(std::span(text)), kLengthBytes, m_path); !read) {
        return tl::unexpected(read.error());
    }
    const Json header = parseHeader(text);
    if (!header.is_object()) {
        throw HeaderFault("its header is no JSON object");
    }
    for (const auto& [name, value] : header.items()) {
        if (name == "__metadata__") {
            m_metadata = value.get<std::map<std::string, std::string>>();
        } else {
            m_tensors.push_back(metaFrom(name, value));
        }
    }
    std::ranges::stable_sort(m_tensors, {}, [](const TensorMeta& tensor) { return std::pair(tensor.begin, tensor.end); });
    m_data = kLengthBytes + static_cast<std::int64_t>(length);
    checkTiling(m_tensors, fileBytes - m_data);
    return m_data;
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : m_path(std::move(other.m_path)), m_descriptor(std::exchange(other.m_descriptor, -1)), m_data(other.m_data),
      m_tensors(std::move(other.m_tensors)), m_metadata(std::move(other.m_metadata)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
    std::swap(m_path, other.m_path);
    std::swap(m_descriptor, other.m_descriptor);
    std::swap(m_data, other.m_data);
    std::swap(m_tensors, other.m_tensors);
    std::swap(m_metadata, other.m_metadata);
    return *this;
}

SafetensorsFile::~SafetensorsFile() {
    if (m_descriptor >= 0) {
        ::close(m_descriptor);
    }
}

Result<void> SafetensorsFile::read(const TensorMeta& tensor, std::int64_t from, std::span<float> out) const {
    const std::int64_t offset = m_data + tensor.begin + from * bytesOf(tensor.dtype);
    if (from < 0 || from + std::ssize(out) > tensor.elements()) {
        return fail(ErrorCode::InvalidArgument,
                    tensor.name + " has " + std::to_string(tensor.elements()) + " elements; " +
                        std::to_string(from + std::ssize(out)) + " were asked for",
                    m_path.string());
    }
    if (tensor.dtype == Dtype::F32) {
        return readAll(m_descriptor, std::as_writable_bytes(out), offset, m_path);
    }
    std::vector<std::uint16_t> narrow(out.size());
    if (auto got = readAll(m_descriptor, std::as_writable_bytes(std::span(narrow)), offset, m_path); !got) {
        return got;
    }
    std::ranges::transform(narrow, out.begin(), [&](std::uint16_t value) {
        return tensor.dtype == Dtype::BF16 ? std::bit_cast<float>(std::uint32_t{value} << 16) : fromHalf(value);
    });
    return {};
}

} // namespace telehelm::exchange
