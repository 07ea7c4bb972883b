// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <optional>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "comm/mpi_world.h"
#include "rank/convert_job.h"
#include "rank/rank_job.h"
#include "rank/stop_signal.h"

using namespace telehelm;

namespace {

/// The run loop: the one place where a broken world is caught.
int runRank(const rank::RankOptions& options, comm::Communicator& world, const comm::MpiWorld* mpi) {
    rank::RankJob job(options, world, mpi != nullptr ? mpi->localRanks() : 1);
    try {
        return job.run();
    } catch (const std::exception& error) {
        const std::string why = "rank " + std::to_string(world.rank()) + ": " + error.what();
        spdlog::critical("{}", why);
        job.reportFailure(why);
        if (mpi != nullptr) {
            mpi->abort(rank::kOther); // the others wait in a collective for this rank
        }
        return rank::kOther;
    }
}

} // namespace

int main(int argc, char** argv) {
    rank::catchStopSignals();
    // Without a launcher MPI is not needed, and a plain process starts faster.
    std::optional<comm::MpiWorld> mpi;
    if (comm::launchedByMpi()) {
        mpi.emplace();
    }
    const std::unique_ptr<comm::Communicator> world = mpi ? mpi->communicator() : comm::makeSelfCommunicator();
    spdlog::set_default_logger(
        spdlog::stdout_logger_st(world->rank() == 0 ? "telehelm-rank" : "telehelm-rank " + std::to_string(world->rank())));
    spdlog::set_pattern("%H:%M:%S.%e %l %v");
    spdlog::flush_on(spdlog::level::info);
    const rank::ParsedOptions parsed = rank::parseOptions(argc, argv, world->rank() == 0);
    if (!parsed.options) {
        return parsed.exitCode;
    }
    spdlog::set_level(spdlog::level::from_str(parsed.options->logLevel));
    if (!parsed.options->exportHf.empty() || !parsed.options->importHf.empty()) {
        return rank::runConvertJob(*parsed.options, world->size());
    }
    return runRank(*parsed.options, *world, mpi ? &*mpi : nullptr);
}
