// SPDX-License-Identifier: Apache-2.0
#include "comm/device_communicator.h"

namespace telehelm::comm {

Result<std::shared_ptr<DeviceMemory>> makeCudaMemory() {
    return fail(ErrorCode::FailedPrecondition, "this build has no CUDA: its toolkit was not found when it was configured");
}

} // namespace telehelm::comm
