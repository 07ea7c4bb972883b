// SPDX-License-Identifier: Apache-2.0
// Attention's backward: once with a block for some keys that walks over the queries (dk, dv), once with a block for some queries that walks
// over the keys (dq); both compute P from lse again. That is two products more than one walk with atomic adds would need, and gives the
// same bits each time.
#pragma once

#include "attention_tiles.cuh"

namespace telehelm::kernels::cuda {

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

} // namespace telehelm::kernels::cuda
