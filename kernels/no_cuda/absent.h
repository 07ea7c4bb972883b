// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

namespace telehelm::kernels::cuda {

[[noreturn]] inline void absent() {
    throw std::runtime_error("this build has no CUDA kernels (configure with TELEHELM_CUDA=ON to require them)");
}

} // namespace telehelm::kernels::cuda
