// SPDX-License-Identifier: Apache-2.0
// The one way in which expected failures travel: bad input, a missing file, a refused command.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

namespace telehelm {

enum class ErrorCode {
    InvalidArgument, // the caller asked for something that cannot be; says what would be right
    NotFound,
    AlreadyExists,
    FailedPrecondition, // right request, wrong moment (e.g. resume of a run that is not paused)
    Unavailable,        // the peer cannot be reached; trying again may help
    VersionMismatch,
    DataLoss, // checksum wrong, file cut off
    ResourceExhausted,
    Cancelled,
    Internal,
};

/// What went wrong, in words for the operator. `context` names the place: file:line, key, run, address.
struct Error {
    ErrorCode code = ErrorCode::Internal;
    std::string message;
    std::string context;

    /// "context: message", or the message alone where there is no context.
    [[nodiscard]] std::string text() const { return context.empty() ? message : context + ": " + message; }
};

template <typename T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorCode::NotFound, "no run named “x”", "telehelmd")`
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message, std::string context = {}) {
    return tl::unexpected<Error>(Error{code, std::move(message), std::move(context)});
}

} // namespace telehelm
