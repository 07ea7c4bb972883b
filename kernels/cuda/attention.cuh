// SPDX-License-Identifier: Apache-2.0
// Flash attention over one engine of matrix products (mma.sync or wgmma), whose fragments agree: a warp owns 16 rows of a
// product, lane l of it rows l / 4 and l / 4 + 8 and, of each 8 columns, l % 4 · 2 and the next. So what a product left in
// registers is, rounded to bf16, the left factor of the next one.
//
// Forward: a block owns some queries and walks over the keys with a running maximum and sum. Backward: once with a block for some
// keys that walks over the queries (dk, dv), once with a block for some queries that walks over the keys (dq); both compute P
// from lse again. That is two products more than one walk with atomic adds would need, and gives the same bits each time.
#pragma once

#include <cmath>
#include <memory>

#include "rows.cuh"
#include "telehelm/kernels/cuda/attention.h"

namespace telehelm::kernels::cuda {

/// bf16 (rows, D) in shared memory: panels of 64 columns (128 bytes a row), the eight 16-byte pieces of a row permuted by the
/// row's number, as TMA's 128-byte swizzle does; so neither ldmatrix nor wgmma meets a bank conflict. Aligned to 1024 bytes.
struct Tile {
    unsigned char* at;
    int rows;
};

/// Where columns [column, column + 8) of a row lie; `column` is a multiple of 8.
__device__ inline unsigned char* pieceOf(const Tile& tile, int row, int column) {
    return tile.at + (column / 64 * tile.rows + row) * 128 + ((column / 8 % 8) ^ (row % 8)) * 16;
}

constexpr int tileBytes(int rows, int D) {
    return rows * D * 2;
}

constexpr float kLog2E = 1.4426950408889634F, kLn2 = 0.6931471805599453F;

/// Two neighbouring results.
__device__ inline void storePair(Bf16* to, float first, float second) {
    *reinterpret_cast<std::uint32_t*>(to) = packBf16(first, second);
}

/// Results (16 rows a warp, kN columns) as the left factor of a product over kN.
template <int kN> __device__ inline void asFactor(std::uint32_t (&a)[kN / 16][4], const float (&c)[kN / 8][4]) {
#pragma unroll
    for (int k = 0; k < kN / 16; ++k) {
        a[k][0] = packBf16(c[2 * k][0], c[2 * k][1]);
        a[k][1] = packBf16(c[2 * k][2], c[2 * k][3]);
        a[k][2] = packBf16(c[2 * k + 1][0], c[2 * k + 1][1]);
        a[k][3] = packBf16(c[2 * k + 1][2], c[2 * k + 1][3]);
    }
}

template <int kN> __device__ inline void clear(float (&c)[kN][4]) {
#pragma unroll
    for (int n = 0; n < kN; ++n)
        c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.0F;
}

/// Stores 16 rows a warp of kD columns, those before T, times `factor`. `rows`: the first row of the head; `stride` between rows.
template <int kD>
__device__ inline void storeRows(Bf16* head, const float (&c)[kD / 8][4], int row, int T, std::int64_t stride, float factor0,
                                 float factor1) {
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int n = 0; n < kD / 8; ++n) {
        if (row < T)
            storePair(head + row * stride + n * 8 + column, c[n][0] * factor0, c[n][1] * factor0);
        if (row + 8 < T)
            storePair(head + (row + 8) * stride + n * 8 + column, c[n][2] * factor1, c[n][3] * factor1);
    }
}

/// The largest (or the sum) over the four lanes that share a row.
__device__ inline float rowMax(float value) {
    value = fmaxf(value, fromLane(value, 1));
    return fmaxf(value, fromLane(value, 2));
}
__device__ inline float rowSumOfQuad(float value) {
    value += fromLane(value, 1);
    return value + fromLane(value, 2);
}

/// This block's head.
struct HeadPlace {
    int head, batch;
};
__device__ inline HeadPlace headPlace(int H) {
    return {static_cast<int>(blockIdx.y) % H, static_cast<int>(blockIdx.y) / H};
}

/// One tile of scores of the forward: masks, moves the running maximum, leaves exp(score − maximum) in `s`.
template <int kKeys, int kD>
__device__ inline void softmaxStep(float (&s)[kKeys / 8][4], float (&o)[kD / 8][4], float (&largest)[2], float (&sum)[2], int row,
                                   int firstKey, bool isMasked, float scaleLog2) {
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    if (isMasked) {
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                if (firstKey + n * 8 + column + i % 2 > row + i / 2 * 8)
                    s[n][i] = -INFINITY;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float most = largest[half]; // finite from the first tile on: key 0 is never masked
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
            most = fmaxf(most, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
        most = rowMax(most);
        const float shrink = exp2Fast((largest[half] - most) * scaleLog2), shift = most * scaleLog2;
        float added = 0;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
            s[n][2 * half] = exp2Fast(s[n][2 * half] * scaleLog2 - shift);
            s[n][2 * half + 1] = exp2Fast(s[n][2 * half + 1] * scaleLog2 - shift);
            added += s[n][2 * half] + s[n][2 * half + 1];
        }
        largest[half] = most;
        sum[half] = sum[half] * shrink + added; // of this lane's columns
#pragma unroll
        for (int n = 0; n < kD / 8; ++n) {
            o[n][2 * half] *= shrink;
            o[n][2 * half + 1] *= shrink;
        }
    }
}

// Shared memory: q, then two stages of k and v, then the engine's barriers.
template <typename Engine, int kD>
__global__ void __launch_bounds__(Engine::kWarps * 32, 1)
    attentionForwardKernel(Bf16* out, float* lse, const __grid_constant__ typename Engine::Source qkv, int T, int H,
                           float scale) {
    constexpr int kRows = Engine::kWarps * 16, kKeys = Engine::kForwardKeys, kStage = 2 * tileBytes(kKeys, kD);
    unsigned char* const memory = sharedMemory();
    const Tile q{memory, kRows};
    const auto keys = [&](int tile) { return Tile{memory + tileBytes(kRows, kD) + tile % 2 * kStage, kKeys}; };
    const auto values = [&](int tile) { return Tile{keys(tile).at + tileBytes(kKeys, kD), kKeys}; };
    typename Engine::Pipeline pipeline(memory + tileBytes(kRows, kD) + 2 * kStage);

    const auto [head, batch] = headPlace(H);
    const int firstRow = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows; // the longest walks first
    const int lastRow = min(firstRow + kRows, T) - 1, tiles = lastRow / kKeys + 1;
    const int row = firstRow + static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
    const auto loadKeys = [&](int tile, int stage) {
        if (tile == 0)
            pipeline.template load<kRows, kD>(stage, qkv, q, firstRow, head, batch);
        pipeline.template load<kKeys, kD>(stage, qkv, keys(tile), tile * kKeys, H + head, batch);
    };
    const auto loadValues = [&](int tile, int stage) {
        pipeline.template load<kKeys, kD>(stage, qkv, values(tile), tile * kKeys, 2 * H + head, batch);
    };
    const auto keyBytes = [](int tile) { return tileBytes(kKeys, kD) + (tile == 0 ? tileBytes(kRows, kD) : 0); };

    float o[kD / 8][4], largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0F, 0.0F};
    clear(o);
    /// From a tile's scores to the left factor of its values.
    const auto weigh = [&](std::uint32_t(&p)[kKeys / 16][4], float(&s)[kKeys / 8][4], int tile, bool isMasked) {
        softmaxStep<kKeys, kD>(s, o, largest, sum, row, tile * kKeys, isMasked, scale * kLog2E);
        asFactor<kKeys>(p, s);
    };
    if constexpr (Engine::kOverlaps) { // a tile's scores are weighed while the next one's are made
        static_assert(kKeys == kRows, "the last tile alone is masked");
        const auto fetchKeys = [&](int tile) {
            if (tile < tiles) {
                pipeline.begin(tile % 2, keyBytes(tile));
                loadKeys(tile, tile % 2);
            }
        };
        const auto fetchValues = [&](int tile) { // stages of their own: keys are done with a tile earlier
            if (tile < tiles) {
                pipeline.begin(2 + tile % 2, tileBytes(kKeys, kD));
                loadValues(tile, 2 + tile % 2);
            }
        };
        const auto score = [&](float(&s)[kKeys / 8][4], int tile) {
            pipeline.wait(tile % 2, false);
            clear(s);
            Engine::template startTiles<kKeys, kD>(s, q, keys(tile));
        };
        const auto addValues = [&](float(&s)[kKeys / 8][4], int tile, bool isMasked) {
            std::uint32_t p[kKeys / 16][4];
            weigh(p, s, tile, isMasked);
            pipeline.wait(2 + tile % 2, false);
            Engine::template startFactor<kD, kKeys>(o, p, values(tile));
            Engine::template wait<0>(o, p);
        };
        const auto step = [&](float(&s)[kKeys / 8][4], float(&next)[kKeys / 8][4], int tile) {
            score(next, tile + 1);
            addValues(s, tile, false);
            Engine::template wait<0>(next);
            __syncthreads(); // before what all have read is filled again
            fetchKeys(tile + 3);
            fetchValues(tile + 2);
        };
        float even[kKeys / 8][4], odd[kKeys / 8][4];
        fetchKeys(0);
        fetchKeys(1);
        fetchValues(0);
        fetchValues(1);
        score(even, 0);
        Engine::template wait<0>(even);
        __syncthreads();
        fetchKeys(2);
        int tile = 0; // no branch between a product's start and its wait: ptxas would make one product wait for the other
        for (; tile + 2 < tiles; tile += 2) {
            step(even, odd, tile);
            step(odd, even, tile + 1);
        }
        if (tile + 1 < tiles) {
            step(even, odd, tile);
            addValues(odd, tile + 1, true);
        } else {
            addValues(even, tile, true);
        }
    } else {
        const auto fetch = [&](int tile) {
            pipeline.begin(tile % 2, keyBytes(tile) + tileBytes(kKeys, kD));
            loadKeys(tile, tile % 2);
            loadValues(tile, tile % 2);
            pipeline.end();
        };
        fetch(0);
        for (int tile = 0; tile < tiles; ++tile) {
            if (tile + 1 < tiles)
                fetch(tile + 1);
            pipeline.wait(tile % 2, tile + 1 < tiles);
            float s[kKeys / 8][4];
            clear(s);
            Engine::template startTiles<kKeys, kD>(s, q, keys(tile));
            Engine::template wait<0>(s);
            std::uint32_t p[kKeys / 16][4];
            weigh(p, s, tile, (tile + 1) * kKeys - 1 > firstRow);
            Engine::template startFactor<kD, kKeys>(o, p, values(tile));
            Engine::template wait<0>(o, p);
            __syncthreads(); // before this stage is filled again
        }
    }

    for (float& half : sum)
        half = rowSumOfQuad(half);
    storeRows<kD>(out + (static_cast<std::int64_t>(batch) * T * H + head) * kD, o, row, T, static_cast<std::int64_t>(H) * kD,
                  1.0F / sum[0], 1.0F / sum[1]);
    if (threadIdx.x % 4 == 0) {
        float* const places = lse + static_cast<std::int64_t>(blockIdx.y) * T;
        if (row < T)
            places[row] = largest[0] * scale + logf(sum[0]);
        if (row + 8 < T)
            places[row + 8] = largest[1] * scale + logf(sum[1]);
    }
}

// delta (B, H, T) = Σ dOut · out of each row and head; a warp each.
template <int kD>
__global__ void attentionDeltaKernel(float* delta, const Bf16* dOut, const Bf16* out, std::int64_t heads, int T, int H) {
    const std::int64_t which = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32; // (b, t, h)
    if (which >= heads)
        return;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float sum = 0;
    if (lane < kD / 8) {
        const Row8 a = load8(dOut + which * kD + lane * 8), b = load8(out + which * kD + lane * 8);
        for (int j = 0; j < 8; ++j)
            sum += a.v[j] * b.v[j];
    }
    sum = warpSum(sum);
    const std::int64_t row = which / H, batch = row / T;
    if (lane == 0)
        delta[(batch * H + which % H) * T + row % T] = sum;
}

// dk and dv. Rows of the products are keys, columns queries. Shared memory: k, v, two stages of q and dOut, two of lse and delta,
// barriers.
template <typename Engine, int kD>
__global__ void __launch_bounds__(Engine::kWarps * 32, 1)
    attentionKeysKernel(Bf16* dQkv, const __grid_constant__ typename Engine::Source qkv,
                        const __grid_constant__ typename Engine::Source dOut, const float* lse, const float* delta, int T, int H,
                        float scale) {
    constexpr int kRows = Engine::kWarps * 16, kQueries = Engine::template kBackwardStep<kD>,
                  kStage = 2 * tileBytes(kQueries, kD);
    unsigned char* const memory = sharedMemory();
    const Tile k{memory, kRows}, v{memory + tileBytes(kRows, kD), kRows};
    const auto queries = [&](int stage) { return Tile{memory + 2 * tileBytes(kRows, kD) + stage * kStage, kQueries}; };
    const auto gradients = [&](int stage) { return Tile{queries(stage).at + tileBytes(kQueries, kD), kQueries}; };
    auto* const rowFacts = reinterpret_cast<float*>(memory + 2 * tileBytes(kRows, kD) + 2 * kStage);
    typename Engine::Pipeline pipeline(rowFacts + 4 * kQueries);

    const auto [head, batch] = headPlace(H);
    const int firstKey = static_cast<int>(blockIdx.x) * kRows, firstTile = firstKey / kQueries,
              tiles = (T + kQueries - 1) / kQueries;
    const int thread = static_cast<int>(threadIdx.x), key = firstKey + thread / 32 * 16 + thread % 32 / 4,
              column = thread % 4 * 2;
    const auto fetch = [&](int tile) {
        const int stage = tile % 2, query = tile * kQueries;
        const bool isFirst = tile == firstTile;
        pipeline.begin(stage, kStage + (isFirst ? 2 * tileBytes(kRows, kD) : 0));
        if (isFirst) {
            pipeline.template load<kRows, kD>(stage, qkv, k, firstKey, H + head, batch);
            pipeline.template load<kRows, kD>(stage, qkv, v, firstKey, 2 * H + head, batch);
        }
        pipeline.template load<kQueries, kD>(stage, qkv, queries(stage), query, head, batch);
        pipeline.template load<kQueries, kD>(stage, dOut, gradients(stage), query, head, batch);
        pipeline.end();
        if (thread < kQueries) { // read after a barrier
            const bool exists = query + thread < T;
            const std::int64_t at = static_cast<std::int64_t>(blockIdx.y) * T + query + thread;
            rowFacts[stage * 2 * kQueries + thread] = exists ? lse[at] * kLog2E : 0.0F;
            rowFacts[stage * 2 * kQueries + kQueries + thread] = exists ? delta[at] : 0.0F;
        }
    };

    float dK[kD / 8][4], dV[kD / 8][4];
    clear(dK);
    clear(dV);
    fetch(firstTile);
    __syncthreads(); // the first tile's facts; each later one's lie a tile's barrier back
    for (int tile = firstTile; tile < tiles; ++tile) {
        const int stage = tile % 2;
        if (tile + 1 < tiles)
            fetch(tile + 1);
        pipeline.wait(stage, tile + 1 < tiles);
        const float* const facts = rowFacts + stage * 2 * kQueries;
        float p[kQueries / 8][4], dS[kQueries / 8][4];
        clear(p);
        clear(dS);
        Engine::template startTiles<kQueries, kD>(p, k, queries(stage));
        Engine::template startTiles<kQueries, kD>(dS, v, gradients(stage));
        Engine::template wait<1>(p);
#pragma unroll
        for (int n = 0; n < kQueries / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int at = n * 8 + column + i % 2, query = tile * kQueries + at;
                const bool counts = query < T && key + i / 2 * 8 <= query;
                p[n][i] = counts ? exp2Fast(p[n][i] * (scale * kLog2E) - facts[at]) : 0.0F;
            }
        std::uint32_t factor[kQueries / 16][4];
        asFactor<kQueries>(factor, p);
        Engine::template startFactor<kD, kQueries>(dV, factor, gradients(stage));
        Engine::template wait<1>(dS);
#pragma unroll
        for (int n = 0; n < kQueries / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                dS[n][i] = p[n][i] * (dS[n][i] - facts[kQueries + n * 8 + column + i % 2]);
        Engine::template wait<0>(dV, factor);
        asFactor<kQueries>(factor, dS);
        Engine::template startFactor<kD, kQueries>(dK, factor, queries(stage));
        Engine::template wait<0>(dK, factor);
        __syncthreads(); // before this stage is filled again
    }

    const std::int64_t stride = 3 * static_cast<std::int64_t>(H) * kD;
    Bf16* const own = dQkv + static_cast<std::int64_t>(batch) * T * stride + head * kD;
    storeRows<kD>(own + static_cast<std::int64_t>(H) * kD, dK, key, T, stride, scale, scale);
    storeRows<kD>(own + 2 * static_cast<std::int64_t>(H) * kD, dV, key, T, stride, 1.0F, 1.0F);
}

// dq. Rows of the products are queries, columns keys. Shared memory: q, dOut, two stages of k and v, barriers.
template <typename Engine, int kD>
__global__ void __launch_bounds__(Engine::kWarps * 32, 1)
    attentionQueriesKernel(Bf16* dQkv, const __grid_constant__ typename Engine::Source qkv,
                           const __grid_constant__ typename Engine::Source dOut, const float* lse, const float* delta, int T,
                           int H, float scale) {
    constexpr int kRows = Engine::kWarps * 16, kKeys = Engine::template kBackwardStep<kD>, kStage = 2 * tileBytes(kKeys, kD);
    unsigned char* const memory = sharedMemory();
    const Tile q{memory, kRows}, gradient{memory + tileBytes(kRows, kD), kRows};
    const auto keys = [&](int stage) { return Tile{memory + 2 * tileBytes(kRows, kD) + stage * kStage, kKeys}; };
    const auto values = [&](int stage) { return Tile{keys(stage).at + tileBytes(kKeys, kD), kKeys}; };
    typename Engine::Pipeline pipeline(memory + 2 * tileBytes(kRows, kD) + 2 * kStage);

    const auto [head, batch] = headPlace(H);
    const int firstRow = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows; // the longest walks first
    const int lastRow = min(firstRow + kRows, T) - 1, tiles = lastRow / kKeys + 1;
    const int thread = static_cast<int>(threadIdx.x), row = firstRow + thread / 32 * 16 + thread % 32 / 4,
              column = thread % 4 * 2;
    const auto fetch = [&](int tile) {
        const int stage = tile % 2;
        pipeline.begin(stage, kStage + (tile == 0 ? 2 * tileBytes(kRows, kD) : 0));
        if (tile == 0) {
            pipeline.template load<kRows, kD>(stage, qkv, q, firstRow, head, batch);
            pipeline.template load<kRows, kD>(stage, dOut, gradient, firstRow, head, batch);
        }
        pipeline.template load<kKeys, kD>(stage, qkv, keys(stage), tile * kKeys, H + head, batch);
        pipeline.template load<kKeys, kD>(stage, qkv, values(stage), tile * kKeys, 2 * H + head, batch);
        pipeline.end();
    };
    float rowLse[2], rowDelta[2], dQ[kD / 8][4];
    clear(dQ);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const bool exists = row + half * 8 < T;
        const std::int64_t at = static_cast<std::int64_t>(blockIdx.y) * T + row + half * 8;
        rowLse[half] = exists ? lse[at] * kLog2E : 0.0F;
        rowDelta[half] = exists ? delta[at] : 0.0F;
    }
    fetch(0);
    for (int tile = 0; tile < tiles; ++tile) {
        if (tile + 1 < tiles)
            fetch(tile + 1);
        pipeline.wait(tile % 2, tile + 1 < tiles);
        float p[kKeys / 8][4], dS[kKeys / 8][4];
        clear(p);
        clear(dS);
        Engine::template startTiles<kKeys, kD>(p, q, keys(tile % 2));
        Engine::template startTiles<kKeys, kD>(dS, gradient, values(tile % 2));
        Engine::template wait<1>(p);
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const bool counts = tile * kKeys + n * 8 + column + i % 2 <= row + i / 2 * 8;
                p[n][i] = counts ? exp2Fast(p[n][i] * (scale * kLog2E) - rowLse[i / 2]) : 0.0F;
            }
        Engine::template wait<0>(dS);
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                dS[n][i] = p[n][i] * (dS[n][i] - rowDelta[i / 2]);
        std::uint32_t factor[kKeys / 16][4];
        asFactor<kKeys>(factor, dS);
        Engine::template startFactor<kD, kKeys>(dQ, factor, keys(tile % 2));
        Engine::template wait<0>(dQ, factor);
        __syncthreads(); // before this stage is filled again
    }
    const std::int64_t stride = 3 * static_cast<std::int64_t>(H) * kD;
    storeRows<kD>(dQkv + static_cast<std::int64_t>(batch) * T * stride + head * kD, dQ, row, T, stride, scale, scale);
}

/// The host's side of it.
template <typename Engine> class OwnAttention final : public Attention {
public:
    [[nodiscard]] std::string name() const override { return Engine::kName; }
    [[nodiscard]] std::size_t scratchBytes(const AttentionBatch& batch) override {
        return static_cast<std::size_t>(batch.B * batch.H * batch.T) * sizeof(float); // delta
    }

    void forward(Bf16* out, float* lse, const Bf16* qkv, const AttentionBatch& batch, float scale, void*,
                 const Stream& stream) override {
        check(batch);
        if (batch.D == 64)
            forwardOf<64>(out, lse, qkv, batch, scale, stream);
        else
            forwardOf<128>(out, lse, qkv, batch, scale, stream);
    }

    void backward(Bf16* dQkv, const Bf16* dOut, const Bf16* qkv, const Bf16* out, const float* lse, const AttentionBatch& batch,
                  float scale, void* scratch, const Stream& stream) override {
        check(batch);
        if (batch.D == 64)
            backwardOf<64>(dQkv, dOut, qkv, out, lse, batch, scale, static_cast<float*>(scratch), stream);
        else
            backwardOf<128>(dQkv, dOut, qkv, out, lse, batch, scale, static_cast<float*>(scratch), stream);
    }

private:
    static constexpr int kRows = Engine::kWarps * 16;
    static constexpr std::size_t kBarrierBytes = 64;

    static void check(const AttentionBatch& batch) {
        require(attentionTakes(batch.D), "attention: heads must be of 64 or 128");
        require(batch.B * batch.H <= 65535, "attention: at most 65535 pairs of sequence and head at once");
    }
    static dim3 gridOf(const AttentionBatch& batch) {
        return {static_cast<unsigned>((batch.T + kRows - 1) / kRows), static_cast<unsigned>(batch.B * batch.H)};
    }

    template <int kD>
    void forwardOf(Bf16* out, float* lse, const Bf16* qkv, const AttentionBatch& batch, float scale, const Stream& stream) {
        const std::size_t shared = tileBytes(kRows, kD) + 4 * tileBytes(Engine::kForwardKeys, kD) + kBarrierBytes;
        launch("attentionForward", attentionForwardKernel<Engine, kD>, gridOf(batch), Engine::kWarps * 32, shared, stream, out,
               lse, Engine::source(qkv, batch, 3 * batch.H), batch.T, batch.H, scale);
    }

    template <int kD>
    void backwardOf(Bf16* dQkv, const Bf16* dOut, const Bf16* qkv, const Bf16* out, const float* lse, const AttentionBatch& batch,
                    float scale, float* delta, const Stream& stream) {
        constexpr int kStep = Engine::template kBackwardStep<kD>;
        const std::int64_t heads = batch.B * batch.T * batch.H;
        const std::size_t shared = 2 * tileBytes(kRows, kD) + 4 * tileBytes(kStep, kD) + kBarrierBytes;
        const std::size_t facts = 4 * kStep * sizeof(float);
        const auto queries = Engine::source(qkv, batch, 3 * batch.H), gradients = Engine::source(dOut, batch, batch.H);
        launch("attentionDelta", attentionDeltaKernel<kD>, dim3(static_cast<unsigned>((heads + 7) / 8)), 256, 0, stream, delta,
               dOut, out, heads, batch.T, batch.H);
        launch("attentionKeys", attentionKeysKernel<Engine, kD>, gridOf(batch), Engine::kWarps * 32, shared + facts, stream, dQkv,
               queries, gradients, lse, delta, batch.T, batch.H, scale);
        launch("attentionQueries", attentionQueriesKernel<Engine, kD>, gridOf(batch), Engine::kWarps * 32, shared, stream, dQkv,
               queries, gradients, lse, delta, batch.T, batch.H, scale);
    }
};

} // namespace telehelm::kernels::cuda
