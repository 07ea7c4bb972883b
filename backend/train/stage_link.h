// SPDX-License-Identifier: Apache-2.0
// How the residual stream and its gradients get from one part of a model to the next: through the host's communicator in fp32, or
// from device to device in bf16.
#pragma once

#include <cstddef>
#include <memory>

#include "comm/communicator.h"
#include "model/model.h"
#include "parallel/schedule.h"

namespace telehelm::train {

class DeviceClock;
struct DeviceLinks;

/// Trainer thread only. A post never waits for its receiver; its ticket is settled once, before what it sends is overwritten.
/// Outgoing gradients leave from a ring of buffers. No allocation inside a step after the first. On a device "there", "settled" and
/// "overwritten" are in the order of the model's stream: no call waits on the host, but where what is sent is staged through it.
class StageLink {
public:
    virtual ~StageLink() = default;
    /// The input of (chunk, slot), from the stage before; returns when it is there. `action`: the forward that reads it.
    virtual void receiveInput(const parallel::Action& action, int slot, int from) = 0;
    /// The boundary gradient, from the stage behind. `action`: the backward that reads it.
    virtual void receiveGradient(const parallel::Action& action, int from) = 0;
    /// `action`: the receiver's. Returns a ticket.
    [[nodiscard]] virtual int postOutput(const parallel::Action& action, int chunk, int slot, int to) = 0;
    /// The boundary gradient, by way of `buffer` of the ring, whose last ticket is settled.
    [[nodiscard]] virtual int postGradient(const parallel::Action& action, std::size_t buffer, int to) = 0;
    virtual void settle(int ticket) = 0;

    // Between neighbouring chunks where there is only one stage.
    virtual void passOutput(int fromChunk, int fromSlot, int toChunk, int toSlot) = 0;
    virtual void keepGradient(std::size_t buffer) = 0;
    virtual void takeGradient(std::size_t buffer) = 0;

    /// Of the ring.
    [[nodiscard]] virtual std::size_t bytes() const = 0;
};

/// `boundary`: elements of a whole micro-batch; `buffers` of the ring. Both borrow all they are given.
[[nodiscard]] std::unique_ptr<StageLink> makeHostLink(model::Model& model, comm::Communicator& stages, std::int64_t boundary,
                                                      std::size_t buffers);
/// `links` may be without ends where there is only one stage. Throws std::logic_error for a model that is on no device.
[[nodiscard]] std::unique_ptr<StageLink> makeDeviceLink(model::Model& model, DeviceLinks& links, DeviceClock& clock,
                                                        std::int64_t boundary, std::size_t buffers);

} // namespace telehelm::train
