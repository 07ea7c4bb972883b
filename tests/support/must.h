// SPDX-License-Identifier: Apache-2.0
// What a test needs to go on at all.
#pragma once

#include <type_traits>
#include <utility>

#include <QtGlobal>

#include "telehelm/ipc/result.h"

namespace telehelm::tests {

/// The value; an Error ends the program with its text.
template <typename T>
T must(Result<T> result) {
    if (!result)
        qFatal("%s", result.error().text().c_str());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

} // namespace telehelm::tests
