// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace telehelm::rank {

/// From now on SIGTERM and SIGINT ask for a clean end instead of killing; SIGPIPE is ignored.
void catchStopSignals();
[[nodiscard]] bool stopSignalled();

} // namespace telehelm::rank
