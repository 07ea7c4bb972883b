// SPDX-License-Identifier: Apache-2.0
#include "rank/rank_job.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <thread>

#include <unistd.h>

#include <spdlog/spdlog.h>

#include "comm/watched_communicator.h"
#include "model/cuda_model.h"
#include "rank/stop_signal.h"
#include "telehelm/kernels/device.h"
#include "train/file_io.h"

namespace telehelm::rank {

namespace fs = std::filesystem;

namespace {

fs::path stateDir() {
    if (const char* xdg = std::getenv("XDG_STATE_HOME"); xdg != nullptr && *xdg != '\0') {
        return fs::path(xdg) / "telehelm";
    }
    const char* home = std::getenv("HOME");
    return fs::path(home != nullptr ? home : ".") / ".local" / "state" / "telehelm";
}

std::string hostName() {
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

/// A rank that the launcher bound to some cores has them to itself; otherwise the ranks of this machine share all of them.
int threadBudget(int asked, int localRanks) {
    if (asked > 0) {
        return asked;
    }
    const auto online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    const auto allowed = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    const bool bound = allowed < online && localRanks > 1;
    return std::max(1, bound ? std::min(allowed, std::max(1, online / localRanks)) : allowed / localRanks);
}

/// Calls to all ranks, between steps; those on an axis are the trainer's own to note.
class WorldListener final : public comm::CallListener {
public:
    explicit WorldListener(std::optional<ipc::RankPage>& page) : m_page(page) {}
    void begins(comm::Call) override { talks(true); }
    void ended(comm::Call, double) override { talks(false); }

private:
    void talks(bool isTalking) {
        if (m_page) {
            m_page->talks(isTalking);
        }
    }

    std::optional<ipc::RankPage>& m_page;
};

void printStep(const train::StepFacts& facts, std::int64_t steps) {
    spdlog::info("step {}/{}  loss {:.4f}  norm {:.3f}  lr {:.2e}  {:.0f} tok/s  {:.0f} ms", facts.step, steps, facts.loss,
                 facts.gradNorm, facts.rates.vector, facts.tokensPerS, facts.stepMs);
}

} // namespace

void fillFolders(RankOptions& options, const config::RunConfig& config) {
    options.run = options.run.empty() ? config.name : options.run;
    if (options.runDir.empty()) {
        options.runDir = stateDir() / "runs" / options.run / ("attempt-" + std::to_string(options.attempt));
    }
    if (options.checkpointDir.empty()) {
        options.checkpointDir = fs::absolute(options.runDir).lexically_normal().parent_path() / "checkpoints";
    }
}

RankJob::RankJob(RankOptions options, comm::Communicator& world, int localRanks)
    : m_options(std::move(options)), m_world(world), m_localRanks(localRanks) {}

int RankJob::run() {
    const Step<train::TrainEnd> end = train();
    if (!end) {
        if (!end.error().error.message.empty()) {
            spdlog::error("{}", end.error().error.text());
            ended("failed", end.error().error.text(), ipc::Severity::Critical);
        } else {
            ended("failed", "Another rank failed; its log line says why.", ipc::Severity::Critical);
        }
        return end.error().exitCode;
    }
    const bool saved = end->saveFailure.empty();
    ended(end->finished ? "finished" : "stopped", end->text, saved ? ipc::Severity::Info : ipc::Severity::Critical);
    if (m_world.rank() == 0) {
        spdlog::info("{}", end->text);
    }
    return saved ? kFine : kCheckpoint;
}

RankJob::Step<train::TrainEnd> RankJob::train() {
    if (auto read = readConfig(); !read) {
        return tl::unexpected(read.error());
    }
    const Result<parallel::MeshShape> shape = parallel::MeshShape::make(m_config.parallel, m_world.size());
    if (auto fits = agreed(shape ? Result<void>() : tl::unexpected(shape.error()), kUsage); !fits) {
        return tl::unexpected(fits.error());
    }
    WorldListener listener(m_page);
    const std::unique_ptr<comm::Communicator> world = comm::watchedCommunicator(m_world, listener);
    const parallel::Mesh mesh(*shape, *world);
    if (auto linked = openLink(); !linked) {
        return tl::unexpected(linked.error());
    }
    openPage();
    auto corpus = openCorpus();
    if (!corpus) {
        return tl::unexpected(corpus.error());
    }
    auto trainer = startTrainer(mesh, std::move(*corpus));
    if (!trainer) {
        return tl::unexpected(trainer.error());
    }
    return (*trainer)->run();
}

RankJob::Step<void> RankJob::agreed(Result<void> own, int exitCode) const {
    const bool failed = !own;
    std::array<double, 1> first = {failed ? static_cast<double>(m_world.rank()) : static_cast<double>(m_world.size())};
    m_world.allReduce(std::span(first), comm::Reduce::Min);
    const auto speaker = static_cast<int>(first[0]);
    if (speaker == m_world.size()) {
        return {};
    }
    // One rank speaks: the same mistake on all of them is one line.
    return tl::unexpected(Failure{exitCode, speaker == m_world.rank() ? own.error() : Error{ErrorCode::Cancelled, "", ""}});
}

RankJob::Step<void> RankJob::readConfig() {
    Result<void> verdict;
    auto text = train::readWhole(m_options.config);
    auto config = config::loadRunConfig(m_options.config);
    if (!config) {
        verdict = tl::unexpected(config.error());
    } else {
        m_config = std::move(*config);
        m_configText = text ? *text : "";
        if (m_config.device == "cuda") {
            verdict = checkDevice();
        }
        if (verdict && m_config.parallel.ranks() != m_world.size()) {
            verdict = wrongRanks(m_config.parallel.ranks());
        }
    }
    if (auto agree = agreed(std::move(verdict), kUsage); !agree) {
        return agree;
    }
    fillFolders(m_options, m_config);
    return {};
}

/// Whether this machine and CUDA's kernels take the config.
Result<void> RankJob::checkDevice() const {
    const kernels::CudaReport report = kernels::cudaReport();
    if (report.devices.empty()) {
        return fail(ErrorCode::FailedPrecondition,
                    "device = \"cuda\" cannot run here: " + report.whyNone + "; write device = \"cpu\" to train on the CPU",
                    m_options.config.string());
    }
    try {
        model::checkCudaShape(m_config.model, m_config.parallel.tensor);
    } catch (const std::invalid_argument& error) {
        return fail(ErrorCode::InvalidArgument, std::string(error.what()) + "; or write device = \"cpu\"", m_options.config.string());
    }
    return {};
}

Result<void> RankJob::wrongRanks(int wanted) const {
    const std::string start = wanted == 1 ? "start telehelm-rank alone, without mpirun"
                                          : "start it with  mpirun -np " + std::to_string(wanted) + " telehelm-rank --config " +
                                                m_options.config.string();
    return fail(ErrorCode::FailedPrecondition,
                "[parallel] tensor × pipeline × data makes " + std::to_string(wanted) + (wanted == 1 ? " rank, but " : " ranks, but ") +
                    std::to_string(m_world.size()) + (m_world.size() == 1 ? " was started; " : " were started; ") + start +
                    "  or set data in [parallel]",
                m_options.config.string());
}

RankJob::Step<void> RankJob::openLink() {
    Result<void> verdict;
    if (m_world.rank() == 0) {
        ipc::TrainerLinkOptions options;
        options.endpointFile = m_options.linkFile;
        options.key = {m_options.run, m_options.attempt};
        options.spoolFile = m_options.runDir / "spool";
        options.pid = static_cast<std::int32_t>(getpid());
        options.ranks = m_world.size();
        options.launcherNote = m_world.size() > 1 ? "mpirun pid " + std::to_string(getppid()) : "";
        std::error_code error;
        fs::create_directories(m_options.runDir, error);
        const Result<void> kept = error ? Result<void>() : keepConfig();
        const bool offline = m_options.offline || m_options.linkFile.empty();
        auto link = error ? Result<std::unique_ptr<ipc::TrainerLink>>(
                                fail(ErrorCode::Internal, "cannot be created: " + error.message(), m_options.runDir.string()))
                    : !kept   ? tl::unexpected(kept.error())
                    : offline ? ipc::makeOfflineTrainerLink(std::move(options))
                              : ipc::makeTrainerLink(std::move(options));
        if (link) {
            m_link = std::move(*link);
        } else {
            verdict = tl::unexpected(link.error());
        }
    }
    return agreed(std::move(verdict), kOther);
}

/// The spool tells what was measured, the config what it was measured on: whoever takes the folder elsewhere needs both.
Result<void> RankJob::keepConfig() const {
    const fs::path kept = m_options.runDir / "config.toml";
    if (auto there = train::readWhole(kept); there && *there == m_configText) {
        return {};
    }
    return train::writeWhole(kept, m_configText);
}

/// In the folder that rank 0 has made. Training needs no page: without one nobody can say which rank hangs.
void RankJob::openPage() {
    auto page = ipc::RankPage::open(m_options.runDir / ipc::kRankPageFile, m_world.rank());
    if (page) {
        m_page.emplace(std::move(*page));
    } else {
        spdlog::warn("{}", page.error().text());
    }
}

RankJob::Step<std::shared_ptr<const data::Corpus>> RankJob::openCorpus() const {
    const bool demo = m_config.data.corpus.empty();
    const fs::path dir = demo ? config::demoCorpusDir() : fs::path(m_config.data.corpus);
    auto corpus = data::openCorpus(dir);
    Result<void> verdict;
    if (!corpus) {
        verdict = fail(corpus.error().code,
                       corpus.error().message + (demo ? "" : "; check [data] corpus in " + m_options.config.string()),
                       corpus.error().context.empty() ? dir.string() : corpus.error().context);
    } else if (auto shares = train::configShares(**corpus, m_config.data); !shares) {
        verdict = tl::unexpected(Error{shares.error().code,
                                       m_options.config.string() + " does not fit its corpus: " + shares.error().message,
                                       shares.error().context});
    }
    if (auto sound = agreed(std::move(verdict), corpus ? kUsage : kCorpus); !sound) {
        return tl::unexpected(sound.error());
    }
    return std::shared_ptr<const data::Corpus>(std::move(*corpus));
}

train::TrainerOptions RankJob::trainerOptions() const {
    train::TrainerOptions options;
    options.config = m_config;
    options.configXxh3 = train::hexHash(train::xxh3(std::as_bytes(std::span(m_configText))));
    options.key = {m_options.run, m_options.attempt};
    options.checkpointDir = m_options.checkpointDir;
    options.threads = threadBudget(m_options.threads, m_localRanks);
    options.lastStep = m_options.steps;
    options.host = hostName();
    options.nvmlLibrary = m_config.device == "cuda" ? train::kNvmlLibrary : "";
    options.stopRequested = stopSignalled;
    if (m_world.rank() == 0) {
        options.onStep = [steps = m_config.steps](const train::StepFacts& facts) { printStep(facts, steps); };
        options.onNote = [](const std::string& text) { spdlog::info("{}", text); };
    }
    return options;
}

RankJob::Step<std::unique_ptr<train::Trainer>> RankJob::startTrainer(const parallel::Mesh& mesh,
                                                                     std::shared_ptr<const data::Corpus> corpus) {
    train::TrainerOptions options = trainerOptions();
    options.page = m_page ? &*m_page : nullptr;
    if (m_config.device == "cuda") {
        options.device = train::devicePlace(m_world, options.host, kernels::cudaReport().devices);
        options.cudaDevice = options.device.index;
    }
    auto trainer = train::Trainer::start(options, mesh, corpus, m_link.get());
    if (!trainer) {
        return tl::unexpected(Failure{trainer.error().isOfCheckpoint ? kCheckpoint : kUsage, trainer.error().error});
    }
    return std::move(*trainer);
}

void RankJob::ended(const char* reason, const std::string& text, ipc::Severity severity) {
    if (!m_link) {
        return;
    }
    ipc::Event event;
    event.key = {m_options.run, m_options.attempt};
    event.kind = ipc::EventKind::AttemptEnded;
    event.severity = severity;
    event.wallUs = ipc::nowUs();
    event.text = text;
    event.facts = {{"reason", reason}};
    m_link->emit(std::move(event));
    m_link->flush(m_options.linkFile.empty() ? 0 : 5000);
    const ipc::LinkCounters counters = m_link->counters();
    if (counters.pointsEmitted > 0) {
        spdlog::info("{} points emitted, {} acked by the daemon", counters.pointsEmitted, counters.pointsAcked);
    }
}

void RankJob::reportFailure(const std::string& why) {
    ended("failed", why, ipc::Severity::Critical);
}

} // namespace telehelm::rank
