// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/device.h"

namespace telehelm::kernels {

CudaReport cudaReport() {
    CudaReport report;
    report.whyNone = "this build has no CUDA kernels (configure with TELEHELM_CUDA=ON to require them)";
    return report;
}

} // namespace telehelm::kernels
