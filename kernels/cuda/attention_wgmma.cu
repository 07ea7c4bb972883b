// SPDX-License-Identifier: Apache-2.0
// Attention with sm_90a's instructions: wgmma reads its factors from shared memory, TMA brings them there.
#include "attention.cuh"
#include "attention_kinds.h"
#include "hopper.h"

namespace telehelm::kernels::cuda {

namespace {

/// A matrix in shared memory as wgmma is told of it: address, the distance of 64-column panels (`leading`) and of groups of 8
/// rows, in bytes, swizzle of 128 bytes. PTX, "Matrix Descriptor Format".
__device__ inline std::uint64_t descriptorOf(std::uint32_t address, int leading) {
    constexpr std::uint64_t kGroupBytes = 1024, kSwizzle128 = 1;
    return static_cast<std::uint64_t>((address & 0x3FFFFU) >> 4) | static_cast<std::uint64_t>(leading >> 4) << 16 |
           (kGroupBytes >> 4) << 32 | kSwizzle128 << 62;
}

struct WgmmaEngine {
    static constexpr const char* kName = "wgmma";
    static constexpr bool kOverlaps = true;
    static constexpr int kWarps = 8, kForwardKeys = 128; // two warpgroups
    template <int kD> static constexpr int kBackwardStep = 64;
    static constexpr int kBoxRows = 64;

    using Source = TensorMap;
    static Source source(const Bf16* values, const AttentionBatch& batch, std::int64_t heads) {
        return makeTensorMap(values, batch.B, batch.T, heads, batch.D, kBoxRows);
    }

    /// Stages with a barrier each; one thread asks, each waits for itself.
    class Pipeline {
    public:
        __device__ explicit Pipeline(void* memory) : m_full(static_cast<std::uint64_t*>(memory)) {
            if (threadIdx.x == 0) {
                for (int stage = 0; stage < kStages; ++stage)
                    initBarrier(m_full + stage);
                fenceBarriers();
            }
            __syncthreads();
        }
        __device__ void begin(int stage, int bytes) {
            if (threadIdx.x == 0)
                expectBytes(m_full + stage, bytes);
        }
        template <int kRows, int kD>
        __device__ void load(int stage, const Source& from, const Tile& tile, int firstRow, int head, int batch) {
            static_assert(kRows % kBoxRows == 0 && kD % 64 == 0);
            if (threadIdx.x != 0)
                return;
            for (int column = 0; column < kD; column += 64)
                for (int row = 0; row < kRows; row += kBoxRows)
                    loadBox(pieceOf(tile, row, column), from, column, head, firstRow + row, batch, m_full + stage);
        }
        __device__ void end() {}
        __device__ void wait(int stage, bool) {
            waitForBarrier(m_full + stage, m_parities >> stage & 1U);
            m_parities ^= 1U << stage;
        }

    private:
        static constexpr int kStages = 4;
        std::uint64_t* m_full;
        unsigned m_parities = 0; // of each stage's current phase
    };

    // A start… begins a batch of wgmma: what it writes and, in registers, reads belongs to the tensor cores until it was waited
    // for.
    /// c (64 rows a warpgroup, kN) += a bᵀ; a (rows, kK), b (kN, kK). A step of 16 is 32 bytes on in the swizzled row.
    template <int kN, int kK> __device__ static void startTiles(float (&c)[kN / 8][4], const Tile& a, const Tile& b) {
        const int aRow = static_cast<int>(threadIdx.x) / 128 * 64;
        const std::uint32_t left = heldAddress(pieceOf(a, aRow, 0)), right = heldAddress(b.at);
        pin(c);
        beginWgmma();
#pragma unroll
        for (int k = 0; k < kK; k += 16)
            wgmmaTiles(c, descriptorOf(left + k / 64 * (a.rows * 128) + k % 64 * 2, 16),
                       descriptorOf(right + k / 64 * (b.rows * 128) + k % 64 * 2, 16));
        endWgmma();
    }

    /// c (64 rows a warpgroup, kN) += a b; a (64, kK) in registers, b (kK, kN). A step of 16 is 16 rows on.
    template <int kN, int kK>
    __device__ static void startFactor(float (&c)[kN / 8][4], std::uint32_t (&a)[kK / 16][4], const Tile& b) {
        const std::uint32_t right = heldAddress(b.at);
        pin(c);
        pin(a);
        beginWgmma();
#pragma unroll
        for (int k = 0; k < kK; k += 16)
            wgmmaFactor(c, a[k / 16], descriptorOf(right + k * 128, b.rows * 128));
        endWgmma();
    }

    /// Until at most `kPending` batches are under way; `registers` are those of the others.
    template <int kPending, typename... R> __device__ static void wait(R&... registers) {
        waitForWgmma<kPending>();
        (pin(registers), ...);
    }
};

} // namespace

std::unique_ptr<Attention> makeWgmmaAttention() {
    if (majorVersion() != 9)
        return nullptr;
    return std::make_unique<OwnAttention<WgmmaEngine>>();
}

} // namespace telehelm::kernels::cuda
