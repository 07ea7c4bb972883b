// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/op_trail.h"

#include <algorithm>

#include "comm/nccl/cuda_check.h"

namespace telehelm::comm {

OpTrail::~OpTrail() {
    for (const Op& op : m_ops) {
        if (op.done != nullptr) {
            cudaEventDestroy(op.done);
        }
    }
}

void OpTrail::add(const char* call, std::size_t count, const char* unit, cudaStream_t stream) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    TELEHELM_CUDA(cudaStreamIsCapturing(stream, &capture));
    if (capture != cudaStreamCaptureStatusNone) {
        return;
    }
    Op& op = m_ops[m_added % kMost];
    if (op.done == nullptr) {
        TELEHELM_CUDA(cudaEventCreateWithFlags(&op.done, cudaEventDisableTiming));
    }
    op.call = call;
    op.count = count;
    op.unit = unit;
    TELEHELM_CUDA(cudaEventRecord(op.done, stream));
    ++m_added;
}

std::string OpTrail::oldestUnfinished() {
    m_finished = std::max(m_finished, m_added - std::min(m_added, kMost)); // older ones are forgotten
    for (; m_finished < m_added; ++m_finished) {
        const Op& op = m_ops[m_finished % kMost];
        if (!isReady(cudaEventQuery(op.done), "cudaEventQuery")) {
            return std::string(op.call) + " of " + std::to_string(op.count) + " " + op.unit;
        }
    }
    return {};
}

} // namespace telehelm::comm
