// SPDX-License-Identifier: Apache-2.0
// Attention's forward: a block owns some queries and walks over the keys with a running maximum and sum.
#pragma once

#include "attention_tiles.cuh"

namespace telehelm::kernels::cuda {

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

} // namespace telehelm::kernels::cuda
