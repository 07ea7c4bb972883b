// SPDX-License-Identifier: Apache-2.0
#include "train/file_io.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <xxhash.h>

namespace telehelm::train {
namespace {

tl::unexpected<Error> systemError(const char* what, const std::filesystem::path& path) {
    const int error = errno;
    return fail(error == ENOSPC ? ErrorCode::ResourceExhausted : ErrorCode::Internal,
                std::string(what) + ": " + std::strerror(error), path.string());
}

} // namespace

std::string hexHash(std::uint64_t hash) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    return text;
}

std::uint64_t xxh3(std::span<const std::byte> bytes) {
    return XXH3_64bits(bytes.data(), bytes.size());
}

Result<std::uint64_t> xxh3OfFile(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return fail(ErrorCode::DataLoss, "cannot be opened", path.string());
    }
    const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
    XXH3_64bits_reset(state.get());
    std::vector<char> piece(std::size_t{1} << 20);
    while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
        XXH3_64bits_update(state.get(), piece.data(), static_cast<std::size_t>(file.gcount()));
    }
    return XXH3_64bits_digest(state.get());
}

Result<DurableFile> DurableFile::create(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor < 0) {
        return systemError("cannot be created", path);
    }
    return DurableFile(descriptor, path);
}

DurableFile::DurableFile(DurableFile&& other) noexcept
    : m_descriptor(std::exchange(other.m_descriptor, -1)), m_path(std::move(other.m_path)), m_bytes(other.m_bytes) {}

DurableFile& DurableFile::operator=(DurableFile&& other) noexcept {
    std::swap(m_descriptor, other.m_descriptor);
    std::swap(m_path, other.m_path);
    std::swap(m_bytes, other.m_bytes);
    return *this;
}

DurableFile::~DurableFile() {
    if (m_descriptor >= 0) {
        ::close(m_descriptor);
    }
}

Result<void> DurableFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(m_descriptor, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return systemError("cannot be written", m_path);
        }
        m_bytes += written;
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

Result<void> DurableFile::close() {
    const bool synced = ::fsync(m_descriptor) == 0;
    if (::close(std::exchange(m_descriptor, -1)) != 0 || !synced) {
        return systemError("cannot be made durable", m_path);
    }
    return {};
}

Result<void> writeWhole(const std::filesystem::path& path, const std::string& text) {
    const std::filesystem::path part = path.string() + ".part";
    return DurableFile::create(part)
        .and_then(
            [&](DurableFile file) { return file.write(std::as_bytes(std::span(text))).and_then([&] { return file.close(); }); })
        .and_then([&]() -> Result<void> {
            std::error_code error;
            std::filesystem::rename(part, path, error);
            return error ? Result<void>(fail(ErrorCode::Internal, "cannot be renamed: " + error.message(), path.string()))
                         : Result<void>();
        });
}

Result<std::string> readWhole(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return fail(ErrorCode::NotFound, "cannot be opened", path.string());
    }
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

Result<void> syncFolder(const std::filesystem::path& folder) {
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return systemError("cannot be opened", folder);
    }
    const bool synced = ::fsync(descriptor) == 0;
    ::close(descriptor);
    return synced ? Result<void>() : Result<void>(systemError("cannot be made durable", folder));
}

} // namespace telehelm::train
