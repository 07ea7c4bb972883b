// SPDX-License-Identifier: Apache-2.0
#include "data/package_store.h"

#include <algorithm>
#include <sstream>
#include <system_error>

#include <unistd.h>

#include "data/process.h"

namespace telehelm::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* kOnlineCommand = "telehelm-data demo";
constexpr const char* kListsMissing = "apt does not know the packages of the demo corpus; with the network up, run “sudo apt-get "
                                      "update”, then “telehelm-data demo” again";

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names)
        text += (text.empty() ? "" : " ") + name;
    return text;
}

/// The last lines that are not apt's progress.
std::string lastLines(const std::string& output, int count = 1) {
    std::istringstream in(output);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);)
        if (!line.empty() && line.rfind("Get:", 0) != 0 && line.rfind("Reading", 0) != 0)
            lines.push_back(line);
    std::string text;
    for (auto i = lines.size() - std::min(lines.size(), static_cast<std::size_t>(count)); i < lines.size(); ++i)
        text += (text.empty() ? "" : " / ") + lines[i];
    return text;
}

/// “name_4%3a7.4_all.deb” → 4:7.4
std::string versionOf(const std::string& file) {
    const auto begin = file.find('_') + 1;
    auto version = file.substr(begin, file.rfind('_') - begin);
    if (const auto colon = version.find("%3a"); colon != std::string::npos)
        version.replace(colon, 3, ":");
    return version;
}

bool isFull(const std::string& output) {
    return output.find("No space left on device") != std::string::npos;
}

Error noSpace(const fs::path& where) {
    return {ErrorCode::ResourceExhausted,
            "no space left on the disk; free some, or set XDG_CACHE_HOME to a folder on another one", where.string()};
}

std::int64_t bytesIn(const fs::path& dir) {
    std::int64_t bytes = 0;
    std::error_code error; // a file may vanish while it is looked at
    for (fs::recursive_directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
        const auto size = it->is_regular_file(error) ? it->file_size(error) : 0;
        bytes += error ? 0 : static_cast<std::int64_t>(size);
    }
    return bytes;
}

Error withoutTool(Error error) {
    if (error.code == ErrorCode::NotFound)
        return {ErrorCode::Unavailable,
                "this program is not here; the demo corpus is made from Debian packages and needs Debian 12 with apt and dpkg",
                error.context};
    return error;
}

} // namespace

std::vector<CachedPackage> PackageStore::cached(const std::vector<std::string>& names, std::vector<std::string>& missing) const {
    std::vector<CachedPackage> found;
    std::vector<fs::path> files;
    std::error_code error; // no folder: nothing is cached
    for (fs::directory_iterator it(m_dir, error), end; !error && it != end; it.increment(error))
        if (it->path().extension() == ".deb")
            files.push_back(it->path());
    std::sort(files.begin(), files.end());
    for (const auto& name : names) {
        const auto file = std::find_if(files.begin(), files.end(),
                                       [&](const fs::path& path) { return path.filename().string().rfind(name + "_", 0) == 0; });
        if (file == files.end())
            missing.push_back(name);
        else
            found.push_back(
                {name, versionOf(file->filename().string()), *file, static_cast<std::int64_t>(fs::file_size(*file, error))});
    }
    return found;
}

Result<std::vector<PackageStore::Offer>> PackageStore::offers(const std::vector<std::string>& names) {
    std::vector<std::string> command = {"apt-get", "-q", "--print-uris", "download"};
    command.insert(command.end(), names.begin(), names.end());
    auto ran = runProcess(command, m_dir, [&] { return !m_cancelled; });
    if (!ran)
        return tl::unexpected(withoutTool(ran.error()));
    if (ran->exitCode != 0)
        return fail(ErrorCode::NotFound, lastLines(ran->output), "apt-get download");
    std::vector<Offer> offers; // 'http://…/x.deb' x_1.0_all.deb 12345 SHA256:…
    std::istringstream lines(ran->output);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string uri;
        Offer offer;
        if (line.rfind('\'', 0) == 0 && words >> uri >> offer.file >> offer.bytes) {
            offer.name = offer.file.substr(0, offer.file.find('_'));
            offers.push_back(std::move(offer));
        }
    }
    for (const auto& name : names)
        if (std::none_of(offers.begin(), offers.end(), [&](const Offer& offer) { return offer.name == name; }))
            return fail(ErrorCode::NotFound, "apt offers no package “" + name + "”", "apt-get download");
    return offers;
}

/// On a fresh machine apt knows no packages yet, on a stale one it knows old ones.
Result<void> PackageStore::refreshLists() {
    m_progress.note("apt does not know these packages: running apt-get update");
    m_progress.begin("apt-get update");
    const std::vector<std::string> command = ::geteuid() == 0 ? std::vector<std::string>{"apt-get", "-q", "update"}
                                                              : std::vector<std::string>{"sudo", "-n", "apt-get", "-q", "update"};
    auto ran = runProcess(command, m_dir, [&] {
        m_progress.update(bytesIn("/var/lib/apt/lists"), 0, "");
        return !m_cancelled;
    });
    if (!ran && ran.error().code == ErrorCode::Cancelled)
        return tl::unexpected(ran.error());
    if (!ran || ran->exitCode != 0)
        return fail(ErrorCode::Unavailable, kListsMissing);
    return {}; // apt-get update succeeds without a network, too: whether it helped is seen afterwards
}

Result<void> PackageStore::fetch(const std::vector<Offer>& offers) {
    const auto partial = m_dir / "partial";
    std::error_code error;
    fs::remove_all(partial, error);
    fs::create_directories(partial, error);
    if (error)
        return fail(ErrorCode::Unavailable, "cannot make the folder: " + error.message(), partial.string());
    std::vector<std::string> command = {"apt-get", "-q"};
    if (::geteuid() == 0) // else apt warns that its own user cannot write here
        command.insert(command.end(), {"-o", "APT::Sandbox::User=root"});
    command.push_back("download");
    std::int64_t total = 0;
    for (const auto& offer : offers) {
        command.push_back(offer.name);
        total += offer.bytes;
    }
    if (const auto space = fs::space(partial, error); !error && static_cast<std::int64_t>(space.available) < total)
        return tl::unexpected(noSpace(partial));
    const std::string what =
        "fetching " + std::to_string(offers.size()) + (offers.size() == 1 ? " Debian package" : " Debian packages");
    m_progress.begin(what);
    m_progress.note(what + ", " + sizeText(total) + ", into " + m_dir.string());
    auto ran = runProcess(command, partial, [&] {
        m_progress.update(bytesIn(partial), total, "");
        return !m_cancelled;
    });
    if (ran && ran->exitCode == 0) {
        for (const auto& offer : offers) {
            if (static_cast<std::int64_t>(fs::file_size(partial / offer.file, error)) != offer.bytes || error)
                return fail(ErrorCode::DataLoss, "apt-get download did not bring all of " + offer.file, partial.string());
            fs::rename(partial / offer.file, m_dir / offer.file, error);
            if (error)
                return fail(ErrorCode::Unavailable, "cannot be moved into the cache: " + error.message(), offer.file);
        }
        m_progress.finish("done, " + sizeText(total));
    }
    std::error_code ignored; // a leftover is removed by the next fetch
    fs::remove_all(partial, ignored);
    if (!ran)
        return tl::unexpected(withoutTool(ran.error()));
    if (isFull(ran->output))
        return tl::unexpected(noSpace(partial));
    if (ran->exitCode != 0)
        return fail(ran->output.find("404  Not Found") != std::string::npos ? ErrorCode::NotFound : ErrorCode::Unavailable,
                    "the packages could not be fetched (" + lastLines(ran->output) + "); is the network up? Then run “" +
                        kOnlineCommand + "” again",
                    "apt-get download");
    return {};
}

Result<std::vector<CachedPackage>> PackageStore::provide(const std::vector<std::string>& names, bool offline) {
    std::vector<std::string> missing;
    auto found = cached(names, missing);
    if (missing.empty())
        return found;
    if (offline)
        return fail(ErrorCode::Unavailable,
                    "offline, and " + std::to_string(missing.size()) + " of " + std::to_string(names.size()) +
                        " packages are not in the cache: " + joined(missing) + ". Run “" + kOnlineCommand +
                        "” once while online; afterwards it works offline",
                    m_dir.string());
    std::error_code error;
    fs::create_directories(m_dir, error);
    if (error)
        return fail(ErrorCode::Unavailable, "cannot make the folder: " + error.message(), m_dir.string());
    auto offered = offers(missing);
    if (!offered && offered.error().code == ErrorCode::NotFound && offered.error().context == "apt-get download") {
        if (auto refreshed = refreshLists(); !refreshed)
            return tl::unexpected(refreshed.error());
        offered = offers(missing);
        if (!offered && offered.error().code == ErrorCode::NotFound)
            return fail(ErrorCode::Unavailable, std::string(kListsMissing) + " (" + offered.error().message + ")");
    }
    if (!offered)
        return tl::unexpected(offered.error());
    auto fetched = fetch(*offered);
    if (!fetched && fetched.error().code == ErrorCode::NotFound) { // apt's lists are old: they name versions that are gone
        if (auto refreshed = refreshLists(); !refreshed)
            return tl::unexpected(refreshed.error());
        offered = offers(missing);
        fetched = offered ? fetch(*offered) : Result<void>(tl::unexpected(offered.error()));
    }
    if (!fetched)
        return tl::unexpected(Error{fetched.error().code == ErrorCode::NotFound ? ErrorCode::Unavailable : fetched.error().code,
                                    fetched.error().message, fetched.error().context});
    missing.clear();
    found = cached(names, missing);
    if (!missing.empty())
        return fail(ErrorCode::Internal, "fetched, but not in the cache: " + joined(missing), m_dir.string());
    return found;
}

Result<void> PackageStore::unpack(const CachedPackage& package, const fs::path& into) {
    std::error_code error;
    fs::create_directories(into, error);
    if (error)
        return fail(ErrorCode::Unavailable, "cannot make the folder: " + error.message(), into.string());
    auto ran = runProcess({"dpkg", "-x", package.file.string(), into.string()}, into, [&] { return !m_cancelled; });
    if (!ran)
        return tl::unexpected(withoutTool(ran.error()));
    if (isFull(ran->output))
        return tl::unexpected(noSpace(into));
    if (ran->exitCode == 0)
        return {};
    if (ran->exitCode >= 128)
        return fail(ErrorCode::Internal, "dpkg was ended by signal " + std::to_string(ran->exitCode - 128),
                    package.file.string());
    fs::remove(package.file, error);
    return fail(ErrorCode::DataLoss,
                "the package cannot be unpacked (" + lastLines(ran->output) + ") and was removed; run “" + kOnlineCommand +
                    "” again to fetch it anew",
                package.file.string());
}

} // namespace telehelm::data
