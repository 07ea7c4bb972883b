// SPDX-License-Identifier: Apache-2.0
// Writes checkpoints behind the training's back: the state is copied at a step boundary, a thread writes it to a temporary
// folder, and the thread of rank 0 renames the folder when every rank's files are there.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "config/run_config.h"
#include "train/manifest.h"
#include "train/step_engine.h"
#include "train/stored_tensor.h"

namespace telehelm::train {

/// What became of a save. Only rank 0 knows the whole folder's fate; on other ranks it tells of their own files.
struct SaveReport {
    std::int64_t step = 0, tokens = 0, bytes = 0;
    double seconds = 0;
    std::filesystem::path path;
    std::string failure; // empty: saved
};

class CheckpointWriter {
public:
    struct Place {
        std::filesystem::path folder; // of all checkpoints of the run
        ipc::AttemptKey key;
        int rank = 0, ranks = 1;
        config::CheckpointConfig keep;
    };
    CheckpointWriter(Place place, std::vector<StoredTensor> tensors);
    ~CheckpointWriter(); // finishes what was begun
    CheckpointWriter(const CheckpointWriter&) = delete;
    CheckpointWriter& operator=(const CheckpointWriter&) = delete;

    /// Trainer thread, once before the first begin(): memory for the copy, as much as it takes and kept for all saves.
    void reserve(std::span<const Shard> shards);
    [[nodiscard]] std::size_t bytes() const; // of the copy; trainer thread
    /// Trainer thread. Copies the shards, ascending, and returns; must not be busy. `manifest` without tensors and files.
    void begin(std::span<const Shard> shards, Manifest manifest);
    void begin(const Shard& shard, Manifest manifest) { begin(std::span(&shard, 1), std::move(manifest)); }
    [[nodiscard]] bool busy() const;                // trainer thread
    void wait();                                    // trainer thread: until not busy
    [[nodiscard]] std::optional<SaveReport> take(); // trainer thread: the last finished save, once

private:
    struct Job {
        std::vector<Stretch> stretches;
        std::vector<float> values; // parameters, first, second moments of all stretches, one after the other
        Manifest manifest;
    };
    void loop();
    SaveReport save(Job& job) const;
    Result<RankPart> writeShard(const Job& job, const std::filesystem::path& folder) const;
    Result<void> finish(Job& job, const std::filesystem::path& folder) const;
    Result<void> collectParts(Manifest& manifest, const std::filesystem::path& folder) const;

    // constant after construction
    const Place m_place;
    const std::vector<StoredTensor> m_tensors;
    // guarded by m_mutex (m_job belongs to the thread while m_busy)
    mutable std::mutex m_mutex;
    std::condition_variable m_changed;
    Job m_job;
    bool m_busy = false, m_ending = false;
    std::optional<SaveReport> m_report;
    std::thread m_thread; // last: starts when everything else is there
};

} // namespace telehelm::train
