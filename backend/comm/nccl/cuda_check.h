// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include <cuda_runtime_api.h>

namespace telehelm::comm {

inline void checkCuda(cudaError_t status, const char* call) {
    if (status != cudaSuccess) {
        static_cast<void>(cudaGetLastError()); // told here: a later launch must not be blamed for it
        throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
    }
}

/// Of a query. CUDA remembers "not ready" as its last error, which the next launch's check would find.
inline bool isReady(cudaError_t status, const char* call) {
    if (status == cudaErrorNotReady) {
        static_cast<void>(cudaGetLastError());
        return false;
    }
    checkCuda(status, call);
    return true;
}

} // namespace telehelm::comm

#define TELEHELM_CUDA(call) ::telehelm::comm::checkCuda((call), #call)
