// SPDX-License-Identifier: Apache-2.0
#include "telehelm/kernels/team.h"

#include <omp.h>

namespace telehelm::kernels {

void Worker::barrier() const {
    if (count > 1) {
#pragma omp barrier
    }
}

int availableThreads() {
    return std::max(1, omp_get_num_procs());
}

namespace detail {

void runTeam(int threads, void (*function)(void*, const Worker&), void* context) {
    if (threads <= 1) {
        function(context, Worker{});
        return;
    }
    omp_set_dynamic(0); // exactly as many as asked for: the split of work, and so the bits, depend on it
#pragma omp parallel num_threads(threads)
    function(context, Worker{omp_get_thread_num(), omp_get_num_threads()});
}

} // namespace detail

} // namespace telehelm::kernels
