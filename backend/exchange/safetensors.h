// SPDX-License-Identifier: Apache-2.0
// The safetensors format, version of huggingface.co/docs/safetensors: 8 bytes little-endian header length N, N bytes of JSON
// {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …, "__metadata__": {text: text}}, then the data, row-major, without
// holes. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "telehelm/ipc/result.h"
#include "train/file_io.h"

namespace telehelm::exchange {

enum class Dtype { F32, F16, BF16 };

struct TensorMeta {
    std::string name;
    Dtype dtype = Dtype::F32;
    std::vector<std::int64_t> shape;
    std::int64_t begin = 0, end = 0; // bytes behind the header
    [[nodiscard]] std::int64_t elements() const;
};

/// Writes fp32 tensors one after the other, in the order of the header.
class SafetensorsWriter {
public:
    [[nodiscard]] static Result<SafetensorsWriter>
    create(const std::filesystem::path& path, const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors,
           const std::map<std::string, std::string>& metadata);
    [[nodiscard]] Result<void> write(std::span<const float> values);
    /// Refused when not all that the header promises was written.
    [[nodiscard]] Result<void> close();

private:
    SafetensorsWriter(train::DurableFile file, std::filesystem::path path, std::int64_t size)
        : m_file(std::move(file)), m_path(std::move(path)), m_size(size) {}
    train::DurableFile m_file;
    std::filesystem::path m_path;
    std::int64_t m_size; // when whole
};

/// A file that was found sound: every offset lies in it, no tensor overlaps another, no byte is nobody's.
class SafetensorsFile {
public:
    [[nodiscard]] static Result<SafetensorsFile> open(const std::filesystem::path& path);
    SafetensorsFile(SafetensorsFile&& other) noexcept;
    SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
    ~SafetensorsFile();

    [[nodiscard]] const std::vector<TensorMeta>& tensors() const { return m_tensors; } // in the order of the data
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return m_metadata; }
    [[nodiscard]] const std::filesystem::path& path() const { return m_path; }
    /// Elements [from, from + out.size()), converted to fp32.
    [[nodiscard]] Result<void> read(const TensorMeta& tensor, std::int64_t from, std::span<float> out) const;

private:
    explicit SafetensorsFile(std::filesystem::path path) : m_path(std::move(path)) {}
    Result<std::int64_t> readHeader(std::int64_t fileBytes);

    std::filesystem::path m_path;
    int m_descriptor = -1;
    std::int64_t m_data = 0; // where the data begins
    std::vector<TensorMeta> m_tensors;
    std::map<std::string, std::string> m_metadata;
};

} // namespace telehelm::exchange
