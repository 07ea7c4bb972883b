// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

namespace telehelm::train {

using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kHoldPoll = std::chrono::milliseconds(20);
constexpr std::int64_t kSeldom = 10;         // steps between points that need not come each step
constexpr int kRecalibrations = 4;           // a machine that was busy at the start is measured too low
constexpr double kWorthSaying = 1.05;        // a higher peak than the one that was told is told again from here on
constexpr std::int64_t kMixtureWindow = 100; // steps over which the achieved share is measured
#ifdef NDEBUG
constexpr bool kCheckReplicasInEachStep = false;
#else
constexpr bool kCheckReplicasInEachStep = true;
#endif

double msSince(Clock::time_point began) {
    return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

} // namespace

/// A rank that fails frees its device's memory on the way out, which waits for the device; and that may wait for peers who wait for
/// this rank.
Trainer::~Trainer() {
    if (std::uncaught_exceptions() > 0) {
        m_deviceMesh.abort();
    }
}

TrainEnd Trainer::run() {
    const config::RunConfig& config = m_options.config;
    m_rankReport.expect(config);
    if (m_faults.isOn()) {
        m_engine.onBackward([this](std::int64_t microBatch) { m_faults.poisonGradient(m_step + 1, microBatch, *m_model); });
    }
    if (m_model->device() == nullptr) { // a device's shards come to the host only when they are saved
        m_writer.reserve(m_engine.shards());
    }
    while (m_step < lastStep()) {
        if (const Boundary end = boundary(); end.stop) {
            return finish(false, end.save, end.why);
        }
        trainStep();
        if (tooManySkipped()) {
            return stopForBadSteps();
        }
        if (config.validation.everySteps > 0 && (m_step % config.validation.everySteps == 0 || m_step == lastStep())) {
            validate();
        }
        m_saveWanted |= config.checkpoint.everySteps > 0 && m_step % config.checkpoint.everySteps == 0;
    }
    return finish(true, true, "Reached the last step, " + std::to_string(m_step) + ".");
}

bool Trainer::tooManySkipped() const {
    const std::int64_t most = m_options.config.optimizer.maxSkippedSteps;
    return most > 0 && m_skippedInARow >= most;
}

/// Skipped steps changed nothing: what is saved is the state after the last good one.
TrainEnd Trainer::stopForBadSteps() {
    const std::string why = std::to_string(m_skippedInARow) +
                            " steps in a row were not finite ([optimizer] max_skipped_steps); the run stops at step " +
                            std::to_string(m_step) + " with the state after step " + std::to_string(m_step - m_skippedInARow) +
                            " saved. Restart from an earlier checkpoint with other data or a lower learning rate.";
    m_telemetry.event(ipc::EventKind::Note, ipc::Severity::Critical, why, {{"skipped_in_a_row", std::to_string(m_skippedInARow)}});
    m_options.onNote(why);
    return finish(false, true, why);
}

std::int64_t Trainer::lastStep() const {
    const std::int64_t whole = m_options.config.steps;
    return m_options.lastStep > 0 ? std::min(m_options.lastStep, whole) : whole;
}

// ---------------------------------------------------------------- the boundary between two steps

/// Everything that steers the run happens here, on all ranks alike.
Trainer::Boundary Trainer::boundary() {
    for (;;) {
        const std::int64_t next = m_step + 1;
        reportSave();
        m_desk.collect(next);
        Word word = exchange();
        if (word(Word::Mixture)) {
            shareMixture();
            continue;
        }
        if (word(Word::LrScale)) {
            m_lrScale = word[Word::LrScale];
            m_desk.scaled(next);
        }
        if (!word(Word::Busy)) {
            if (word(Word::Save) || (m_saveWanted && m_savedStep != m_step)) {
                save();
            }
            m_saveWanted = false;
        }
        if (word(Word::Stop) || word(Word::Signal)) {
            const bool asked = word(Word::Stop);
            return {.stop = true,
                    .save = asked ? word(Word::SaveAtStop) : true,
                    .why = (asked ? "Stopped by command" : "Stopped by a signal") + std::string(" after step ") +
                           std::to_string(m_step) + "."};
        }
        if (!word(Word::Hold)) {
            m_desk.mixturesDue(next, m_tokens + m_options.config.tokensPerStep());
            return {};
        }
        hold();
    }
}

Word Trainer::exchange() {
    Word word = m_mesh.world().rank() == 0 ? m_desk.word(m_step + 1) : Word{}; // only rank 0 gives orders
    word[Word::Signal] = m_options.stopRequested() ? 1 : 0;
    word[Word::Busy] = m_writer.busy() ? 1 : 0;
    m_mesh.world().allReduce(std::span(word.fields), comm::Reduce::Max);
    return word;
}

/// Rank 0 has checked the change against its own sampler; all others make the same.
void Trainer::shareMixture() {
    comm::Communicator& world = m_mesh.world();
    data::MixtureChange change;
    if (world.rank() == 0) {
        change = m_desk.takeMixture();
    }
    change.shares.resize(m_corpus->domains().size());
    std::array<std::int64_t, 3> numbers = {change.step, static_cast<std::int64_t>(change.seed), change.skipBatches};
    world.broadcast(std::as_writable_bytes(std::span(numbers)), 0);
    world.broadcast(std::as_writable_bytes(std::span(change.shares)), 0);
    if (world.rank() != 0) {
        change.step = numbers[0];
        change.seed = static_cast<std::uint64_t>(numbers[1]);
        change.skipBatches = numbers[2];
        if (auto applied = m_sampler->change(std::move(change)); !applied) {
            throw std::runtime_error("rank " + std::to_string(world.rank()) +
                                     " refused a mixture that rank 0 took: " + applied.error().text());
        }
    }
}

void Trainer::hold() {
    m_telemetry.at(m_step, m_tokens, "paused");
    if (m_mesh.world().rank() == 0) { // the others' desks never hear of a resume: they must not ask to hold
        m_desk.held(m_step + 1);
    }
    std::this_thread::sleep_for(kHoldPoll);
}

void Trainer::save() {
    m_savedStep = m_step;
    m_writer.begin(m_engine.shards(), manifest());
    m_watch.enter(Phase::Checkpoint);
    m_watch.end();
    m_desk.saveBegan(m_step);
    m_memoryReport.saved();
    if (m_options.waitForSaves) {
        m_writer.wait();
    }
}

void Trainer::reportSave() {
    const std::optional<SaveReport> report = m_writer.take();
    if (!report || m_mesh.world().rank() != 0) {
        return; // rank 0 hears of the others' failures through its own save
    }
    m_telemetry.saved(*report);
    m_desk.saveEnded(*report);
    m_saveFailure = report->failure;
    m_options.onNote(report->failure.empty() ? "checkpoint " + report->path.filename().string() + " saved"
                                             : "checkpoint not saved: " + report->failure);
}

Manifest Trainer::manifest() const {
    Manifest m;
    m.key = m_options.key;
    m.step = m_step;
    m.tokens = m_tokens;
    m.savedUs = ipc::nowUs();
    m.trainLoss = m_lastLoss;
    m.gradNorm = m_lastNorm;
    m.tensor = m_options.config.parallel.tensor;
    m.pipeline = m_options.config.parallel.pipeline;
    m.data = m_options.config.parallel.data;
    m.updates = m_engine.updates();
    m.skippedSteps = m_skipped;
    m.lrScale = m_lrScale;
    m.config = marksOf(m_options.config);
    m.configXxh3 = m_options.configXxh3;
    m.attention = m_attention;
    m.mixtureHistory = namedHistory(*m_corpus, m_sampler->history());
    return m;
}

const data::MixtureChange& Trainer::mixtureAt(std::int64_t step) const {
    const auto& history = m_sampler->history();
    const auto after = std::ranges::find_if(history, [&](const data::MixtureChange& change) { return change.step > step; });
    return after == history.begin() ? history.front() : *std::prev(after);
}

// ---------------------------------------------------------------- a step

void Trainer::trainStep() {
    const auto began = Clock::now();
    const std::int64_t step = m_step + 1;
    StepFacts facts{.step = step, .tokens = m_tokens + m_options.config.tokensPerStep(), .rates = m_schedule.at(step, m_lrScale)};
    m_watch.begin(step);
    if (m_faults.isOn()) {
        m_engine.settle(); // what is on its way would cover the poison
    }
    m_faults.poison(step, *m_model);
    const StepOutcome outcome = m_engine.run(step, facts.rates, m_options.config.optimizer.clipGrad);
    m_watch.end();
    m_faults.heal(*m_model);
    if (m_faults.drifts(step)) {
        m_engine.settle();
        FaultInjector::drift(*m_model);
    }
    checkReplicas(step);
    m_step = step;
    m_tokens = facts.tokens;
    m_skippedInARow = outcome.skipped ? m_skippedInARow + 1 : 0;
    facts.loss = outcome.loss;
    facts.gradNorm = outcome.gradNorm;
    if (!outcome.skipped) { // a checkpoint tells of the state it holds
        m_lastLoss = outcome.loss;
        m_lastNorm = outcome.gradNorm;
    }
    facts.stepMs = msSince(began);
    facts.tokensPerS = static_cast<double>(m_options.config.tokensPerStep()) / (facts.stepMs / 1000.0);
    facts.mfu = mfu(facts.tokensPerS);
    emitStep(outcome, facts);
}

/// A weight that drifts apart over the tensor ranks spoils the run silently (it happened to BLOOM).
void Trainer::checkReplicas(std::int64_t step) {
    const std::int64_t every = kCheckReplicasInEachStep ? 1 : m_options.config.parallel.checkReplicasEvery;
    if (every <= 0 || step % every != 0) {
        return;
    }
    if (const std::string fault = m_engine.replicaFault(); !fault.empty()) {
        throw std::runtime_error("after step " + std::to_string(step) + " " + fault +
                                 "; the run must not go on ([parallel] check_replicas_every)");
    }
}

void Trainer::emitStep(const StepOutcome& outcome, const StepFacts& facts) {
    m_telemetry.at(m_step, m_tokens, "step");
    m_telemetry.step(facts);
    if (outcome.skipped) {
        ++m_skipped;
        std::map<std::string, std::string> details = outcome.blameFacts;
        details["skipped_steps"] = std::to_string(m_skipped);
        details["began_at"] = outcome.blame;
        m_telemetry.point(ipc::series::kSkippedSteps, static_cast<double>(m_skipped));
        m_telemetry.event(ipc::EventKind::StepSkipped, ipc::Severity::Warning,
                          "Step " + std::to_string(m_step) + " was skipped on all ranks: " + outcome.blame + ".",
                          std::move(details));
    }
    m_rankReport.add(m_watch);
    if (m_rankReport.isDue(m_step)) {
        m_rankReport.gather(m_telemetry);
        if (m_gpuReport.isOn()) {
            m_gpuReport.gather(m_mesh.world(), m_telemetry);
        }
    }
    if (m_memoryReport.isDue() || m_rankReport.isDue(m_step)) {
        emitMemory();
    }
    if (m_step % kSeldom == 0 || m_step == 1) {
        emitMixture();
    }
    if (m_mesh.world().rank() == 0) {
        m_options.onStep(facts);
    }
}

void Trainer::emitMemory() {
    EngineMemory memory = m_engine.memory();
    memory.checkpoint = m_model->device() == nullptr ? m_writer.bytes() : 0;
    m_memoryReport.gather(m_telemetry, memory);
}

void Trainer::emitMixture() {
    if (!m_telemetry.speaks()) {
        return;
    }
    const data::MixtureChange& inForce = mixtureAt(m_step);
    const std::int64_t before = std::max(inForce.step - 1, std::max<std::int64_t>(0, m_step - kMixtureWindow));
    const std::vector<std::int64_t> now = m_sampler->drawn(m_step);
    const std::vector<std::int64_t> then = m_sampler->drawn(before);
    const auto all = static_cast<double>((m_step - before) * m_options.config.batch.sequences);
    for (std::size_t domain = 0; domain < now.size(); ++domain) {
        const std::string name = "mixture/" + m_corpus->domains()[domain].name;
        m_telemetry.point(name + "/target", inForce.shares[domain]);
        m_telemetry.point(name + "/actual", static_cast<double>(now[domain] - then[domain]) / all);
    }
}

void Trainer::validate() {
    m_telemetry.at(m_step, m_tokens, "validating");
    if (m_options.calibrate && m_recalibrations < kRecalibrations) {
        recalibrate();
    }
    m_telemetry.scores(m_validation.run([this](auto inputs, auto targets, auto nats) { m_engine.evaluate(inputs, targets, nats); }, m_mesh.data(), mixtureAt(m_step).shares));
    m_telemetry.at(m_step, m_tokens, "step");
}

/// A step that does more than the best calibration shows that the calibration was disturbed: it is the better measurement.
double Trainer::mfu(double tokensPerS) {
    if (m_peakGflops <= 0) {
        return 0;
    }
    const double gflops = m_options.config.model.flopsPerToken() * tokensPerS * 1e-9;
    if (gflops > m_peakGflops) {
        raisePeak(gflops);
    }
    return gflops / m_peakGflops;
}

void Trainer::recalibrate() {
    ++m_recalibrations;
    calibrate();
    raisePeak(m_peakGflops);
}

void Trainer::raisePeak(double gflops) {
    m_peakGflops = gflops;
    if (gflops < kWorthSaying * m_saidGflops) {
        return;
    }
    char text[160];
    std::snprintf(text, sizeof text,
                  "The machine's peak is at least %.1f GFLOP/s, not %.1f as measured before; perf/mfu refers to it from here on.",
                  gflops, m_saidGflops);
    m_saidGflops = gflops;
    m_telemetry.event(ipc::EventKind::Note, ipc::Severity::Info, text, {{"sgemm_gflops", std::to_string(gflops)}});
}

// ---------------------------------------------------------------- the end

void Trainer::finalSave(bool wanted) {
    m_telemetry.at(m_step, m_tokens, "saving");
    m_writer.wait();
    reportSave();
    Word word;
    word[Word::Save] = wanted && m_mesh.world().rank() == 0 && !m_desk.savedAt(m_step) ? 1 : 0;
    m_mesh.world().allReduce(std::span(word.fields), comm::Reduce::Max);
    if (word(Word::Save)) {
        save();
        m_writer.wait();
        reportSave();
        if (m_memoryReport.isDue()) {
            emitMemory();
        }
    }
    m_mesh.world().barrier();
}

TrainEnd Trainer::finish(bool finished, bool save, const std::string& why) {
    m_engine.settle();
    finalSave(save);
    TrainEnd end{.finished = finished, .step = m_step, .text = why, .saveFailure = save ? m_saveFailure : ""};
    m_desk.stopped(m_step, why);
    m_desk.close("The run has ended: " + why);
    return end;
}

} // namespace telehelm::train
