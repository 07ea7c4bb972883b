// SPDX-License-Identifier: Apache-2.0
#include "data/demo_corpus.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/extract.h"
#include "data/package_list.h"
#include "data/package_store.h"

namespace telehelm::data {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kParagraphBytes = 100;       // a repeated paragraph from this length on is dropped
constexpr std::int64_t kSpaceNeeded = 250'000'000; // bytes: shards, and the largest package unpacked

/// An advisory lock on the cache, held while it lives.
class CacheLock {
public:
    [[nodiscard]] static Result<CacheLock> take(const fs::path& dir, Progress& progress, const std::atomic<bool>& cancelled) {
        std::error_code error;
        fs::create_directories(dir, error);
        const auto path = dir / "lock";
        const int fd = error ? -1 : ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
            return fail(ErrorCode::Unavailable, "cannot write in the cache: " + (error ? error.message() : std::strerror(errno)),
                        path.string());
        CacheLock lock(fd);
        bool told = false;
        while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (cancelled)
                return fail(ErrorCode::Cancelled, "interrupted");
            if (!told)
                progress.note("another telehelm-data is at work in " + dir.string() + ": waiting for it");
            told = true;
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
        }
        return lock;
    }
    CacheLock(CacheLock&& other) noexcept : m_fd(std::exchange(other.m_fd, -1)) {}
    CacheLock& operator=(CacheLock&&) = delete;
    ~CacheLock() {
        if (m_fd >= 0)
            ::close(m_fd);
    }

private:
    explicit CacheLock(int fd) : m_fd(fd) {}
    int m_fd;
};

/// A folder that goes away with it.
struct ScratchFolder {
    fs::path path;
    ~ScratchFolder() {
        std::error_code ignored; // the next run uses another one
        fs::remove_all(path, ignored);
    }
};

/// Of runs that were killed; the lock is held, so no one uses them.
void removeLeftovers(const fs::path& dir, const std::string& prefix) {
    std::vector<fs::path> found;
    std::error_code error; // no folder, nothing left over
    for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error))
        if (it->is_directory() && it->path().filename().string().rfind(prefix, 0) == 0)
            found.push_back(it->path());
    for (const auto& path : found)
        fs::remove_all(path, error);
}

class Builder {
public:
    Builder(const DemoOptions& options, const PackageList& list, Progress& progress, const std::atomic<bool>& cancelled)
        : m_options(options), m_list(list), m_progress(progress), m_cancelled(cancelled),
          m_store(options.cache / "packages", progress, cancelled), m_scratch{options.cache /
                                                                              ("unpacked-" + std::to_string(::getpid()))} {}

    Result<void> build() {
        removeLeftovers(m_options.cache, "unpacked-");
        removeLeftovers(fs::absolute(m_options.dir).parent_path(), m_options.dir.filename().string() + ".partial-");
        if (auto enough = checkSpace(); !enough)
            return enough;
        auto packages = m_store.provide(m_list.packageNames(), m_options.offline);
        if (!packages)
            return tl::unexpected(packages.error());
        auto writer = CorpusWriter::create(m_options.dir, CorpusWriter::Existing::Replace);
        if (!writer)
            return tl::unexpected(writer.error());
        m_progress.begin("reading the packages");
        for (const auto& package : *packages)
            m_total += package.bytes;
        writer->setRecipe(m_list.recipe);
        for (const auto& domain : m_list.domains) {
            if (auto begun = writer->beginDomain(domain.name, domain.languages, domain.holdOutOneIn); !begun)
                return begun;
            for (const auto& listed : m_list.packages)
                if (listed.domain == domain.name)
                    if (auto read = readPackage(listed, *packages, *writer); !read)
                        return read;
        }
        m_progress.finish(std::to_string(m_documents) + " documents, " + sizeText(m_textBytes) + " of text");
        return writer->finish();
    }

private:
    [[nodiscard]] Result<void> checkSpace() const {
        std::error_code error;
        auto dir = fs::absolute(m_options.dir);
        while (!fs::exists(dir, error) && dir.has_relative_path())
            dir = dir.parent_path();
        for (const auto& place : {dir, m_options.cache})
            if (const auto space = fs::space(place, error); !error && static_cast<std::int64_t>(space.available) < kSpaceNeeded)
                return fail(ErrorCode::ResourceExhausted,
                            "the corpus needs " + sizeText(kSpaceNeeded) + " of disk space, there are " +
                                sizeText(static_cast<std::int64_t>(space.available)) +
                                "; free some, or name a folder on another disk with --dir and XDG_CACHE_HOME",
                            place.string());
        return {};
    }

    Result<void> readPackage(const ListedPackage& listed, const std::vector<CachedPackage>& packages, CorpusWriter& writer) {
        const auto& package =
            *std::find_if(packages.begin(), packages.end(), [&](const auto& cached) { return cached.name == listed.name; });
        const auto root = m_scratch.path / listed.name;
        if (auto unpacked = m_store.unpack(package, root); !unpacked)
            return unpacked;
        ManifestSource source{listed.name, package.version, listed.licence, listed.domain, package.bytes, 0, 0, 0, 0, 0};
        const auto sink = [&](const std::string& document) -> Result<void> {
            auto added = writer.add(document);
            if (!added)
                return tl::unexpected(added.error());
            source.documents += *added;
            source.textBytes += *added ? static_cast<std::int64_t>(document.size()) : 0;
            return {};
        };
        const auto progress = [&](std::int64_t done, std::int64_t total) -> Result<void> {
            if (m_cancelled)
                return fail(ErrorCode::Cancelled, "interrupted");
            m_progress.update(m_done + package.bytes * done / total, m_total, listed.name);
            return {};
        };
        auto summary = extractPackage(listed, root, m_paragraphs, sink, progress);
        if (!summary)
            return tl::unexpected(summary.error());
        if (source.documents == 0)
            return fail(ErrorCode::DataLoss, "gives no text any more; has the package's layout changed?", listed.name);
        source.files = summary->files;
        source.unpackedBytes = summary->bytes;
        source.xxh3 = summary->xxh3;
        m_done += package.bytes;
        m_documents += source.documents;
        m_textBytes += source.textBytes;
        writer.addSource(std::move(source));
        std::error_code ignored; // goes with the scratch folder at the latest
        fs::remove_all(root, ignored);
        return {};
    }

    const DemoOptions& m_options;
    const PackageList& m_list;
    Progress& m_progress;
    const std::atomic<bool>& m_cancelled;
    PackageStore m_store;
    ScratchFolder m_scratch;
    ParagraphFilter m_paragraphs{kParagraphBytes};
    std::int64_t m_done = 0, m_total = 0; // bytes of packages
    std::int64_t m_documents = 0, m_textBytes = 0;
};

/// Whole and made by this list?
bool isReady(const fs::path& dir, const std::string& recipe, Progress& progress) {
    const auto manifest = readManifest(dir);
    if (!manifest)
        return false;
    if (manifest->recipe != recipe) {
        progress.note("the corpus in " + dir.string() + " was made by another list: making it again");
        return false;
    }
    if (const auto opened = openCorpus(dir); !opened) {
        progress.note(opened.error().text() + ": making the corpus again");
        return false;
    }
    return true;
}

} // namespace

Result<DemoCorpus> prepareDemoCorpus(const DemoOptions& options, Progress& progress, const std::atomic<bool>& cancelled) {
    const auto list = readPackageList(options.list);
    if (!list)
        return tl::unexpected(list.error());
    const bool wasReady = isReady(options.dir, list->recipe, progress);
    if (!wasReady) {
        const auto lock = CacheLock::take(options.cache, progress, cancelled);
        if (!lock)
            return tl::unexpected(lock.error());
        if (!isReady(options.dir, list->recipe, progress)) // else another process has made it meanwhile
            if (auto built = Builder(options, *list, progress, cancelled).build(); !built)
                return tl::unexpected(built.error());
    }
    auto manifest = readManifest(options.dir);
    if (!manifest)
        return tl::unexpected(manifest.error());
    return DemoCorpus{std::move(*manifest), wasReady};
}

} // namespace telehelm::data
