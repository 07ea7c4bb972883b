// SPDX-License-Identifier: Apache-2.0
// The ways between neighbouring stages whose models are on devices. NCCL may hold a stream until the peer comes, and both
// directions of a pipeline on one stream would wait for each other: so each way has a communicator and a stream of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/device_communicator.h"
#include "telehelm/kernels/cuda/runtime.h"

namespace telehelm::train {

/// One end of a way; its messages arrive in the order in which they are sent.
struct DeviceWay {
    static constexpr int kSender = 0, kReceiver = 1;
    std::unique_ptr<comm::Communicator> host; // which `ranks` may borrow
    std::unique_ptr<comm::DeviceCommunicator> ranks;
    kernels::cuda::Stream stream;
};

/// A stage's ends; null where it has no such neighbour.
struct DeviceLinks {
    std::unique_ptr<DeviceWay> inputs, outputs;             // activations, from the stage before and to the one behind
    std::unique_ptr<DeviceWay> gradients, outputGradients; // from the stage behind and to the one before
};

using MakeDeviceRanks = std::function<std::unique_ptr<comm::DeviceCommunicator>(comm::Communicator& host, const std::string& axis)>;
/// Collective over `stages`. `isRing`: the last stage's chunks go on at the first stage.
[[nodiscard]] DeviceLinks makeDeviceLinks(comm::Communicator& stages, bool isRing, const MakeDeviceRanks& make);

} // namespace telehelm::train
