// SPDX-License-Identifier: Apache-2.0
// A communicator that tells somebody of each call before it is made and how long the caller was held in it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace telehelm::comm {

/// Collective: with all ranks. Receive: waits for what another rank has not sent yet. Send: what it takes to hand a message over.
/// Stream: until a device has done all that it was given, its own work and what it waits for from others.
enum class Call : std::uint8_t { Collective, Receive, Send, Stream };

/// Called on the caller's thread.
class CallListener {
public:
    virtual ~CallListener() = default;
    virtual void begins(Call call) = 0;
    virtual void ended(Call call, double ms) = 0;
};

/// Makes the call, told before and after.
template <typename Function> void watchedCall(CallListener& listener, Call call, const Function& function) {
    using Clock = std::chrono::steady_clock;
    listener.begins(call);
    const auto began = Clock::now();
    function();
    listener.ended(call, std::chrono::duration<double, std::milli>(Clock::now() - began).count());
}

/// Borrows both. What split() makes is not listened to.
[[nodiscard]] std::unique_ptr<Communicator> watchedCommunicator(Communicator& inner, CallListener& listener);

} // namespace telehelm::comm
