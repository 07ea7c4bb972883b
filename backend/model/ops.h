// SPDX-License-Identifier: Apache-2.0
// The two engines as types: which kernels a Transformer calls and in which precision.
#pragma once

#include "telehelm/kernels/attention.h"
#include "telehelm/kernels/cross_entropy.h"
#include "telehelm/kernels/elementwise.h"
#include "telehelm/kernels/embedding.h"
#include "telehelm/kernels/linear.h"
#include "telehelm/kernels/rms_norm.h"
#include "telehelm/kernels/rope.h"
#include "telehelm/kernels/swiglu.h"

namespace telehelm::model {

/// Plain loops: the specification that other engines are compared with; in double for finite differences.
template <typename T> struct ReferenceOps {
    using Real = T;
    static constexpr auto embeddingForward = &kernels::reference::embeddingForward<T>;
    static constexpr auto embeddingBackward = &kernels::reference::embeddingBackward<T>;
    static constexpr auto rmsNormForward = &kernels::reference::rmsNormForward<T>;
    static constexpr auto rmsNormBackward = &kernels::reference::rmsNormBackward<T>;
    static constexpr auto ropeForward = &kernels::reference::ropeForward<T>;
    static constexpr auto ropeBackward = &kernels::reference::ropeBackward<T>;
    static constexpr auto swigluForward = &kernels::reference::swigluForward<T>;
    static constexpr auto swigluBackward = &kernels::reference::swigluBackward<T>;
    static constexpr auto attentionScratch = &kernels::reference::attentionScratch;
    static constexpr auto attentionForward = &kernels::reference::attentionForward<T>;
    static constexpr auto attentionBackward = &kernels::reference::attentionBackward<T>;
    static constexpr auto crossEntropyForward = &kernels::reference::crossEntropyForward<T>;
    static constexpr auto crossEntropyForwardBackward = &kernels::reference::crossEntropyForwardBackward<T>;
    static constexpr auto linearForward = &kernels::reference::linearForward<T>;
    static constexpr auto linearBackwardInput = &kernels::reference::linearBackwardInput<T>;
    static constexpr auto linearBackwardWeight = &kernels::reference::linearBackwardWeight<T>;
    static constexpr auto vocabMax = &kernels::reference::vocabMax<T>;
    static constexpr auto vocabExp = &kernels::reference::vocabExp<T>;
    static constexpr auto vocabGradient = &kernels::reference::vocabGradient<T>;
    static constexpr auto addTo = &kernels::reference::addTo<T>;
};

/// BLAS and vectorised loops, fp32.
struct CpuOps {
    using Real = float;
    static constexpr auto embeddingForward = &kernels::cpu::embeddingForward;
    static constexpr auto embeddingBackward = &kernels::cpu::embeddingBackward;
    static constexpr auto rmsNormForward = &kernels::cpu::rmsNormForward;
    static constexpr auto rmsNormBackward = &kernels::cpu::rmsNormBackward;
    static constexpr auto ropeForward = &kernels::cpu::ropeForward;
    static constexpr auto ropeBackward = &kernels::cpu::ropeBackward;
    static constexpr auto swigluForward = &kernels::cpu::swigluForward;
    static constexpr auto swigluBackward = &kernels::cpu::swigluBackward;
    static constexpr auto attentionScratch = &kernels::cpu::attentionScratch;
    static constexpr auto attentionForward = &kernels::cpu::attentionForward;
    static constexpr auto attentionBackward = &kernels::cpu::attentionBackward;
    static constexpr auto crossEntropyForward = &kernels::cpu::crossEntropyForward;
    static constexpr auto crossEntropyForwardBackward = &kernels::cpu::crossEntropyForwardBackward;
    static constexpr auto linearForward = &kernels::cpu::linearForward;
    static constexpr auto linearBackwardInput = &kernels::cpu::linearBackwardInput;
    static constexpr auto linearBackwardWeight = &kernels::cpu::linearBackwardWeight;
    static constexpr auto vocabMax = &kernels::cpu::vocabMax;
    static constexpr auto vocabExp = &kernels::cpu::vocabExp;
    static constexpr auto vocabGradient = &kernels::cpu::vocabGradient;
    static constexpr auto addTo = &kernels::cpu::addTo;
};

} // namespace telehelm::model
