// SPDX-License-Identifier: Apache-2.0
#include "supervise/attempt_machine.h"

namespace telehelm::supervise {

using ipc::AttemptState;

AttemptState next(AttemptState state, Happening happening) {
    if (!ipc::isLive(state))
        return state;
    switch (happening) {
    case Happening::TrainerSaidHello: return state == AttemptState::Starting ? AttemptState::Running : state;
    case Happening::PauseAccepted:
        return state == AttemptState::Running || state == AttemptState::Starting ? AttemptState::Pausing : state;
    case Happening::Held: return state == AttemptState::Stopping ? state : AttemptState::Paused;
    case Happening::ResumeAccepted: return state; // it is paused until the trainer says that it goes on
    case Happening::Resumed: return state == AttemptState::Stopping ? state : AttemptState::Running;
    case Happening::StopAccepted: return AttemptState::Stopping;
    case Happening::CommandRefused:
        return state == AttemptState::Pausing || state == AttemptState::Stopping ? AttemptState::Running : state;
    case Happening::EndedFinished: return AttemptState::Finished;
    case Happening::EndedStopped: return AttemptState::Stopped;
    case Happening::EndedFailed: return AttemptState::Failed;
    case Happening::Vanished: return AttemptState::Lost;
    case Happening::Replaced: return AttemptState::Superseded;
    }
    return state;
}

} // namespace telehelm::supervise
