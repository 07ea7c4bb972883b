// SPDX-License-Identifier: Apache-2.0
// Rank 0's side of commands: checks each against the run, keeps what is due later, says what all ranks shall do at a step
// boundary, and reports what became of it.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "telehelm/ipc/types.h"
#include "train/checkpoint_writer.h"
#include "train/telemetry.h"

namespace telehelm::train {

/// What all ranks agree on at a boundary: the largest of every rank's word, so that any rank can ask for an end.
struct Word {
    enum Field : std::size_t { Hold, Save, Stop, SaveAtStop, Signal, Busy, LrScale, Mixture, Fields };
    std::array<double, Fields> fields{};
    double& operator[](Field field) { return fields[field]; }
    [[nodiscard]] bool operator()(Field field) const { return fields[field] > 0; }
};

/// Trainer thread of rank 0 (on other ranks an idle one: nothing ever comes).
class CommandDesk {
public:
    CommandDesk(Telemetry& telemetry, const data::Corpus& corpus, data::Sampler& sampler)
        : m_telemetry(telemetry), m_corpus(corpus), m_sampler(sampler) {}

    /// Takes what came and answers what can be answered at once. `next`: the step that would be trained next.
    void collect(std::int64_t next);
    /// What rank 0 asks for at the boundary before `next`; answers checkpoints that are there already.
    [[nodiscard]] Word word(std::int64_t next);
    void found(std::int64_t step) { m_savedStep = step; } // the checkpoint that this attempt went on from
    [[nodiscard]] bool savedAt(std::int64_t step) const { return m_savedStep == step; }
    /// The mixture that `word` announced; already in this rank's sampler.
    [[nodiscard]] data::MixtureChange takeMixture();

    // What happened since, at the boundary before `next`.
    void held(std::int64_t next);
    void scaled(std::int64_t next);
    void saveBegan(std::int64_t step);
    void saveEnded(const SaveReport& report);
    void stopped(std::int64_t lastStep, const std::string& text);
    /// Reports mixtures that hold from `next` on; `tokens`: trained when that step is done.
    void mixturesDue(std::int64_t next, std::int64_t tokens);
    /// The run is over: everything still open is refused.
    void close(const std::string& why);

private:
    struct Waiting {
        std::string id;
        std::int64_t step = 0;
    };
    void handle(const ipc::Command& command, std::int64_t next);
    void handlePause(const ipc::Command& command, std::int64_t next);
    void handleResume(const ipc::Command& command, std::int64_t next);
    void answerSaved();
    void handleMixture(const ipc::Command& command, std::int64_t next);
    void handleLrScale(const ipc::Command& command);
    void reject(const ipc::Command& command, const std::string& why);

    Telemetry& m_telemetry;
    const data::Corpus& m_corpus;
    data::Sampler& m_sampler;
    bool m_holding = false;
    std::vector<Waiting> m_pauses; // not yet held
    std::optional<ipc::Command> m_stop;
    std::vector<Waiting> m_saves;               // asked for; step −1: not begun
    std::int64_t m_savedStep = -1;              // of the newest whole checkpoint
    std::deque<data::MixtureChange> m_mixtures; // to be told to the other ranks
    std::vector<Waiting> m_mixturesDue;         // told, not yet in force
    std::optional<Waiting> m_lrCommand;
    double m_lrScale = 0; // asked for; 0: none
};

} // namespace telehelm::train
