// SPDX-License-Identifier: GPL-3.0-or-later
#include "session/session.h"
#include "telehelm/ipc/control_client.h"

namespace telehelm::app {

SessionLinks SessionLinks::real() {
    return {[](const std::string& address) -> std::shared_ptr<ipc::ControlApi> { return ipc::makeControlClient(address); },
            [](const std::string& endpoint, std::uint32_t protocol) { return ipc::makeLiveSubscriber(endpoint, {{}, {}, protocol}); }};
}

} // namespace telehelm::app
