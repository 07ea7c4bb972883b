// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "gemm.h"
#include "row_math.h"

namespace telehelm::kernels::cpu {

namespace {

/// Query rows handled at once: scores of a block, (kRows, T), stay in the cache, and what lies right of its last row is skipped.
constexpr std::int64_t kRows = 32;

/// One block of query rows [from, to), which sees keys [0, to).
struct Block {
    std::int64_t from, to;
    [[nodiscard]] std::int64_t rows() const { return to - from; }
};

Block blockAt(std::int64_t from, std::int64_t T) {
    return {from, std::min(from + kRows, T)};
}

/// Row-wise exp(S − max) with zeros right of the diagonal; sets lse and scales each output row later by 1 / sum.
void softmaxBlock(float* scores, float* lse, float* inverseSums, const Block& block) {
    for (std::int64_t i = block.from; i < block.to; ++i) {
        float* row = scores + (i - block.from) * block.to;
        const float largest = rowMax(row, i + 1);
        const float sum = rowExp(row, row, largest, i + 1);
        std::fill(row + i + 1, row + block.to, 0.0F);
        lse[i] = largest + std::log(sum);
        inverseSums[i - block.from] = 1.0F / sum;
    }
}

/// scores ↦ P, dP ↦ dS.
void gradientBlock(float* scores, float* dScores, const float* lse, const float* deltas, const Block& block) {
    for (std::int64_t i = block.from; i < block.to; ++i) {
        float* p = scores + (i - block.from) * block.to;
        float* d = dScores + (i - block.from) * block.to;
        const float shift = lse[i], delta = deltas[i - block.from];
#pragma omp simd
        for (std::int64_t j = 0; j <= i; ++j) {
            p[j] = vectorExp(p[j] - shift);
            d[j] = p[j] * (d[j] - delta);
        }
        std::fill(p + i + 1, p + block.to, 0.0F);
        std::fill(d + i + 1, d + block.to, 0.0F);
    }
}

} // namespace

std::int64_t attentionScratch(const AttentionShape& shape) {
    return 2 * kRows * shape.T + kRows;
}

void attentionForward(float* out, float* lse, const float* q, const float* k, const float* v, const AttentionShape& shape,
                      float scale, float* scratch) {
    const std::int64_t D = shape.D;
    float *inverseSums = scratch, *scores = scratch + kRows;
    for (std::int64_t from = 0; from < shape.T; from += kRows) {
        const Block block = blockAt(from, shape.T);
        gemm(scores, block.to, block.rows(), block.to, D, scale, {q + from * shape.stride, shape.stride}, {k, shape.stride, true},
             0.0F);
        softmaxBlock(scores, lse, inverseSums, block);
        float* rows = out + from * shape.outStride;
        gemm(rows, shape.outStride, block.rows(), D, block.to, 1.0F, {scores, block.to}, {v, shape.stride}, 0.0F);
        for (std::int64_t i = 0; i < block.rows(); ++i) {
#pragma omp simd
            for (std::int64_t d = 0; d < D; ++d)
                rows[i * shape.outStride + d] *= inverseSums[i];
        }
    }
}

void attentionBackward(float* dq, float* dk, float* dv, const float* dOut, const float* q, const float* k, const float* v,
                       const float* out, const float* lse, const AttentionShape& shape, float scale, float* scratch) {
    const std::int64_t D = shape.D, stride = shape.stride;
    float *deltas = scratch, *scores = scratch + kRows, *dScores = scores + kRows * shape.T;
    for (std::int64_t t = 0; t < shape.T; ++t) {
        std::fill(dk + t * stride, dk + t * stride + D, 0.0F);
        std::fill(dv + t * stride, dv + t * stride + D, 0.0F);
    }
    for (std::int64_t from = 0; from < shape.T; from += kRows) {
        const Block block = blockAt(from, shape.T);
        const std::int64_t rows = block.rows(), keys = block.to;
        const Matrix qRows{q + from * stride, stride}, dRows{dOut + from * shape.outStride, shape.outStride};
        for (std::int64_t i = 0; i < rows; ++i)
            deltas[i] = rowDot(dRows.data + i * shape.outStride, out + (from + i) * shape.outStride, D);
        gemm(scores, keys, rows, keys, D, scale, qRows, {k, stride, true}, 0.0F);
        gemm(dScores, keys, rows, keys, D, 1.0F, dRows, {v, stride, true}, 0.0F);
        gradientBlock(scores, dScores, lse, deltas, block);
        gemm(dv, stride, keys, D, rows, 1.0F, {scores, keys, true}, dRows, 1.0F);
        gemm(dk, stride, keys, D, rows, scale, {dScores, keys, true}, qRows, 1.0F);
        gemm(dq + from * stride, stride, rows, D, keys, scale, {dScores, keys}, {k, stride}, 0.0F);
    }
}

} // namespace telehelm::kernels::cpu
