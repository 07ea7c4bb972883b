// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include <cuda_runtime_api.h>

namespace telehelm::comm {

inline void checkCuda(cudaError_t status, const char* call) {
    if (status != cudaSuccess) {
        throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
    }
}

} // namespace telehelm::comm

#define TELEHELM_CUDA(call) ::telehelm::comm::checkCuda((call), #call)
