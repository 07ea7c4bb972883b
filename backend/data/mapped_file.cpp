// SPDX-License-Identifier: Apache-2.0
#include "data/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace telehelm::data {

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(errno == ENOENT ? ErrorCode::NotFound : ErrorCode::Unavailable, std::strerror(errno), path.string());
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(fd);
        return fail(ErrorCode::InvalidArgument, "not a regular file", path.string());
    }
    const auto size = static_cast<std::size_t>(info.st_size);
    void* address = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int error = errno;
    ::close(fd);
    if (address == MAP_FAILED)
        return fail(ErrorCode::ResourceExhausted, std::string("cannot map: ") + std::strerror(error), path.string());
    return MappedFile({static_cast<const std::byte*>(address), size});
}

MappedFile::~MappedFile() {
    if (!m_bytes.empty())
        ::munmap(const_cast<std::byte*>(m_bytes.data()), m_bytes.size()); // munmap has no const form
}

} // namespace telehelm::data
