// SPDX-License-Identifier: Apache-2.0
// What a telehelm-rank process does from its options to its exit code.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "data/corpus.h"
#include "rank/rank_options.h"
#include "telehelm/ipc/rank_page.h"
#include "telehelm/ipc/trainer_link.h"
#include "train/trainer.h"

namespace telehelm::rank {

/// Exit codes, as --help says.
enum Exit : int { kFine = 0, kOther = 1, kUsage = 2, kCorpus = 3, kCheckpoint = 4 };

/// Run name, run folder and checkpoint folder where the command line leaves them out.
void fillFolders(RankOptions& options, const config::RunConfig& config);

/// Main thread only. Constructors and run() are collective over `world`.
class RankJob {
public:
    RankJob(RankOptions options, comm::Communicator& world, int localRanks);

    /// Expected failures are printed by the rank that has them; a broken world throws.
    int run();
    /// For the one place that catches: the attempt's last event, and what could not be sent goes to the spool.
    void reportFailure(const std::string& why);

private:
    struct Failure {
        int exitCode = kOther;
        Error error;
    };
    template <typename T> using Step = tl::expected<T, Failure>;

    Step<void> readConfig();
    [[nodiscard]] Result<void> checkDevice() const;
    [[nodiscard]] Result<void> wrongRanks(int wanted) const;
    Step<void> openLink();
    [[nodiscard]] Result<void> keepConfig() const;
    void openPage();
    Step<std::shared_ptr<const data::Corpus>> openCorpus() const;
    Step<std::unique_ptr<train::Trainer>> startTrainer(const parallel::Mesh& mesh, std::shared_ptr<const data::Corpus> corpus);
    Step<train::TrainEnd> train();
    /// The same verdict on all ranks.
    Step<void> agreed(Result<void> own, int exitCode) const;
    [[nodiscard]] train::TrainerOptions trainerOptions() const;
    void ended(const char* reason, const std::string& text, ipc::Severity severity);

    RankOptions m_options;
    comm::Communicator& m_world;
    int m_localRanks;
    config::RunConfig m_config;
    std::string m_configText;
    std::unique_ptr<ipc::TrainerLink> m_link; // rank 0 only
    std::optional<ipc::RankPage> m_page;
};

} // namespace telehelm::rank
