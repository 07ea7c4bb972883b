// SPDX-License-Identifier: Apache-2.0
// The ops of kernels/cuda where there is no CUDA. They take a Stream, and there is none.
#include "telehelm/kernels/cuda/ops.h"
#include "absent.h"
#include "telehelm/kernels/cuda/attention.h"
#include "telehelm/kernels/cuda/gemm.h"

namespace telehelm::kernels::cuda {

using I = std::int64_t;
using Token = std::int32_t;

void embeddingForward(Bf16*, const Bf16*, const Token*, const Vocabulary&, I, I, float, const Stream&) {
    absent();
}
void embeddingBackward(float*, const Bf16*, const Token*, const Vocabulary&, I, I, float, const Stream&) {
    absent();
}
void rmsNormForward(Bf16*, float*, const Bf16*, const Bf16*, I, I, float, const Stream&) {
    absent();
}
void addRmsNormForward(Bf16*, float*, Bf16*, const Bf16*, const Bf16*, const Bf16*, I, I, float, const Stream&) {
    absent();
}
std::size_t rmsNormScratch(I) {
    absent();
}
void rmsNormBackward(Bf16*, float*, const Bf16*, const Bf16*, const Bf16*, const Bf16*, const float*, I, I, void*,
                     const Stream&) {
    absent();
}
void ropeForward(Bf16*, const float*, const float*, const RopeShape&, const Stream&) {
    absent();
}
void ropeBackward(Bf16*, const float*, const float*, const RopeShape&, const Stream&) {
    absent();
}
void swigluForward(Bf16*, const Bf16*, I, I, const Stream&) {
    absent();
}
void swigluBackward(Bf16*, const Bf16*, const Bf16*, I, I, const Stream&) {
    absent();
}
void crossEntropyForward(float*, const Logits&, const Token*, const Stream&) {
    absent();
}
void crossEntropyForwardBackward(float*, const Logits&, const Token*, float, const Stream&) {
    absent();
}
void vocabMax(float*, const Logits&, const Stream&) {
    absent();
}
void vocabSums(float*, float*, const Logits&, const float*, const Token*, I, const Stream&) {
    absent();
}
void vocabNats(float*, const float*, const float*, I, const Stream&) {
    absent();
}
void vocabGradient(const Logits&, const float*, const float*, const Token*, I, float, const Stream&) {
    absent();
}
void toBf16(Bf16*, const float*, I, const Stream&) {
    absent();
}
void toFloat(float*, const Bf16*, I, const Stream&) {
    absent();
}
void add(Bf16*, const Bf16*, const Bf16*, I, const Stream&) {
    absent();
}
void adamw(float*, Bf16*, float*, float*, const float*, const AdamWChunk*, I, const AdamWGroups&, const Stream&) {
    absent();
}
void sumOfSquares(double*, const float*, I, double*, const Stream&) {
    absent();
}
void sum(double*, const float*, I, double*, const Stream&) {
    absent();
}
void sumOfSquares(double*, const float*, const AdamWChunk*, I, double*, const Stream&) {
    absent();
}
void countNonFinite(Token*, const Bf16*, I, const Stream&) {
    absent();
}

struct Gemm::State {};
Gemm::Gemm() {
    absent();
}
Gemm::~Gemm() = default;
Gemm::Gemm(Gemm&&) noexcept = default;
Gemm& Gemm::operator=(Gemm&&) noexcept = default;
void Gemm::forward(Bf16*, const Bf16*, const Bf16*, const Bf16*, const LinearShape&, float, const Stream&, I) {
    absent();
}
void Gemm::backwardInput(Bf16*, const Bf16*, const Bf16*, const LinearShape&, float, const Stream&, I) {
    absent();
}
void Gemm::backwardWeight(float*, const Bf16*, const Bf16*, const LinearShape&, float, const Stream&, I) {
    absent();
}
void Gemm::measureCandidates(bool) {
    absent();
}

double calibrateGemmGflops() {
    absent();
}

std::vector<std::string> attentionKinds() {
    return {};
}
std::unique_ptr<Attention> makeAttention(const std::string&) {
    absent();
}
AttentionChoice chooseAttention(const AttentionBatch&) {
    absent();
}

} // namespace telehelm::kernels::cuda
