// SPDX-License-Identifier: Apache-2.0
#include "daemon/checkpoint_shelf.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <nlohmann/json.hpp>

namespace telehelm::daemon {
namespace {

namespace fs = std::filesystem;
using ipc::CheckpointInfo;
using nlohmann::json;

std::string xxh3Of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in)
        return {};
    std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
    XXH3_64bits_reset(state.get());
    std::vector<char> buffer(1 << 20);
    while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
        XXH3_64bits_update(state.get(), buffer.data(), static_cast<std::size_t>(in.gcount()));
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(XXH3_64bits_digest(state.get())));
    return text;
}

json manifestOf(const fs::path& folder) {
    std::ifstream in(folder / "manifest.json");
    return json::parse(in, nullptr, false);
}

// What is wrong with the files, empty when nothing.
std::string damageOf(const fs::path& folder) {
    const json manifest = manifestOf(folder);
    if (!manifest.is_object() || !manifest.contains("files"))
        return "its manifest.json is missing or cannot be read";
    try {
        for (const json& file : manifest.at("files")) {
            const fs::path path = folder / file.at("name").get<std::string>();
            std::error_code error;
            const auto size = fs::file_size(path, error);
            if (error)
                return path.filename().string() + " is missing";
            if (size != file.at("bytes").get<std::uintmax_t>())
                return path.filename().string() + " has " + std::to_string(size) + " bytes, the manifest says " + file.at("bytes").dump();
            if (xxh3Of(path) != file.at("xxh3").get<std::string>())
                return path.filename().string() + " has another checksum than the manifest says";
        }
    } catch (const json::exception& error) {
        return std::string("its manifest.json cannot be understood: ") + error.what();
    }
    return {};
}

std::string stampOf(const fs::path& folder) {
    std::vector<std::string> files;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
        files.push_back(entry.path().filename().string() + ' ' + std::to_string(entry.file_size(error)) + ' ' +
                        std::to_string(entry.last_write_time(error).time_since_epoch().count()));
    std::sort(files.begin(), files.end());
    std::string stamp;
    for (const std::string& file : files)
        stamp += file + '\n';
    return stamp;
}

CheckpointInfo infoOf(const std::string& run, const fs::path& folder) {
    CheckpointInfo info;
    info.key.run = run;
    info.path = folder.string();
    unsigned attempt = 0;
    long long step = 0;
    if (std::sscanf(folder.filename().c_str(), "a%u-step-%lld", &attempt, &step) == 2) {
        info.key.attempt = attempt;
        info.step = step;
    }
    const json manifest = manifestOf(folder);
    if (!manifest.is_object()) {
        info.damage = "its manifest.json is missing or cannot be read";
        return info;
    }
    try {
        info.key.attempt = manifest.at("attempt");
        info.step = manifest.at("step");
        info.tokens = manifest.at("tokens");
        info.savedUs = manifest.at("saved_us");
        info.bytes = manifest.at("bytes");
        info.trainLoss = manifest.value("train_loss", std::nan(""));
        info.gradNorm = manifest.value("grad_norm", std::nan(""));
    } catch (const json::exception& error) {
        info.damage = std::string("its manifest.json cannot be understood: ") + error.what();
    }
    return info;
}

} // namespace

CheckpointShelf::CheckpointShelf(std::function<void(const CheckpointInfo&)> onDamage)
    : m_onDamage(std::move(onDamage)), m_thread([this] { run(); }) {}

CheckpointShelf::~CheckpointShelf() {
    {
        const std::lock_guard lock(m_mutex);
        m_stopping = true;
    }
    m_wake.notify_all();
    m_thread.join();
}

std::vector<CheckpointInfo> CheckpointShelf::list(const std::string& run, const fs::path& checkpointDir) {
    std::vector<CheckpointInfo> all;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpointDir, error)) {
        if (!entry.is_directory(error) || !entry.path().filename().string().starts_with("a"))
            continue; // ".tmp-…" is one being written
        CheckpointInfo info = infoOf(run, entry.path());
        const std::string stamp = stampOf(entry.path());
        const std::lock_guard lock(m_mutex);
        if (const auto known = m_verdicts.find(info.path); known != m_verdicts.end() && known->second.stamp == stamp) {
            info.damage = known->second.damage;
            info.verified = info.damage.empty();
        } else if (info.damage.empty() && std::none_of(m_waiting.begin(), m_waiting.end(), [&](const auto& w) { return w.path == info.path; }))
            m_waiting.push_back(info);
        all.push_back(std::move(info));
    }
    m_wake.notify_all();
    std::sort(all.begin(), all.end(), [](const CheckpointInfo& a, const CheckpointInfo& b) {
        return std::pair(a.key.attempt, a.step) > std::pair(b.key.attempt, b.step);
    });
    return all;
}

CheckpointInfo CheckpointShelf::verified(CheckpointInfo checkpoint) {
    look(checkpoint);
    return checkpoint;
}

void CheckpointShelf::forget(const fs::path& folder) {
    const std::string prefix = (folder / "").string();
    const std::lock_guard lock(m_mutex);
    std::erase_if(m_verdicts, [&](const auto& known) { return known.first.starts_with(prefix); });
    if (!m_waiting.empty()) // the first one is being looked at
        m_waiting.erase(std::remove_if(m_waiting.begin() + 1, m_waiting.end(), [&](const CheckpointInfo& c) { return c.path.starts_with(prefix); }),
                        m_waiting.end());
}

void CheckpointShelf::look(CheckpointInfo& checkpoint) {
    std::string stamp = stampOf(checkpoint.path); // before: what changes meanwhile is looked at again
    std::string damage = damageOf(checkpoint.path);
    checkpoint.damage = damage;
    checkpoint.verified = damage.empty();
    const std::lock_guard lock(m_mutex);
    m_verdicts[checkpoint.path] = {std::move(damage), std::move(stamp)};
}

void CheckpointShelf::run() {
    std::unique_lock lock(m_mutex);
    for (;;) {
        m_wake.wait(lock, [&] { return m_stopping || !m_waiting.empty(); });
        if (m_stopping)
            return;
        CheckpointInfo next = m_waiting.front();
        lock.unlock();
        std::error_code error;
        const bool isThere = std::filesystem::exists(next.path, error);
        if (isThere) // it may have been pruned meanwhile
            look(next);
        const bool isDamaged = isThere && !next.damage.empty() && std::filesystem::exists(next.path, error);
        if (isDamaged && m_onDamage)
            m_onDamage(next);
        lock.lock();
        m_waiting.pop_front();
    }
}

} // namespace telehelm::daemon
