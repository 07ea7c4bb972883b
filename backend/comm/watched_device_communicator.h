// SPDX-License-Identifier: Apache-2.0
// A device communicator that tells somebody when the host goes into a call and when it comes back, as watched_communicator.h does
// for the host's.
#pragma once

#include <memory>

#include "comm/device_communicator.h"
#include "comm/watched_communicator.h"

namespace telehelm::comm {

/// Owns `inner`, borrows the listener; null stays null. What split() makes is not listened to. For communicators that talk by
/// themselves (NCCL): what is staged through a watched host communicator is heard there.
[[nodiscard]] std::unique_ptr<DeviceCommunicator> watchedCommunicator(std::unique_ptr<DeviceCommunicator> inner,
                                                                      CallListener& listener);

} // namespace telehelm::comm
