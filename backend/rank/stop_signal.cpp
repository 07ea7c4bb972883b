// SPDX-License-Identifier: Apache-2.0
#include "rank/stop_signal.h"

#include <csignal>

namespace telehelm::rank {
namespace {

// A signal handler reaches nothing but globals.
volatile std::sig_atomic_t stopCame = 0;

extern "C" void onStopSignal(int) {
    stopCame = 1;
}

} // namespace

void catchStopSignals() {
    struct sigaction action = {};
    action.sa_handler = onStopSignal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
}

bool stopSignalled() {
    return stopCame != 0;
}

} // namespace telehelm::rank
