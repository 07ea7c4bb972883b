// SPDX-License-Identifier: Apache-2.0
// What attention's kernels share: tiles in shared memory and fragments in registers, those of one engine of matrix products as of the
// other (mma.sync, wgmma): a warp owns 16 rows of a product, lane l of it rows l / 4 and l / 4 + 8 and, of each 8 columns, l % 4 · 2 and
// the next. So what a product left in registers is, rounded to bf16, the left factor of the next one.
#pragma once

#include <cmath>

#include "rows.cuh"

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

} // namespace telehelm::kernels::cuda
