// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include <mpi.h>

namespace telehelm::comm {

inline void checkMpi(int status, const char* expression) {
    if (status != MPI_SUCCESS) {
        char text[MPI_MAX_ERROR_STRING] = {};
        int length = 0;
        MPI_Error_string(status, text, &length);
        throw std::runtime_error(std::string(expression) + ": " + std::string(text, static_cast<std::size_t>(length)));
    }
}

} // namespace telehelm::comm

/// Throws with the call's own text when it fails.
#define TELEHELM_MPI(call) ::telehelm::comm::checkMpi((call), #call)
