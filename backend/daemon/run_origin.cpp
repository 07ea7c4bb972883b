// SPDX-License-Identifier: Apache-2.0
#include "daemon/run_origin.h"

#include <cinttypes>
#include <cstdio>

#include "daemon/run_folder.h"

namespace telehelm::daemon {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFolder = "imported_from"; // the fact by which the event is known
constexpr const char* kOwnName = "own_name";
constexpr const char* kTrainedOn = "trained_on";
constexpr const char* kAuthor = "author";
constexpr const char* kHost = "host";

} // namespace

ipc::Event importEvent(const ipc::RunOrigin& origin, const std::string& reason) {
    ipc::Event event;
    event.kind = ipc::EventKind::Note;
    event.wallUs = origin.importedUs;
    event.text = "Imported" + (origin.author.empty() ? "" : " by " + origin.author) + " from " + origin.folder +
                 (origin.trainedOn.empty() ? "" : "; it trained on " + origin.trainedOn) + " as “" + origin.ownName + "”" +
                 (reason.empty() ? "." : ": " + reason);
    event.facts = {{kFolder, origin.folder}, {kOwnName, origin.ownName}, {kTrainedOn, origin.trainedOn},
                   {kAuthor, origin.author}, {kHost, origin.host},       {"reason", reason}};
    return event;
}

std::optional<ipc::RunOrigin> originOf(const ipc::Event& event) {
    const auto fact = [&](const char* name) {
        const auto found = event.facts.find(name);
        return found == event.facts.end() ? std::string() : found->second;
    };
    if (fact(kFolder).empty())
        return std::nullopt;
    return ipc::RunOrigin{fact(kFolder), fact(kOwnName), fact(kTrainedOn), event.wallUs, fact(kAuthor), fact(kHost)};
}

std::optional<CheckpointName> checkpointNameOf(const fs::path& path) {
    CheckpointName name;
    int read = 0;
    const std::string text = path.filename().string();
    if (std::sscanf(text.c_str(), "a%" SCNu32 "-step-%" SCNd64 "%n", &name.attempt, &name.step, &read) != 2 || read != static_cast<int>(text.size()))
        return std::nullopt;
    return name;
}

std::string newestCheckpointBeside(const fs::path& folder) {
    std::optional<std::pair<CheckpointName, fs::path>> newest;
    for (const fs::path& place : {folder / kCheckpoints, folder.parent_path() / kCheckpoints}) {
        std::error_code error;
        for (fs::directory_iterator entry(place, error); !error && entry != fs::directory_iterator(); entry.increment(error)) {
            const auto name = checkpointNameOf(entry->path());
            std::error_code unseen;
            if (name && fs::exists(entry->path() / "manifest.json", unseen) && (!newest || newest->first < *name))
                newest.emplace(*name, entry->path());
        }
        if (newest)
            return newest->second.string();
    }
    return {};
}

} // namespace telehelm::daemon
