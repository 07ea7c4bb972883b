// SPDX-License-Identifier: Apache-2.0
// Attention's forward: a block owns some queries and walks over the keys with a running maximum and sum.
#pragma once

#include "attention_tiles.cuh"

namespace telehelm::kernels::cuda {

/// What a thread knows of its two rows after the keys so far: Σ exp(score − largest) · v, the largest score, Σ exp(score −
/// largest).
template <int kD> struct RunningRows {
    float o[kD / 8][4], largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0F, 0.0F};
    int row; // the first of them, the other one is 8 on
};

/// One tile of scores of the forward: masks, moves the running maximum, leaves exp(score − maximum) in `s`.
template <int kKeys, int kD>
__device__ inline void softmaxStep(float (&s)[kKeys / 8][4], RunningRows<kD>& rows, int firstKey, bool isMasked,
                                   float scaleLog2) {
    auto& [o, largest, sum, row] = rows;
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

/// A block's tiles and how they come there. Shared memory: q, then two stages of k and v, then the engine's barriers.
template <typename Engine, int kD> class ForwardTiles {
public:
    static constexpr int kRows = Engine::kWarps * 16, kKeys = Engine::kForwardKeys;

    /// `count` tiles of keys; `memory` the block's.
    __device__ ForwardTiles(unsigned char* memory, const typename Engine::Source& qkv, int H, int firstRow, int count)
        : q{memory, kRows}, m_pipeline(memory + tileBytes(kRows, kD) + 2 * kStage), m_qkv(qkv), m_place(headPlace(H)), m_H(H),
          m_firstRow(firstRow), m_count(count) {}

    const Tile q;
    [[nodiscard]] __device__ Tile keys(int tile) const { return {q.at + tileBytes(kRows, kD) + tile % 2 * kStage, kKeys}; }
    [[nodiscard]] __device__ Tile values(int tile) const { return {keys(tile).at + tileBytes(kKeys, kD), kKeys}; }

    /// A tile whole.
    __device__ void fetch(int tile) {
        m_pipeline.begin(tile % 2, keyBytes(tile) + tileBytes(kKeys, kD));
        loadKeys(tile, tile % 2);
        loadValues(tile, tile % 2);
        m_pipeline.end();
    }
    __device__ void wait(int tile) { m_pipeline.wait(tile % 2, tile + 1 < m_count); }

    // Or in parts, each with stages of its own: keys are done with a tile earlier. Tiles beyond the last are left out.
    __device__ void fetchKeys(int tile) {
        if (tile < m_count) {
            m_pipeline.begin(tile % 2, keyBytes(tile));
            loadKeys(tile, tile % 2);
        }
    }
    __device__ void fetchValues(int tile) {
        if (tile < m_count) {
            m_pipeline.begin(2 + tile % 2, tileBytes(kKeys, kD));
            loadValues(tile, 2 + tile % 2);
        }
    }
    __device__ void waitForKeys(int tile) { m_pipeline.wait(tile % 2, false); }
    __device__ void waitForValues(int tile) { m_pipeline.wait(2 + tile % 2, false); }

private:
    static constexpr int kStage = 2 * tileBytes(kKeys, kD);
    static constexpr int keyBytes(int tile) { return tileBytes(kKeys, kD) + (tile == 0 ? tileBytes(kRows, kD) : 0); }

    /// The queries come with the first keys.
    __device__ void loadKeys(int tile, int stage) {
        if (tile == 0)
            m_pipeline.template load<kRows, kD>(stage, m_qkv, q, m_firstRow, m_place.head, m_place.batch);
        m_pipeline.template load<kKeys, kD>(stage, m_qkv, keys(tile), tile * kKeys, m_H + m_place.head, m_place.batch);
    }
    __device__ void loadValues(int tile, int stage) {
        m_pipeline.template load<kKeys, kD>(stage, m_qkv, values(tile), tile * kKeys, 2 * m_H + m_place.head, m_place.batch);
    }

    typename Engine::Pipeline m_pipeline;
    const typename Engine::Source& m_qkv;
    HeadPlace m_place;
    int m_H, m_firstRow, m_count;
};

/// A tile's scores, weighed, as the left factor of its values.
template <int kKeys, int kD>
__device__ inline void weigh(std::uint32_t (&p)[kKeys / 16][4], float (&s)[kKeys / 8][4], RunningRows<kD>& rows, int tile,
                             bool isMasked, float scaleLog2) {
    softmaxStep<kKeys, kD>(s, rows, tile * kKeys, isMasked, scaleLog2);
    asFactor<kKeys>(p, s);
}

/// Each tile by itself.
template <typename Engine, int kD>
__device__ inline void walkInTurn(RunningRows<kD>& rows, ForwardTiles<Engine, kD>& tiles, int firstRow, int count,
                                  float scaleLog2) {
    constexpr int kKeys = Engine::kForwardKeys;
    tiles.fetch(0);
    for (int tile = 0; tile < count; ++tile) {
        if (tile + 1 < count)
            tiles.fetch(tile + 1);
        tiles.wait(tile);
        float s[kKeys / 8][4];
        clear(s);
        Engine::template startTiles<kKeys, kD>(s, tiles.q, tiles.keys(tile));
        Engine::template wait<0>(s);
        std::uint32_t p[kKeys / 16][4];
        weigh<kKeys, kD>(p, s, rows, tile, (tile + 1) * kKeys - 1 > firstRow, scaleLog2);
        Engine::template startFactor<kD, kKeys>(rows.o, p, tiles.values(tile));
        Engine::template wait<0>(rows.o, p);
        __syncthreads(); // before this stage is filled again
    }
}

/// A tile's scores are weighed while the next one's are made.
template <typename Engine, int kD> class OverlappedWalk {
public:
    __device__ OverlappedWalk(RunningRows<kD>& rows, ForwardTiles<Engine, kD>& tiles, float scaleLog2)
        : m_rows(rows), m_tiles(tiles), m_scaleLog2(scaleLog2) {}

    __device__ void run(int count) {
        static_assert(kKeys == Engine::kWarps * 16, "the last tile alone is masked");
        Scores even, odd;
        m_tiles.fetchKeys(0);
        m_tiles.fetchKeys(1);
        m_tiles.fetchValues(0);
        m_tiles.fetchValues(1);
        score(even, 0);
        Engine::template wait<0>(even);
        __syncthreads();
        m_tiles.fetchKeys(2);
        int tile = 0; // no branch between a product's start and its wait: ptxas would make one product wait for the other
        for (; tile + 2 < count; tile += 2) {
            step(even, odd, tile);
            step(odd, even, tile + 1);
        }
        if (tile + 1 < count) {
            step(even, odd, tile);
            addValues(odd, tile + 1, true);
        } else {
            addValues(even, tile, true);
        }
    }

private:
    static constexpr int kKeys = Engine::kForwardKeys;
    using Scores = float[kKeys / 8][4];

    __device__ void score(Scores& s, int tile) {
        m_tiles.waitForKeys(tile);
        clear(s);
        Engine::template startTiles<kKeys, kD>(s, m_tiles.q, m_tiles.keys(tile));
    }
    __device__ void addValues(Scores& s, int tile, bool isMasked) {
        std::uint32_t p[kKeys / 16][4];
        weigh<kKeys, kD>(p, s, m_rows, tile, isMasked, m_scaleLog2);
        m_tiles.waitForValues(tile);
        Engine::template startFactor<kD, kKeys>(m_rows.o, p, m_tiles.values(tile));
        Engine::template wait<0>(m_rows.o, p);
    }
    __device__ void step(Scores& s, Scores& next, int tile) {
        score(next, tile + 1);
        addValues(s, tile, false);
        Engine::template wait<0>(next);
        __syncthreads(); // before what all have read is filled again
        m_tiles.fetchKeys(tile + 3);
        m_tiles.fetchValues(tile + 2);
    }

    RunningRows<kD>& m_rows;
    ForwardTiles<Engine, kD>& m_tiles;
    float m_scaleLog2;
};

template <typename Engine, int kD>
__global__ void __launch_bounds__(Engine::kWarps * 32, 1)
    attentionForwardKernel(Bf16* out, float* lse, const __grid_constant__ typename Engine::Source qkv, int T, int H,
                           float scale) {
    constexpr int kRows = Engine::kWarps * 16, kKeys = Engine::kForwardKeys;
    const auto [head, batch] = headPlace(H);
    const int firstRow = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows; // the longest walks first
    const int lastRow = min(firstRow + kRows, T) - 1, count = lastRow / kKeys + 1;
    const int row = firstRow + static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
    ForwardTiles<Engine, kD> tiles(sharedMemory(), qkv, H, firstRow, count);
    RunningRows<kD> rows;
    rows.row = row;
    clear(rows.o);
    if constexpr (Engine::kOverlaps)
        OverlappedWalk<Engine, kD>(rows, tiles, scale * kLog2E).run(count);
    else
        walkInTurn<Engine, kD>(rows, tiles, firstRow, count, scale * kLog2E);

    for (float& half : rows.sum)
        half = rowSumOfQuad(half);
    storeRows<kD>(out + (static_cast<std::int64_t>(batch) * T * H + head) * kD, rows.o, row, T, static_cast<std::int64_t>(H) * kD,
                  1.0F / rows.sum[0], 1.0F / rows.sum[1]);
    if (threadIdx.x % 4 == 0) {
        float* const places = lse + static_cast<std::int64_t>(blockIdx.y) * T;
        if (row < T)
            places[row] = rows.largest[0] * scale + logf(rows.sum[0]);
        if (row + 8 < T)
            places[row + 8] = rows.largest[1] * scale + logf(rows.sum[1]);
    }
}

} // namespace telehelm::kernels::cuda
