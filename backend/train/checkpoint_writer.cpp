// SPDX-License-Identifier: Apache-2.0
#include "train/checkpoint_writer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "train/checkpoint_store.h"
#include "train/file_io.h"
#include "train/shard_file.h"

namespace telehelm::train {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kPartsTimeout = std::chrono::minutes(10);

std::string rankFile(int rank, const char* suffix) {
    char text[48];
    std::snprintf(text, sizeof text, "rank-%05d.%s", rank, suffix);
    return text;
}

Result<void> makeFolder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    return error ? Result<void>(fail(ErrorCode::Internal, "cannot be created: " + error.message(), folder.string()))
                 : Result<void>();
}

std::size_t elementsOf(std::span<const Shard> shards) {
    std::size_t elements = 0;
    for (const Shard& shard : shards) {
        elements += shard.parameters.size() + shard.firstMoment.size() + shard.secondMoment.size();
    }
    return elements;
}

} // namespace

CheckpointWriter::CheckpointWriter(Place place, std::vector<StoredTensor> tensors)
    : m_place(std::move(place)), m_tensors(std::move(tensors)), m_thread([this] { loop(); }) {}

CheckpointWriter::~CheckpointWriter() {
    {
        const std::lock_guard lock(m_mutex);
        m_ending = true;
    }
    m_changed.notify_all();
    m_thread.join();
}

void CheckpointWriter::reserve(std::span<const Shard> shards) {
    const std::lock_guard lock(m_mutex);
    m_job.values.reserve(elementsOf(shards));
}

std::size_t CheckpointWriter::bytes() const {
    const std::lock_guard lock(m_mutex);
    return m_job.values.capacity() * sizeof(float);
}

void CheckpointWriter::begin(std::span<const Shard> shards, Manifest manifest) {
    {
        const std::lock_guard lock(m_mutex);
        m_job.stretches.clear();
        m_job.values.clear();
        m_job.values.reserve(elementsOf(shards)); // where nobody has before
        for (const auto part : {&Shard::parameters, &Shard::firstMoment, &Shard::secondMoment}) {
            for (const Shard& shard : shards) {
                m_job.values.insert(m_job.values.end(), (shard.*part).begin(), (shard.*part).end());
            }
        }
        for (const Shard& shard : shards) {
            m_job.stretches.push_back({shard.from, shard.to});
        }
        m_job.manifest = std::move(manifest);
        m_busy = true;
    }
    m_changed.notify_all();
}

bool CheckpointWriter::busy() const {
    const std::lock_guard lock(m_mutex);
    return m_busy;
}

void CheckpointWriter::wait() {
    std::unique_lock lock(m_mutex);
    m_changed.wait(lock, [this] { return !m_busy; });
}

std::optional<SaveReport> CheckpointWriter::take() {
    const std::lock_guard lock(m_mutex);
    return std::exchange(m_report, std::nullopt);
}

void CheckpointWriter::loop() {
    std::unique_lock lock(m_mutex);
    for (;;) {
        m_changed.wait(lock, [this] { return m_busy || m_ending; });
        if (!m_busy) {
            return;
        }
        lock.unlock();
        SaveReport report;
        try {
            report = save(m_job);
        } catch (const std::exception& error) { // nothing thrown crosses a thread
            report = {.step = m_job.manifest.step,
                      .tokens = m_job.manifest.tokens,
                      .bytes = 0,
                      .seconds = 0,
                      .path = {},
                      .failure = error.what()};
        }
        lock.lock();
        m_report = std::move(report);
        m_busy = false;
        m_changed.notify_all();
    }
}

SaveReport CheckpointWriter::save(Job& job) const {
    const auto began = Clock::now();
    SaveReport report{
        .step = job.manifest.step, .tokens = job.manifest.tokens, .bytes = 0, .seconds = 0, .path = {}, .failure = {}};
    const fs::path folder = temporaryFolder(m_place.folder, m_place.key.attempt, report.step);
    Result<void> done = makeFolder(folder).and_then([&] { return writeShard(job, folder); }).and_then([&](const RankPart& part) {
        return writeWhole(folder / rankFile(m_place.rank, "done"), rankPartText(part));
    });
    if (!done) {
        // Rank 0 must not wait for this rank; where even this cannot be written, its timeout ends the save.
        (void)writeWhole(folder / rankFile(m_place.rank, "failed"), done.error().text());
    } else if (m_place.rank == 0) {
        done = finish(job, folder);
    }
    if (!done && m_place.rank == 0) {
        std::error_code ignored; // the failure that counts is the save's
        fs::remove_all(folder, ignored);
    }
    report.failure = done ? "" : done.error().text();
    report.bytes = job.manifest.bytes;
    report.path = m_place.folder / checkpointName(m_place.key.attempt, report.step);
    report.seconds = std::chrono::duration<double>(Clock::now() - began).count();
    return report;
}

Result<RankPart> CheckpointWriter::writeShard(const Job& job, const fs::path& folder) const {
    auto file = ShardFileWriter::create(folder, rankFile(m_place.rank, "bin"));
    if (!file) {
        return tl::unexpected(file.error());
    }
    const std::size_t size = job.values.size() / 3;
    const std::span<const float> all(job.values);
    const Moments<std::span<const float>> values = {all.subspan(0, size), all.subspan(size, size), all.subspan(2 * size, size)};
    return writeTensors(*file, m_tensors, job.stretches, values).and_then([&] { return file->finish(); });
}

Result<void> CheckpointWriter::collectParts(Manifest& manifest, const fs::path& folder) const {
    const auto deadline = Clock::now() + kPartsTimeout;
    for (int rank = 0; rank < m_place.ranks; ++rank) {
        const fs::path done = folder / rankFile(rank, "done");
        const fs::path failed = folder / rankFile(rank, "failed");
        while (!fs::exists(done)) {
            if (const auto why = readWhole(failed)) {
                return fail(ErrorCode::Internal, "rank " + std::to_string(rank) + ": " + *why);
            }
            if (Clock::now() > deadline) {
                return fail(ErrorCode::Unavailable,
                            "rank " + std::to_string(rank) + " did not finish its files within 10 minutes");
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        const auto part = readWhole(done).and_then(parseRankPart);
        if (!part) {
            return tl::unexpected(part.error());
        }
        mergePart(manifest, *part);
    }
    return {};
}

Result<void> CheckpointWriter::finish(Job& job, const fs::path& folder) const {
    if (auto collected = collectParts(job.manifest, folder); !collected) {
        return collected;
    }
    for (int rank = 0; rank < m_place.ranks; ++rank) {
        fs::remove(folder / rankFile(rank, "done"));
    }
    if (auto published = publishCheckpoint(m_place.folder, folder, job.manifest); !published) {
        return tl::unexpected(published.error());
    }
    pruneCheckpoints(m_place.folder, m_place.key.attempt, m_place.keep);
    return syncFolder(m_place.folder);
}

} // namespace telehelm::train
