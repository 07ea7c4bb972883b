// SPDX-License-Identifier: Apache-2.0
#include "daemon/run_folder.h"

#include <algorithm>
#include <cctype>

#include <fcntl.h>
#include <unistd.h>

namespace telehelm::daemon {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = ".deleted-";
constexpr std::size_t kIdLength = 36; // a UUID

// So that a power failure cannot bring the old names back once the store has forgotten the run.
void syncFolder(const fs::path& folder) {
    const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

FolderAside asideOf(const fs::path& runs, const std::string& folder, const std::string& id) {
    return {runs / (std::string(kPrefix) + id + "-" + folder), id, folder};
}

void moveChildren(const fs::path& from, const fs::path& to, bool keepCheckpoints, std::error_code& error) {
    fs::create_directories(to, error);
    std::vector<fs::path> children;
    for (fs::directory_iterator entry(from, error); !error && entry != fs::directory_iterator(); entry.increment(error))
        if (!keepCheckpoints || entry->path().filename() != kCheckpoints)
            children.push_back(entry->path());
    for (const fs::path& child : children)
        if (!error)
            fs::rename(child, to / child.filename(), error);
}

Error cannotMove(const fs::path& folder, const std::error_code& error) {
    return {ErrorCode::FailedPrecondition,
            "the run's folder cannot be moved aside (" + error.message() + "); check the owner and permissions of it and of the folder around it",
            folder.string()};
}

} // namespace

bool canNameRun(const std::string& name) {
    return !name.empty() && name.size() <= 100 && name.front() != '.' && std::ranges::all_of(name, [](unsigned char c) {
        return std::isalnum(c) || c == '-' || c == '_' || c == '.';
    });
}

std::string freeFolder(const fs::path& runs, const std::string& name, const std::function<bool(const std::string&)>& isUsed) {
    std::error_code error;
    const auto isTaken = [&](const std::string& folder) {
        return isUsed(folder) || fs::directory_iterator(runs / folder / kCheckpoints, error) != fs::directory_iterator();
    };
    std::string folder = name;
    for (int number = 2; isTaken(folder); ++number)
        folder = name + "-" + std::to_string(number);
    return folder;
}

std::vector<FolderAside> foldersAside(const fs::path& runs) {
    std::vector<FolderAside> all;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(runs, error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(kPrefix) && name.size() > kPrefix.size() + kIdLength + 1)
            all.push_back({entry.path(), name.substr(kPrefix.size(), kIdLength), name.substr(kPrefix.size() + kIdLength + 1)});
    }
    return all;
}

Result<FolderAside> setAside(const fs::path& runs, const std::string& folder, const std::string& id, bool keepCheckpoints) {
    const FolderAside aside = asideOf(runs, folder, id);
    std::error_code error;
    if (!fs::exists(runs / folder, error))
        return aside; // somebody has removed it by hand
    if (keepCheckpoints)
        moveChildren(runs / folder, aside.path, true, error);
    else
        fs::rename(runs / folder, aside.path, error);
    if (error) {
        (void)putBack(aside);
        return tl::unexpected(cannotMove(runs / folder, error));
    }
    syncFolder(runs / folder);
    syncFolder(runs);
    return aside;
}

Result<void> putBack(const FolderAside& aside) {
    const fs::path folder = aside.path.parent_path() / aside.folder;
    std::error_code error;
    if (!fs::exists(aside.path, error))
        return {};
    moveChildren(aside.path, folder, false, error);
    if (!error)
        fs::remove(aside.path, error);
    if (error)
        return tl::unexpected(cannotMove(aside.path, error));
    return {};
}

Result<void> removeAside(const FolderAside& aside, const std::function<bool()>& isStopping) {
    std::error_code error;
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(aside.path, error))
        if (!entry.is_directory(error))
            files.push_back(entry.path());
    for (const fs::path& file : files) {
        if (isStopping())
            return {};
        fs::remove(file, error);
    }
    fs::remove_all(aside.path, error);
    if (error)
        return fail(ErrorCode::FailedPrecondition,
                    "what is left of a deleted run cannot be removed (" + error.message() + "); remove it by hand, or mend its permissions: it is tried again "
                    "when the daemon starts",
                    aside.path.string());
    return {};
}

} // namespace telehelm::daemon
