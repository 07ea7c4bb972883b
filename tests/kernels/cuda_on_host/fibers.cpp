// SPDX-License-Identifier: Apache-2.0
// Blocks of threads as fibers of one host thread.
#include "gpu.h"

#include <exception>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <csetjmp>

#include <ucontext.h>

namespace telehelm::kernels::cuda {
namespace host {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024, kSlotBytes = 128;
constexpr std::size_t kSharedBytes = mostSharedBytes();

struct Copy {
    void* to;
    const void* from; // null: zeros
    std::size_t size;
};

/// Made by makecontext and switched by longjmp, which asks the kernel nothing.
struct Fiber {
    ucontext_t context{};
    std::jmp_buf place{};
    bool isMade = false; // and waits at `place`, between two blocks or within one
    std::unique_ptr<char[]> stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
    unsigned index = 0;
    bool ended = false, waitsForBlock = false;
    std::vector<std::vector<Copy>> groups; // committed, oldest first
    std::vector<Copy> open;
};

/// Where the threads of a warp or a warpgroup exchange words; two sets of slots, so that a slow reader is never overtaken.
struct Exchange {
    std::vector<std::byte> slots;
    int arrived = 0;
    unsigned generation = 0;
};

struct Block {
    std::vector<std::unique_ptr<Fiber>> fibers; // kept from grid to grid
    std::vector<Exchange> warps, warpgroups;
    std::unique_ptr<unsigned char[]> memory = std::make_unique<unsigned char[]>(kSharedBytes + 1024);
    std::jmp_buf scheduler{};
    Fiber* running = nullptr;
    unsigned threads = 0, alive = 0, arrived = 0, barrierGeneration = 0;
    bool anyBrought = false, anyResult = false;
    std::uint64_t progress = 0;
    const std::function<void()>* body = nullptr;
    std::exception_ptr failure;
    std::mt19937 shuffle{20260101};
};

Block& block() {
    static Block theBlock;
    return theBlock;
}

/// Back to the scheduler; returns when it comes here again.
void yield() {
    Block& b = block();
    Fiber* const own = b.running;
    if (_setjmp(own->place) == 0)
        _longjmp(b.scheduler, 1);
    threadIdx = dim3(own->index);
}

/// A fiber's life: one thread of one block after the other.
void enterFiber() {
    Block& b = block();
    for (;;) {
        Fiber* const own = b.running;
        threadIdx = dim3(own->index);
        try {
            (*b.body)();
        } catch (...) {
            b.failure = std::current_exception();
        }
        own->ended = true;
        --b.alive;
        ++b.progress;
        yield();
    }
}

/// Until the fiber yields.
void resume(Block& b, Fiber& fiber) {
    b.running = &fiber;
    if (_setjmp(b.scheduler) != 0)
        return;
    if (fiber.isMade)
        _longjmp(fiber.place, 1);
    fiber.isMade = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enterFiber, 0);
    setcontext(&fiber.context);
}

void releaseBarrierIfAllCame(Block& b) {
    if (b.arrived > 0 && b.arrived == b.alive) {
        b.arrived = 0;
        b.anyResult = b.anyBrought;
        b.anyBrought = false;
        ++b.barrierGeneration;
        ++b.progress;
    }
}

void prepare(Block& b, unsigned threads, std::size_t sharedBytes) {
    b.threads = b.alive = threads;
    b.arrived = 0;
    b.failure = nullptr;
    while (b.warps.size() < (threads + 31) / 32)
        b.warps.push_back({std::vector<std::byte>(2 * 32 * kSlotBytes), 0, 0});
    while (b.warpgroups.size() < (threads + 127) / 128)
        b.warpgroups.push_back({std::vector<std::byte>(2 * 128 * kSlotBytes), 0, 0});
    for (auto* groups : {&b.warps, &b.warpgroups})
        for (Exchange& group : *groups)
            group.arrived = 0;
    std::memset(sharedBlock(), 0xFF, sharedBytes);
    while (b.fibers.size() < threads)
        b.fibers.push_back(std::make_unique<Fiber>());
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = *b.fibers[i];
        fiber.index = i;
        fiber.ended = false;
        fiber.groups.clear();
        fiber.open.clear();
    }
}

/// Fibers in the midst of a block are made anew.
[[noreturn]] void abandon(Block& b) {
    for (const auto& fiber : b.fibers)
        fiber->isMade = false;
    std::rethrow_exception(b.failure);
}

void runBlock(Block& b, const char* name) {
    while (b.alive > 0) {
        const std::uint64_t before = b.progress;
        const unsigned first = b.shuffle() % b.threads; // another order each time: what needs a barrier and has none shows sooner
        const bool upwards = (b.shuffle() & 1U) != 0;
        for (unsigned i = 0; i < b.threads; ++i) {
            const unsigned at = (first + (upwards ? i : b.threads - i)) % b.threads;
            Fiber& fiber = *b.fibers[at];
            if (fiber.ended)
                continue;
            resume(b, fiber);
            if (b.failure)
                abandon(b);
            releaseBarrierIfAllCame(b);
        }
        if (b.progress == before && b.alive > 0) {
            b.failure =
                std::make_exception_ptr(std::logic_error(std::string(name) + ": some threads wait for others that never come"));
            abandon(b);
        }
    }
}

Fiber& own() {
    return *block().running;
}

} // namespace

void pause() {
    yield();
}

void broken(const char* rule) {
    throw std::logic_error(std::string("kernel: ") + rule);
}

void runGrid(const char* name, dim3 grid, unsigned threads, std::size_t sharedBytes, const std::function<void()>& body) {
    if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
        sharedBytes > kSharedBytes)
        throw std::logic_error(std::string(name) + ": CUDA would refuse this launch");
    Block& b = block();
    b.body = &body;
    gridDim = grid;
    blockDim = dim3(threads);
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = dim3(x, y, z);
                prepare(b, threads, sharedBytes);
                runBlock(b, name);
            }
}

unsigned char* sharedBlock() {
    const auto address = reinterpret_cast<std::uintptr_t>(block().memory.get());
    return block().memory.get() + ((1024 - address % 1024) % 1024);
}

bool meetBlock(bool flag) {
    Block& b = block();
    const unsigned mine = b.barrierGeneration;
    b.anyBrought |= flag;
    ++b.arrived;
    ++b.progress;
    releaseBarrierIfAllCame(b);
    while (b.barrierGeneration == mine)
        yield();
    return b.anyResult;
}

const std::byte* exchange(int groupSize, const void* value, std::size_t size) {
    if (size > kSlotBytes)
        broken("an exchange of more than 128 bytes");
    Block& b = block();
    const auto number = static_cast<std::size_t>(own().index) / static_cast<std::size_t>(groupSize);
    Exchange& group = groupSize == 32 ? b.warps[number] : b.warpgroups[number];
    const unsigned mine = group.generation;
    std::byte* const slots = group.slots.data() + (mine & 1U) * static_cast<std::size_t>(groupSize) * kSlotBytes;
    std::memcpy(slots + static_cast<std::size_t>(lane(groupSize)) * kSlotBytes, value, size);
    ++b.progress;
    if (++group.arrived == groupSize) {
        group.arrived = 0;
        ++group.generation;
    }
    while (group.generation == mine)
        yield();
    return slots;
}

int lane(int groupSize) {
    return static_cast<int>(own().index) % groupSize;
}

void laterCopy(void* to, const void* from, std::size_t size) {
    own().open.push_back({to, from, size});
}

void endGroup() {
    own().groups.push_back(std::move(own().open));
    own().open.clear();
}

void arrive(int pending) {
    auto& groups = own().groups;
    while (groups.size() > static_cast<std::size_t>(pending)) {
        for (const Copy& copy : groups.front()) {
            if (copy.from != nullptr)
                std::memcpy(copy.to, copy.from, copy.size);
            else
                std::memset(copy.to, 0, copy.size);
        }
        groups.erase(groups.begin());
    }
}

} // namespace host

namespace {

template <typename T> T slotOf(const std::byte* all, int lane, std::size_t index) {
    T value;
    std::memcpy(&value, all + lane * 128 + static_cast<std::ptrdiff_t>(index * sizeof(T)), sizeof value);
    return value;
}

float half(std::uint32_t word, int which) {
    return toFloat(Bf16{static_cast<std::uint16_t>(word >> (16 * which))});
}

/// Row `row` of matrix `matrix`, as lane 8 · matrix + row gave its address.
const std::uint16_t* matrixRow(const std::byte* all, int matrix, int row) {
    const auto* address = slotOf<const std::uint16_t*>(all, matrix * 8 + row, 0);
    if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0)
        host::broken("ldmatrix needs 16-byte alignment");
    return address;
}

} // namespace

void loadMatrices(std::uint32_t (&out)[4], const void* row) {
    const std::byte* all = host::exchange(32, &row, sizeof row);
    const int lane = host::lane(32);
    for (int matrix = 0; matrix < 4; ++matrix)
        std::memcpy(&out[matrix], matrixRow(all, matrix, lane / 4) + lane % 4 * 2, 4);
}

void loadMatricesTransposed(std::uint32_t (&out)[4], const void* row) {
    const std::byte* all = host::exchange(32, &row, sizeof row);
    const int lane = host::lane(32), column = lane / 4;
    for (int matrix = 0; matrix < 4; ++matrix)
        out[matrix] = matrixRow(all, matrix, lane % 4 * 2)[column] |
                      static_cast<std::uint32_t>(matrixRow(all, matrix, lane % 4 * 2 + 1)[column]) << 16;
}

/// PTX, "Matrix Fragments for mma.m16n8k16 with floating point type": groupID = lane / 4, threadID = lane % 4.
void multiplyAdd(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    const std::uint32_t own[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const std::byte* all = host::exchange(32, own, sizeof own);
    const int group = host::lane(32) / 4, thread = host::lane(32) % 4;
    for (int i = 0; i < 4; ++i) {
        const int row = group + (i >= 2 ? 8 : 0), column = thread * 2 + (i & 1);
        double sum = 0;
        for (int k = 0; k < 16; ++k) {
            // a: lane row % 8 · 4 + k % 8 / 2; register: + 1 for rows ≥ 8, + 2 for k ≥ 8.  b: lane column · 4 + k % 8 / 2.
            const std::size_t aRegister = (row >= 8 ? 1U : 0U) + (k >= 8 ? 2U : 0U), bRegister = k >= 8 ? 5U : 4U;
            const float aValue = half(slotOf<std::uint32_t>(all, row % 8 * 4 + k % 8 / 2, aRegister), k & 1);
            const float bValue = half(slotOf<std::uint32_t>(all, column * 4 + k % 8 / 2, bRegister), k & 1);
            sum += static_cast<double>(aValue) * static_cast<double>(bValue);
        }
        c[i] += static_cast<float>(sum);
    }
}

} // namespace telehelm::kernels::cuda
