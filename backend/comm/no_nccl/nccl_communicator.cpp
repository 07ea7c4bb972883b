// SPDX-License-Identifier: Apache-2.0
#include "comm/device_communicator.h"

namespace telehelm::comm {
namespace {

tl::unexpected<Error> noNccl() {
    return fail(ErrorCode::FailedPrecondition, "this build has no NCCL: nccl.h and libnccl were not found when it was configured "
                                               "(Debian: libnccl-dev; PyPI: nvidia-nccl-cu13)");
}

} // namespace

Result<NcclId> makeNcclId() {
    return noNccl();
}

std::string ncclVersion() {
    return {};
}

Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(const NcclId&, int, int, std::string, NcclOptions) {
    return noNccl();
}

Result<std::unique_ptr<DeviceCommunicator>> makeNcclCommunicator(Communicator&, std::string, NcclOptions) {
    return noNccl();
}

} // namespace telehelm::comm
