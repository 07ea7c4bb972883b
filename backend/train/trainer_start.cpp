// SPDX-License-Identifier: Apache-2.0
// How a run begins: which checkpoint, what was changed against it, what is said about it.
#include <algorithm>
#include <array>
#include <iomanip>
#include <iterator>
#include <sstream>

#include <nlohmann/json.hpp>

#include "telehelm/kernels/cuda/gemm.h"
#include "telehelm/kernels/linear.h"
#include "train/checkpoint_loader.h"
#include "train/trainer.h"

namespace telehelm::train {
namespace {

std::string shareString(comm::Communicator& world, std::string text, int root = 0) {
    std::uint64_t size = text.size();
    world.broadcast(std::as_writable_bytes(std::span(&size, 1)), root);
    text.resize(size);
    world.broadcast(std::as_writable_bytes(std::span(text)), root);
    return text;
}

/// The first rank that `speaks`; the number of ranks: none does.
int firstOf(comm::Communicator& world, bool speaks) {
    std::array<double, 1> first = {static_cast<double>(speaks ? world.rank() : world.size())};
    world.allReduce(std::span(first), comm::Reduce::Min);
    return static_cast<int>(first[0]);
}

/// As agree(), but damage that one rank found in a checkpoint is told to all: they must choose another one together.
Result<void> agreeOnDamage(comm::Communicator& world, Result<void> own) {
    const bool isDamaged = !own && own.error().code == ErrorCode::DataLoss;
    const int speaker = firstOf(world, isDamaged);
    if (speaker == world.size()) {
        return agree(world, std::move(own));
    }
    return fail(ErrorCode::DataLoss, shareString(world, isDamaged ? own.error().message : std::string(), speaker));
}

std::int64_t microBatch(const config::RunConfig& config) {
    return config.batch.microSequences > 0 ? config.batch.microSequences : config.batch.sequences / config.parallel.data;
}

/// What the weights' shapes don't show: the tokens of the corpus, and a checkpoint whose attention was cut into other heads.
Result<void> checkModel(const config::RunConfig& config, const data::Corpus& corpus, const StartPoint& start) {
    if (corpus.vocabSize() > config.model.vocabSize) {
        return fail(ErrorCode::InvalidArgument,
                    std::to_string(config.model.vocabSize) + " is less than the corpus' " + std::to_string(corpus.vocabSize()) + " tokens",
                    "[model] vocab_size");
    }
    const auto heads = start.manifest.config.settings.find(kHeadsSetting);
    if (heads != start.manifest.config.settings.end() && heads->second != static_cast<double>(config.model.attentionHeads)) {
        return fail(ErrorCode::InvalidArgument,
                    "has " + std::to_string(static_cast<std::int64_t>(heads->second)) + " attention heads, but the config's [model] attention_heads is " +
                        std::to_string(config.model.attentionHeads) + "; [model] must be the one that wrote it",
                    start.path.string());
    }
    return {};
}

/// Rank 0 looks, everybody learns. `damaged` are passed over.
Result<StartPoint> findStart(comm::Communicator& world, const TrainerOptions& options, const std::vector<Damage>& damaged) {
    StartPoint start;
    Result<void> found;
    if (world.rank() == 0) {
        const auto check = [&](const std::filesystem::path& path) -> Result<Manifest> {
            const auto known = std::ranges::find(damaged, path, &Damage::path);
            return known == damaged.end() ? looksWhole(path) : fail(ErrorCode::DataLoss, known->text);
        };
        Result<Chosen> chosen = chooseCheckpoint(options.checkpointDir, options.config.resume.checkpoint, options.key.attempt, check);
        if (chosen) {
            start.path = chosen->path;
            start.damaged = std::move(chosen->damaged);
        } else {
            found = tl::unexpected(chosen.error());
        }
    }
    if (found = agree(world, std::move(found)); !found) {
        return tl::unexpected(found.error());
    }
    start.path = shareString(world, start.path.string());
    if (!start.path.empty()) {
        Result<Manifest> manifest = readManifest(start.path);
        if (manifest) {
            start.manifest = std::move(*manifest);
        } else {
            found = tl::unexpected(manifest.error());
        }
    }
    if (found = agree(world, std::move(found)); !found) {
        return tl::unexpected(found.error());
    }
    return start;
}

} // namespace

Result<void> agree(comm::Communicator& world, Result<void> own) {
    const int speaker = firstOf(world, !own);
    if (speaker == world.size()) {
        return {};
    }
    return speaker == world.rank() ? own : Result<void>(fail(ErrorCode::Cancelled, ""));
}

tl::expected<std::unique_ptr<Trainer>, StartFailure> Trainer::start(const TrainerOptions& options, const parallel::Mesh& mesh,
                                                                    const std::shared_ptr<const data::Corpus>& corpus,
                                                                    ipc::TrainerLink* link) {
    std::vector<Damage> damaged;
    const std::vector<std::string> unfinished =
        mesh.world().rank() == 0 ? removeUnfinished(options.checkpointDir, options.key.attempt) : std::vector<std::string>();
    for (;;) {
        Result<StartPoint> start = findStart(mesh.world(), options, damaged);
        if (!start) {
            return tl::unexpected(StartFailure{start.error(), true});
        }
        start->unfinished = unfinished;
        Result<std::unique_ptr<Trainer>> trainer = create(options, mesh, corpus, link, *start);
        if (trainer) {
            return std::move(*trainer);
        }
        const bool resumes = !start->path.empty();
        if (!resumes || trainer.error().code != ErrorCode::DataLoss) {
            return tl::unexpected(StartFailure{trainer.error(), resumes});
        }
        damaged.push_back({start->path, trainer.error().message});
    }
}

Trainer::Trainer(TrainerOptions options, const parallel::Mesh& mesh, std::shared_ptr<const data::Corpus> corpus,
                 ipc::TrainerLink* link, const Fork& fork)
    : m_options(std::move(options)), m_faults(m_options.config.faults, m_options.key.attempt, mesh.world().rank()),
      m_watch([this](std::int64_t step, Phase phase) { m_faults.entered(step, phase); },
              [this](std::int64_t step, parallel::Axis axis) { m_faults.calls(step, axis); }, m_options.page),
      m_mesh(mesh, {.tensor = m_onTensor, .data = m_onData, .pipeline = m_onPipeline}), m_corpus(std::move(corpus)),
      m_deviceMesh(m_options.config.device == "cuda" ? DeviceMesh(m_mesh, m_options.device, m_options.config.parallel.chunks > 1, {.tensor = m_onTensor, .data = m_onData, .pipeline = m_onPipeline}) : DeviceMesh()),
      m_attention(m_options.config.device == "cuda"
                      ? chooseAttention(m_options.config, m_mesh, m_options.device, m_options.attention, m_options.onNote)
                      : std::string()),
      m_model(makeModel(m_options.config, m_mesh, m_options.threads, m_options.device, m_deviceMesh.axes(), m_attention, m_options.onNote)),
      m_sampler(
          data::makeSampler(m_corpus, fork.history, m_options.config.batch.sequences, m_options.config.model.contextLength)),
      m_engine(m_options.config, *m_model, *m_sampler, m_mesh, m_options.threads, m_deviceMesh.axes()),
      m_schedule(m_options.config.optimizer, m_options.config.schedule, m_options.config.tokensPerStep(), m_options.config.steps),
      m_validation(*m_corpus, m_options.config.model.contextLength, m_options.config.validation.sequencesPerDomain,
                   microBatch(m_options.config)),
      m_telemetry(link, m_options.key), m_desk(m_telemetry, *m_corpus, *m_sampler),
      m_writer({.folder = m_options.checkpointDir,
                .key = m_options.key,
                .rank = mesh.world().rank(),
                .ranks = mesh.world().size(),
                .keep = m_options.config.checkpoint},
               storedTensors(m_model->layout(), mesh.own().tensor)),
      m_rankReport(m_options.config.telemetry, m_mesh), m_memoryReport(m_options.config, m_mesh, m_options.threads),
      m_gpuReport(m_options.nvmlLibrary, m_options.cudaDevice), m_lrScale(fork.lrScale) {
    m_engine.setWatch(&m_watch);
}

Result<std::unique_ptr<Trainer>> Trainer::create(TrainerOptions options, const parallel::Mesh& mesh,
                                                 std::shared_ptr<const data::Corpus> corpus, ipc::TrainerLink* link,
                                                 const StartPoint& start) {
    const Manifest* const from = start.path.empty() ? nullptr : &start.manifest;
    Result<Fork> fork = forkFrom(options.config, *corpus, from, options.key);
    Result<void> sound = checkModel(options.config, *corpus, start);
    sound = sound && !fork ? Result<void>(tl::unexpected(fork.error())) : sound;
    if (sound = agree(mesh.world(), std::move(sound)); !sound) {
        return tl::unexpected(sound.error());
    }
    if (options.attention.empty()) {
        options.attention = start.manifest.attention;
    }
    std::unique_ptr<Trainer> trainer(new Trainer(std::move(options), mesh, std::move(corpus), link, *fork));
    auto restored = trainer->m_faults.check(*trainer->m_model).and_then([&] { return trainer->restore(start); });
    if (restored = agreeOnDamage(mesh.world(), std::move(restored)); !restored) {
        return tl::unexpected(restored.error());
    }
    trainer->m_engine.gatherParameters();
    trainer->calibrateAtStart();
    trainer->announce(start);
    return trainer;
}

Result<void> Trainer::restore(const StartPoint& start) {
    if (start.path.empty()) {
        m_model->initialise(m_options.config.seed);
        m_engine.adoptParameters();
        return {};
    }
    const Manifest& manifest = start.manifest;
    m_step = manifest.step;
    m_tokens = manifest.tokens;
    m_skipped = manifest.skippedSteps;
    m_lastLoss = manifest.trainLoss;
    m_lastNorm = manifest.gradNorm;
    m_engine.setUpdates(manifest.updates);
    if (manifest.key == m_options.key) {
        m_savedStep = manifest.step;
        m_desk.found(manifest.step);
    }
    return loadShards(start.path, manifest, storedTensors(m_model->layout()), m_engine.shards()).map([](const LoadCount&) {});
}

/// Several short measurements before any training: one alone may meet a busy moment of the machine.
void Trainer::calibrateAtStart() {
    constexpr int kRounds = 3;
    if (!m_options.calibrate) {
        return;
    }
    std::ostringstream note;
    note << std::fixed << std::setprecision(1)
         << (m_options.config.device == "cuda" ? "a product of 8192 x 8192 x 8192 in bf16" : "sgemm of 1024 x 1024 x 1024 in fp32")
         << ", all ranks at once, best of";
    for (int round = 0; round < kRounds; ++round) {
        note << (round == 0 ? " " : ", ") << calibrate();
    }
    note << " GFLOP/s";
    m_calibrationNote = note.str();
    m_saidGflops = m_peakGflops;
}

double Trainer::calibrate() {
    m_mesh.world().barrier(); // all at once, because that is what training does: together they reach the machine's peak
    const bool isOnDevice = m_options.config.device == "cuda";
    std::array<double, 1> hasRoom = {!isOnDevice || kernels::cuda::memoryInfo().freeBytes >= kernels::cuda::kCalibrationBytes ? 1.0 : 0.0};
    m_mesh.world().allReduce(std::span(hasRoom), comm::Reduce::Min);
    if (hasRoom[0] == 0) {
        return 0; // the model has filled a device: the training's own steps tell its peak (mfu())
    }
    std::array<double, 1> peak = {isOnDevice ? kernels::cuda::calibrateGemmGflops() : kernels::calibrateSgemmGflops(m_options.threads)};
    m_mesh.world().allReduce(std::span(peak), comm::Reduce::Sum);
    m_peakGflops = std::max(m_peakGflops, peak[0]);
    return peak[0];
}

std::map<std::string, std::string> Trainer::startFacts(const StartPoint& start) {
    const config::RunConfig& config = m_options.config;
    nlohmann::ordered_json domains;
    for (const data::Domain& domain : m_corpus->domains()) {
        domains[domain.name] = {{"languages", domain.languages}, {"tokens", domain.tokens}, {"documents", domain.documents}};
    }
    char gflops[32];
    char entropy[32];
    std::snprintf(gflops, sizeof gflops, "%.1f", m_peakGflops);
    std::snprintf(entropy, sizeof entropy, "%.4f", m_corpus->unigramEntropy(mixtureAt(m_step + 1).shares));
    char flops[32];
    std::snprintf(flops, sizeof flops, "%.0f", config.model.flopsPerToken());
    return {{"parameters", std::to_string(config.model.parameterCount())},
            {"mesh", m_mesh.shape().text()},
            {"tokens_per_step", std::to_string(config.tokensPerStep())},
            {"total_steps", std::to_string(config.steps)},
            {"sgemm_gflops", gflops},
            {"sgemm_calibration", m_calibrationNote},
            {"flops_per_token", flops},
            {"mfu_formula", "flops_per_token * tokens_per_s / (sgemm_gflops * 1e9)"},
            {"unigram_entropy", entropy},
            {"host", m_options.host},
            {"ranks", std::to_string(m_mesh.world().size())},
            {"threads_per_rank", std::to_string(m_options.threads)},
            {"device", config.device},
            {"attention", m_attention.empty() ? "none: the run is on CPUs" : m_attention},
            {"gpu_readings", m_gpuReport.isOn() ? m_gpuReport.text() : "none: the run is on CPUs"},
            {"fork_step", std::to_string(m_step)},
            {"resumed_from", start.path.string()},
            {"domains", domains.dump()}};
}

/// The config's settings are in force, whatever the checkpoint was trained with; nobody shall find that out by chance.
void Trainer::announceSettings(const StartPoint& start) {
    if (start.path.empty()) {
        return;
    }
    std::string text;
    std::map<std::string, std::string> facts;
    std::vector<SettingChange> changes = changesOf(start.manifest.config.optimizer, optimizerMarks(m_options.config));
    std::ranges::move(changesOf({.values = start.manifest.config.settings, .schedule = {}}, {.values = settingsOf(m_options.config), .schedule = {}}),
                      std::back_inserter(changes));
    for (const SettingChange& change : changes) {
        text += (text.empty() ? "" : ", ") + change.text();
        facts[change.key] = change.from + " → " + change.to;
    }
    if (!text.empty()) {
        text = "The config changes what the checkpoint was trained with: " + text + ". The config's values are in force.";
        m_telemetry.event(ipc::EventKind::Note, ipc::Severity::Warning, text, facts);
        m_options.onNote(text);
    }
}

void Trainer::announce(const StartPoint& start) {
    m_telemetry.at(m_step, m_tokens, "step");
    for (const std::string& name : start.unfinished) {
        const std::string text = "Checkpoint " + name + " was not finished when its process ended; it is left out.";
        m_telemetry.event(ipc::EventKind::CheckpointDamaged, ipc::Severity::Warning, text,
                          {{"path", (m_options.checkpointDir / name).string()}});
        m_options.onNote(text);
    }
    for (const Damage& damage : start.damaged) {
        const std::string text =
            "Checkpoint " + damage.path.filename().string() + " is damaged (" + damage.text + "); the one before it is used.";
        m_telemetry.event(ipc::EventKind::CheckpointDamaged, ipc::Severity::Warning, text,
                          {{"path", damage.path.string()}, {"damage", damage.text}});
        m_options.onNote(text);
    }
    if (m_faults.isOn()) {
        const std::string text = "FAULT INJECTION IS ON in this attempt: " + m_faults.text() + ".";
        m_telemetry.event(ipc::EventKind::Note, ipc::Severity::Warning, text, {{"faults", m_faults.text()}});
        m_options.onNote(text);
    }
    if (m_gpuReport.isOn()) {
        m_options.onNote("GPU readings: " + m_gpuReport.text());
    }
    announceSettings(start);
    const std::string from =
        start.path.empty() ? "from step 0" : "from step " + std::to_string(m_step) + " of " + start.path.filename().string();
    m_telemetry.event(ipc::EventKind::AttemptStarted, ipc::Severity::Info,
                      "Training starts " + from + " on " + m_mesh.shape().text() + ".", startFacts(start));
    std::ostringstream text;
    text << "training starts " << from << ", mesh " << m_mesh.shape().text() << ", " << m_options.config.model.parameterCount()
         << " parameters, " << m_options.threads << (m_options.threads == 1 ? " thread" : " threads") << " a rank, sgemm peak "
         << m_peakGflops << " GFLOP/s, unigram entropy " << m_corpus->unigramEntropy(mixtureAt(m_step + 1).shares) << " nats";
    m_options.onNote(text.str());
}

} // namespace telehelm::train
