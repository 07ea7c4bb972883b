// SPDX-License-Identifier: Apache-2.0
// One rank of a training run: from its start (or a checkpoint) to its end, steered at step boundaries.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "config/run_config.h"
#include "data/corpus.h"
#include "eval/validation.h"
#include "model/model.h"
#include "optim/schedule.h"
#include "parallel/mesh.h"
#include "telehelm/ipc/trainer_link.h"
#include "train/checkpoint_store.h"
#include "train/checkpoint_writer.h"
#include "train/command_desk.h"
#include "train/device_mesh.h"
#include "train/fault_injector.h"
#include "train/gpu_report.h"
#include "train/memory_report.h"
#include "train/mixture.h"
#include "train/rank_report.h"
#include "train/step_engine.h"
#include "train/step_watch.h"
#include "train/telemetry.h"

namespace telehelm::train {

struct TrainerOptions {
    config::RunConfig config;
    std::string configXxh3; // of the text it was read from
    ipc::AttemptKey key;
    std::filesystem::path checkpointDir;
    std::int64_t lastStep = 0; // end here; 0: at the config's last step. The schedule stays the config's.
    int threads = 1;           // of this rank
    DevicePlace device;        // for device = "cuda"
    std::string attention = {}; // its kernel; empty: as the checkpoint says, else the fastest
    bool calibrate = true;     // measure the sgemm peak for perf/mfu (1 s at the start, 0.3 s at each of the first validations)
    bool waitForSaves = false; // hold the training until each checkpoint is whole: then its step is certain
    std::string host;
    std::string nvmlLibrary; // where the ranks' GPUs are read; empty: not at all. The same on all ranks.
    int cudaDevice = 0;      // of this rank
    ipc::RankPage* page = nullptr; // where this rank writes how far it is; borrowed
    std::function<bool()> stopRequested = [] { return false; }; // e.g. SIGTERM came
    std::function<void(const StepFacts&)> onStep = [](const StepFacts&) {};
    std::function<void(const std::string&)> onNote = [](const std::string&) {}; // a line for the log
};

struct TrainEnd {
    bool finished = false; // reached the last step; else stopped
    std::int64_t step = 0;
    std::string text;        // one sentence
    std::string saveFailure; // the last checkpoint could not be saved
};

/// The step from which a run starts, agreed by all ranks.
struct StartPoint {
    std::filesystem::path path; // empty: step 0
    Manifest manifest;
    std::vector<Damage> damaged;         // rank 0 only
    std::vector<std::string> unfinished; // rank 0 only
};
/// Collective: the same answer on all ranks. The first rank that failed gets its own error and all others a Cancelled one without
/// text: one mistake is one line in the log.
[[nodiscard]] Result<void> agree(comm::Communicator& world, Result<void> own);

struct StartFailure {
    Error error;
    bool isOfCheckpoint = false; // else of what the config asks for
};

/// Trainer thread only. All calls are collective over the mesh.
class Trainer {
public:
    /// From the checkpoint that the config names, else from the newest of the attempt's own. Each rank checks what it reads of it and
    /// reads only what it needs; where one finds damage, all go back to the checkpoint before it.
    /// Throws std::runtime_error when the ranks disagree; `link` null on every rank but 0. `mesh` outlives the trainer.
    [[nodiscard]] static tl::expected<std::unique_ptr<Trainer>, StartFailure>
    start(const TrainerOptions& options, const parallel::Mesh& mesh, const std::shared_ptr<const data::Corpus>& corpus, ipc::TrainerLink* link);
    TrainEnd run();
    ~Trainer();
    Trainer(const Trainer&) = delete;
    Trainer& operator=(const Trainer&) = delete;

    [[nodiscard]] std::int64_t step() const { return m_step; }
    [[nodiscard]] std::span<const float> parameters() const { return m_model->parameters(); }

private:
    struct Boundary {
        bool stop = false, save = false;
        std::string why;
    };
    Trainer(TrainerOptions options, const parallel::Mesh& mesh, std::shared_ptr<const data::Corpus> corpus,
            ipc::TrainerLink* link, const Fork& fork);
    static Result<std::unique_ptr<Trainer>> create(TrainerOptions options, const parallel::Mesh& mesh,
                                                   std::shared_ptr<const data::Corpus> corpus, ipc::TrainerLink* link,
                                                   const StartPoint& start);
    Result<void> restore(const StartPoint& start);
    void announce(const StartPoint& start);
    void announceSettings(const StartPoint& start);
    [[nodiscard]] std::map<std::string, std::string> startFacts(const StartPoint& start);
    void calibrateAtStart();
    double calibrate();
    void recalibrate();
    void raisePeak(double gflops);
    [[nodiscard]] double mfu(double tokensPerS);

    Boundary boundary();
    Word exchange();
    void shareMixture();
    void hold();
    void save();
    void reportSave();
    void finalSave(bool wanted);
    [[nodiscard]] std::int64_t lastStep() const;
    void trainStep();
    void checkReplicas(std::int64_t step);
    void emitStep(const StepOutcome& outcome, const StepFacts& facts);
    void emitMemory();
    void emitMixture();
    [[nodiscard]] bool tooManySkipped() const;
    TrainEnd stopForBadSteps();
    void validate();
    TrainEnd finish(bool finished, bool save, const std::string& why);
    [[nodiscard]] Manifest manifest() const;
    [[nodiscard]] const data::MixtureChange& mixtureAt(std::int64_t step) const;

    // constant after construction
    const TrainerOptions m_options;
    FaultInjector m_faults;
    StepWatch m_watch;
    AxisListener m_onTensor{m_watch, parallel::Axis::Tensor}, m_onData{m_watch, parallel::Axis::Data},
        m_onPipeline{m_watch, parallel::Axis::Pipeline};
    const parallel::Mesh m_mesh; // the job's, watched
    const std::shared_ptr<const data::Corpus> m_corpus;
    DeviceMesh m_deviceMesh; // of a model on a device
    const std::string m_attention; // the device's kernel
    std::unique_ptr<model::Model> m_model;
    std::unique_ptr<data::Sampler> m_sampler;
    StepEngine m_engine;
    optim::LearningRateSchedule m_schedule;
    eval::Validation m_validation;
    Telemetry m_telemetry;
    CommandDesk m_desk;
    CheckpointWriter m_writer;
    RankReport m_rankReport;
    MemoryReport m_memoryReport;
    GpuReport m_gpuReport;
    double m_peakGflops = 0; // of all ranks together: the best measured so far, by sgemm or by a step
    double m_saidGflops = 0; // as the last event says
    int m_recalibrations = 0;
    std::string m_calibrationNote; // how the start's calibrations went
    // the run's state
    std::int64_t m_step = 0, m_tokens = 0, m_skipped = 0, m_skippedInARow = 0;
    double m_lrScale = 1, m_lastLoss = 0, m_lastNorm = 0;
    std::int64_t m_savedStep = -1; // of the last checkpoint that was begun or found
    bool m_saveWanted = false;     // a regular checkpoint is due as soon as no other is being written
    std::string m_saveFailure;
};

} // namespace telehelm::train
