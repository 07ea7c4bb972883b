// SPDX-License-Identifier: Apache-2.0
// What every device communicator must do, for whatever device is linked. Each throws std::runtime_error with what went wrong.
#pragma once

#include <functional>

#include "comm/device_communicator.h"

namespace telehelm::tests {

void checkDeviceCommunicator(comm::DeviceCommunicator& world);
/// Staged through `host`, with a large and with a tiny staging buffer.
void checkStaged(comm::Communicator& host);
/// On that many ranks as threads of this process.
void onThreads(int ranks, const std::function<void(comm::Communicator&)>& check);

} // namespace telehelm::tests
