// SPDX-License-Identifier: Apache-2.0
// Memory for the large buffers that each step walks through.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace telehelm::model {

/// Aligned to cache lines; blocks of 2 MiB and more are aligned to it and ask for huge pages before they are first touched (Linux
/// gives them where /sys/kernel/mm/transparent_hugepage/enabled says always or madvise; elsewhere the request has no effect).
/// With 4 KiB pages the products' walks through columns spend a twentieth of a step on translating addresses.
template <typename T> struct HugePages {
    using value_type = T;

    HugePages() = default;
    template <typename U> HugePages(const HugePages<U>&) noexcept {} // NOLINT(google-explicit-constructor): as the standard asks

    [[nodiscard]] T* allocate(std::size_t count) {
        const std::size_t bytes = count * sizeof(T);
        void* block = ::operator new(bytes, alignment(bytes));
        if (bytes >= kHuge)
            ::madvise(block, bytes / kHuge * kHuge, MADV_HUGEPAGE); // a wish: its failure changes nothing but speed
        return static_cast<T*>(block);
    }
    void deallocate(T* block, std::size_t count) noexcept { ::operator delete(block, alignment(count * sizeof(T))); }

    friend bool operator==(const HugePages&, const HugePages&) { return true; }

private:
    static constexpr std::size_t kHuge = std::size_t{2} << 20, kLine = 64;
    static std::align_val_t alignment(std::size_t bytes) { return std::align_val_t{bytes >= kHuge ? kHuge : kLine}; }
};

template <typename T> using HugeVector = std::vector<T, HugePages<T>>;

} // namespace telehelm::model
