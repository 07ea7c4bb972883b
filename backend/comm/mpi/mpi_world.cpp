// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi_world.h"

#include <array>
#include <cstdlib>

#include "comm/mpi/mpi_check.h"
#include "comm/mpi/mpi_communicator.h"

namespace telehelm::comm {

bool launchedByMpi() {
    constexpr std::array kMarks = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"};
    for (const char* mark : kMarks) {
        if (std::getenv(mark) != nullptr) {
            return true;
        }
    }
    return false;
}

MpiWorld::MpiWorld() {
    // A rank that waits in a collective spins; on a machine that draws windows and stores points it must let others go first.
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
    int provided = 0;
    TELEHELM_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided));
    TELEHELM_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
}

MpiWorld::~MpiWorld() {
    MPI_Finalize();
}

std::unique_ptr<Communicator> MpiWorld::communicator() const {
    return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false);
}

int MpiWorld::localRanks() const {
    MPI_Comm node = MPI_COMM_NULL;
    TELEHELM_MPI(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
    int size = 1;
    TELEHELM_MPI(MPI_Comm_size(node, &size));
    TELEHELM_MPI(MPI_Comm_free(&node));
    return size;
}

void MpiWorld::abort(int exitCode) const {
    MPI_Abort(MPI_COMM_WORLD, exitCode);
    std::_Exit(exitCode);
}

} // namespace telehelm::comm
