// SPDX-License-Identifier: Apache-2.0
#include "grpc/status.h"

#include "convert/convert.h"

namespace telehelm::ipc {
namespace {

grpc::StatusCode statusCode(ErrorCode code) {
    switch (code) {
    case ErrorCode::InvalidArgument: return grpc::StatusCode::INVALID_ARGUMENT;
    case ErrorCode::NotFound: return grpc::StatusCode::NOT_FOUND;
    case ErrorCode::AlreadyExists: return grpc::StatusCode::ALREADY_EXISTS;
    case ErrorCode::FailedPrecondition: return grpc::StatusCode::FAILED_PRECONDITION;
    case ErrorCode::Unavailable: return grpc::StatusCode::UNAVAILABLE;
    case ErrorCode::VersionMismatch: return grpc::StatusCode::FAILED_PRECONDITION;
    case ErrorCode::DataLoss: return grpc::StatusCode::DATA_LOSS;
    case ErrorCode::ResourceExhausted: return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case ErrorCode::Cancelled: return grpc::StatusCode::CANCELLED;
    case ErrorCode::Internal: return grpc::StatusCode::INTERNAL;
    }
    return grpc::StatusCode::INTERNAL;
}

// ErrorCode counts from 0, the wire's from 1 (0 means "not set").
v1::ErrorCode wireCode(ErrorCode code) { return static_cast<v1::ErrorCode>(static_cast<int>(code) + 1); }

Error ownError(const grpc::Status& status, const std::string& address, int timeoutMs) {
    switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
        return {ErrorCode::Unavailable, "no daemon answers (" + status.error_message() + ")", address};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
        return {ErrorCode::Unavailable, "the daemon did not answer within " + std::to_string(timeoutMs / 1000.0).substr(0, 4) + " s",
                address};
    case grpc::StatusCode::UNIMPLEMENTED:
        return {ErrorCode::VersionMismatch, "the daemon does not know this call; it speaks another version of Telehelm's protocol",
                address};
    case grpc::StatusCode::CANCELLED: return {ErrorCode::Cancelled, "the call was cancelled", address};
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return {ErrorCode::ResourceExhausted, status.error_message(), address};
    case grpc::StatusCode::INVALID_ARGUMENT: return {ErrorCode::InvalidArgument, status.error_message(), address};
    default: return {ErrorCode::Internal, status.error_message(), address};
    }
}

} // namespace

grpc::Status toStatus(const Error& error) {
    v1::ErrorDetail detail;
    detail.set_code(wireCode(error.code));
    // A peer's headers are bounded (8 KiB by default), and a status travels in them.
    constexpr std::size_t kMost = 3000;
    detail.set_message(mendUtf8(std::string_view(error.message).substr(0, kMost)));
    detail.set_context(mendUtf8(std::string_view(error.context).substr(0, kMost / 3)));
    return {statusCode(error.code), detail.message().substr(0, 200), detail.SerializeAsString()};
}

Error fromStatus(const grpc::Status& status, const std::string& address, int timeoutMs) {
    v1::ErrorDetail detail;
    const bool ours = !status.error_details().empty() && detail.ParseFromString(status.error_details()) &&
                      detail.code() != v1::ERROR_CODE_UNSPECIFIED && v1::ErrorCode_IsValid(detail.code());
    if (!ours)
        return ownError(status, address, timeoutMs);
    return {static_cast<ErrorCode>(static_cast<int>(detail.code()) - 1), detail.message(), detail.context()};
}

} // namespace telehelm::ipc
