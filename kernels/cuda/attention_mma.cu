// SPDX-License-Identifier: Apache-2.0
// Attention with sm_80's instructions: ldmatrix, mma.sync, cp.async. Runs on every card from Ampere on.
#include "attention.cuh"
#include "attention_kinds.h"

namespace telehelm::kernels::cuda {

namespace {

struct MmaEngine {
    static constexpr const char* kName = "mma";
    static constexpr bool kOverlaps = false;
    static constexpr int kWarps = 4, kForwardKeys = 64;
    /// Rows of the other side at once in the backward: what the registers hold beside two gradients of kD columns.
    template <int kD> static constexpr int kBackwardStep = kD == 64 ? 64 : 32;

    /// Rows of heads of kD values: (B, T, heads, kD).
    struct Source {
        const Bf16* values;
        int heads, T;
    };
    static Source source(const Bf16* values, const AttentionBatch& batch, std::int64_t heads) {
        return {values, static_cast<int>(heads), static_cast<int>(batch.T)};
    }

    /// Two stages in flight; all threads copy.
    class Pipeline {
    public:
        __device__ explicit Pipeline(void*) {}
        __device__ void begin(int, int) {}
        template <int kRows, int kD>
        __device__ void load(int, const Source& from, const Tile& tile, int firstRow, int head, int batch) {
            for (int piece = static_cast<int>(threadIdx.x); piece < kRows * (kD / 8); piece += kWarps * 32) {
                const int row = piece / (kD / 8), column = piece % (kD / 8) * 8;
                const bool exists = firstRow + row < from.T;
                const std::int64_t at = static_cast<std::int64_t>(batch) * from.T + (exists ? firstRow + row : 0);
                copyAsync(pieceOf(tile, row, column), from.values + (at * from.heads + head) * kD + column, exists);
            }
        }
        __device__ void end() { endCopyGroup(); }
        __device__ void wait(int, bool isNextUnderWay) {
            if (isNextUnderWay)
                waitForCopies<1>();
            else
                waitForCopies<0>();
            __syncthreads(); // everyone's copies are there
        }
    };

    /// c (16 rows a warp, kN) += a bᵀ; a (rows, kK), b (kN, kK).
    template <int kN, int kK> __device__ static void startTiles(float (&c)[kN / 8][4], const Tile& a, const Tile& b) {
        const int lane = static_cast<int>(threadIdx.x) % 32, aRow = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
        for (int k = 0; k < kK; k += 16) {
            std::uint32_t left[4], right[4];
            loadMatrices(left, pieceOf(a, aRow + lane % 16, k + lane / 16 * 8));
#pragma unroll
            for (int n = 0; n < kN; n += 16) {
                loadMatrices(right, pieceOf(b, n + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8));
                multiplyAdd(c[n / 8], left, right[0], right[1]);
                multiplyAdd(c[n / 8 + 1], left, right[2], right[3]);
            }
        }
    }

    /// c (16 rows a warp, kN) += a b; a (16, kK) in registers, b (kK, kN).
    template <int kN, int kK>
    __device__ static void startFactor(float (&c)[kN / 8][4], const std::uint32_t (&a)[kK / 16][4], const Tile& b) {
        const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
        for (int k = 0; k < kK; k += 16) {
#pragma unroll
            for (int n = 0; n < kN; n += 16) {
                std::uint32_t right[4];
                loadMatricesTransposed(right, pieceOf(b, k + lane % 16, n + lane / 16 * 8));
                multiplyAdd(c[n / 8], a[k / 16], right[0], right[1]);
                multiplyAdd(c[n / 8 + 1], a[k / 16], right[2], right[3]);
            }
        }
    }

    template <int, typename... R> __device__ static void wait(R&...) {} // mma.sync is done when it returns
};

} // namespace

std::unique_ptr<Attention> makeMmaAttention() {
    return std::make_unique<OwnAttention<MmaEngine>>();
}

} // namespace telehelm::kernels::cuda
