// SPDX-License-Identifier: Apache-2.0
#include "hopper.h"

#include <map>
#include <vector>

namespace telehelm::kernels::cuda {

namespace {

struct Box {
    unsigned char* to;
    TensorMap map;
    int column, head, row, batch;
    bool isThere;
    [[nodiscard]] int bytes() const { return map.rows * 128; }
};

struct Pending {
    int expected = -1; // bytes; −1: nobody arrived in this phase
    std::vector<Box> boxes;
};

/// By barrier; a block's are gone when they are initialised again.
std::map<std::uint64_t*, Pending>& pending() {
    static std::map<std::uint64_t*, Pending> all;
    return all;
}

struct Product {
    float (*c)[4];
    int eights;
    const std::uint32_t* a;
    std::uint64_t aDescriptor, bDescriptor;
};
struct Products {
    std::vector<std::vector<Product>> batches; // oldest first
    std::vector<Product> open;
};

/// By thread; a block's are gone when its barriers are initialised.
std::map<unsigned, Products>& products() {
    static std::map<unsigned, Products> all;
    return all;
}

/// TMA's and wgmma's 128-byte swizzle: bits 4 … 6 of the address are turned over by bits 7 … 9.
std::uint32_t swizzled(std::uint32_t address) {
    return address ^ ((address >> 7 & 7U) << 4);
}

void arriveBox(const Box& box) {
    for (int row = 0; row < box.map.rows; ++row) {
        for (int column = 0; column < 64; ++column) {
            const std::int64_t t = box.row + row, c = box.column + column;
            const bool exists = t >= 0 && t < box.map.T && box.head < box.map.heads && box.batch < box.map.B && c < box.map.D;
            const Bf16 value =
                exists ? box.map.values[((box.batch * box.map.T + t) * box.map.heads + box.head) * box.map.D + c] : Bf16{};
            const std::uint32_t at = swizzled(sharedAddress(box.to) + static_cast<std::uint32_t>(row * 128 + column * 2));
            std::memcpy(host::sharedBlock() + at, &value, sizeof value);
        }
    }
}

struct Descriptor {
    std::uint32_t address, leading, stride;
    explicit Descriptor(std::uint64_t bits)
        : address(static_cast<std::uint32_t>(bits & 0x3FFFU) << 4),
          leading(static_cast<std::uint32_t>(bits >> 16 & 0x3FFFU) << 4),
          stride(static_cast<std::uint32_t>(bits >> 32 & 0x3FFFU) << 4) {
        if (bits >> 62 != 1 || (bits >> 49 & 7U) != 0)
            host::broken("a descriptor of another swizzle than 128 bytes");
    }
};

float at(std::uint32_t address) {
    Bf16 value;
    std::memcpy(&value, host::sharedBlock() + swizzled(address), sizeof value);
    return toFloat(value);
}

/// K next to each other: rows of 128 bytes in groups of 8.
float innerMajor(const Descriptor& d, int row, int k) {
    return at(d.address + static_cast<std::uint32_t>(row / 8) * d.stride + static_cast<std::uint32_t>(row % 8 * 128 + k * 2));
}
/// Columns next to each other: panels of 64, k in groups of 8.
float outerMajor(const Descriptor& d, int column, int k) {
    return at(d.address + static_cast<std::uint32_t>(column / 64) * d.leading + static_cast<std::uint32_t>(column % 64 * 2) +
              static_cast<std::uint32_t>(k / 8) * d.stride + static_cast<std::uint32_t>(k % 8 * 128));
}

} // namespace

TensorMap makeTensorMap(const void* values, std::int64_t B, std::int64_t T, std::int64_t heads, std::int64_t D, int rows) {
    return {static_cast<const Bf16*>(values), B, T, heads, D, rows};
}

void initBarrier(std::uint64_t* barrier) {
    *barrier = 0; // phases that have ended
    pending()[barrier] = {};
    products().clear();
}

void expectBytes(std::uint64_t* barrier, int bytes) {
    Pending& own = pending().at(barrier);
    if (own.expected >= 0)
        host::broken("a barrier's next phase began before its last one was waited for");
    own.expected = bytes;
}

void loadBox(void* shared, const TensorMap& map, int column, int head, int row, int batch, std::uint64_t* barrier) {
    if (sharedAddress(shared) % 1024 != 0)
        host::broken("a swizzled box must begin at a multiple of 1024 bytes");
    // Every other one arrives at once, for those who still read what it overwrites; the rest as late as can be.
    static unsigned loads = 0;
    Box box{static_cast<unsigned char*>(shared), map, column, head, row, batch, ++loads % 2 == 0};
    if (box.isThere)
        arriveBox(box);
    pending().at(barrier).boxes.push_back(box);
}

void waitForBarrier(std::uint64_t* barrier, unsigned parity) {
    Pending& own = pending().at(barrier);
    while ((*barrier & 1U) == parity && own.expected < 0)
        host::pause(); // nothing was asked of it yet
    if ((*barrier & 1U) != parity)
        return; // that phase has ended
    int bytes = 0;
    for (const Box& box : own.boxes) {
        bytes += box.bytes();
        if (!box.isThere)
            arriveBox(box);
    }
    if (bytes != own.expected)
        host::broken("a barrier expects other bytes than the boxes bring");
    own = {};
    ++*barrier;
}

namespace {

void multiply(float (*c)[4], int eights, const std::uint32_t* a, std::uint64_t aDescriptor, std::uint64_t bDescriptor) {
    struct {
        std::uint32_t a[4];
        std::uint64_t aDescriptor, bDescriptor;
    } own{{0, 0, 0, 0}, aDescriptor, bDescriptor};
    if (a != nullptr)
        std::copy_n(a, 4, own.a);
    const std::byte* all = host::exchange(128, &own, sizeof own);
    for (int i = 0; i < 128; ++i)
        if (std::memcmp(all + i * 128 + 16, all + 16, 16) != 0)
            host::broken("the threads of a warpgroup give wgmma different descriptors");
    const Descriptor b(bDescriptor);
    const int thread = host::lane(128), row = thread / 32 * 16 + thread % 32 / 4, column = thread % 4 * 2;
    float left[2][16];
    for (int half = 0; half < 2; ++half)
        for (int k = 0; k < 16; ++k) {
            if (a == nullptr) {
                left[half][k] = innerMajor(Descriptor(aDescriptor), row + half * 8, k);
                continue;
            }
            // As m16n8k16's left factor, warp by warp: register + 1 for the rows from 8 on, + 2 for k from 8 on.
            std::uint32_t word;
            std::memcpy(&word, all + (thread / 4 * 4 + k % 8 / 2) * 128 + (half + (k >= 8 ? 2 : 0)) * 4, 4);
            left[half][k] = toFloat(Bf16{static_cast<std::uint16_t>(word >> (k & 1) * 16)});
        }
    for (int n = 0; n < eights; ++n)
        for (int i = 0; i < 4; ++i) {
            float sum = 0;
            for (int k = 0; k < 16; ++k)
                sum += left[i / 2][k] *
                       (a == nullptr ? innerMajor(b, n * 8 + column + i % 2, k) : outerMajor(b, n * 8 + column + i % 2, k));
            c[n][i] += sum;
        }
    // Nobody may change what the others still read: a real warpgroup waits for the whole product.
    host::exchange(128, &own, sizeof own);
}

} // namespace

void host::laterWgmma(float (*c)[4], int eights, const std::uint32_t* a, std::uint64_t aDescriptor, std::uint64_t bDescriptor) {
    products()[threadIdx.x].open.push_back({c, eights, a, aDescriptor, bDescriptor});
}

void host::endBatch() {
    Products& own = products()[threadIdx.x];
    own.batches.push_back(std::move(own.open));
    own.open.clear();
}

void host::finishBatches(std::size_t pending) {
    Products& own = products()[threadIdx.x];
    if (!own.open.empty())
        broken("wgmma is waited for before its batch was ended");
    while (own.batches.size() > pending) {
        const std::vector<Product> batch = std::move(own.batches.front());
        own.batches.erase(own.batches.begin());
        for (const Product& product : batch)
            multiply(product.c, product.eights, product.a, product.aDescriptor, product.bDescriptor);
    }
}

} // namespace telehelm::kernels::cuda
