// SPDX-License-Identifier: Apache-2.0
// The life of an attempt as a pure function: which state follows when something happens.
#pragma once

#include "telehelm/ipc/types.h"

namespace telehelm::supervise {

enum class Happening {
    TrainerSaidHello,
    PauseAccepted,
    Held, // every rank stands at a step boundary
    ResumeAccepted,
    Resumed,
    StopAccepted,
    CommandRefused, // the trainer did not do it: back to what it does
    EndedFinished,
    EndedStopped,
    EndedFailed,
    Vanished, // process gone, nobody saw how
    Replaced, // a restart took over
};

/// The state after it; the same state where it changes nothing. An attempt that has ended stays ended.
[[nodiscard]] ipc::AttemptState next(ipc::AttemptState state, Happening happening);

} // namespace telehelm::supervise
