// SPDX-License-Identifier: Apache-2.0
// Frames of the trainer link: version tag | kind (one byte) | protobuf message of that kind (trainer.proto).
#pragma once

#include <string_view>

namespace telehelm::ipc {

inline constexpr std::string_view kLinkTag = "telehelm/1"; // the number is kLinkVersion

enum class FrameKind : char {
    Hello = 'H',   // trainer → daemon
    Batch = 'B',
    Pulse = 'P',   // both ways, once a second
    Goodbye = 'G',
    Welcome = 'W', // daemon → trainer
    Ack = 'A',
    Nack = 'N',
    Command = 'C',
    Refusal = 'R',
};

} // namespace telehelm::ipc
