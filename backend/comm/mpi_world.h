// SPDX-License-Identifier: Apache-2.0
// MPI's life in a process: started once by main(), ended by the destructor.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"

namespace telehelm::comm {

/// True when mpirun, srun or another MPI launcher started this process.
[[nodiscard]] bool launchedByMpi();

/// Owner: main(). Trainer thread only.
class MpiWorld {
public:
    /// Calls MPI_Init_thread; from then on every failed MPI call throws.
    MpiWorld();
    ~MpiWorld();
    MpiWorld(const MpiWorld&) = delete;
    MpiWorld& operator=(const MpiWorld&) = delete;

    /// All ranks of the job. Must be gone before the MpiWorld.
    [[nodiscard]] std::unique_ptr<Communicator> communicator() const;
    /// Ranks of the job on this machine.
    [[nodiscard]] int localRanks() const;
    /// Ends every rank of the job at once, this one included: for errors that only one rank knows of.
    [[noreturn]] void abort(int exitCode) const;
};

} // namespace telehelm::comm
