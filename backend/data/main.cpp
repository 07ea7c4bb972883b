// SPDX-License-Identifier: Apache-2.0
// telehelm-data: makes, shows and checks corpora.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include "config/run_config.h"
#include "data/corpus.h"
#include "data/demo_corpus.h"
#include "data/manifest.h"
#include "data/package_list.h"
#include "data/progress.h"
#include "data/slice.h"

namespace {

namespace fs = std::filesystem;
using namespace telehelm;
using namespace telehelm::data;

constexpr int kUsage = 2, kCorpus = 3, kPackages = 4, kSpace = 5, kInterrupted = 130;

constexpr const char* kDescription =
    "Makes, shows and checks corpora: text as byte-level tokens in memory-mapped shards, with a manifest.\n\n"
    "  telehelm-data demo            fetch some 50 MB of Debian packages (not installed), extract their English,\n"
    "                                Chinese and code, write the demo corpus; says “ready” when it is there already\n"
    "  telehelm-data info            what the demo corpus holds, domain by domain\n"
    "  telehelm-data verify DIR      read every byte of a corpus and compare the checksums\n"
    "  telehelm-data slice DIR OUT   a small corpus of some of its documents, for a machine or a test\n";

constexpr const char* kFooter =
    "Files: the corpus is in $XDG_CACHE_HOME/telehelm/corpus/demo (~/.cache/… without it) unless --dir names another folder; "
    "fetched\n"
    "packages stay in $XDG_CACHE_HOME/telehelm/corpus/packages, so that the corpus can be made again offline.\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage or list, 3 corpus missing or damaged, 4 packages cannot be had (offline?),\n"
    "5 no disk space, 130 interrupted (nothing half is left).";

std::atomic<bool> cancelled = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

int exitCode(ErrorCode code) {
    switch (code) {
    case ErrorCode::InvalidArgument:
    case ErrorCode::AlreadyExists:
        return kUsage;
    case ErrorCode::NotFound:
    case ErrorCode::DataLoss:
    case ErrorCode::VersionMismatch:
        return kCorpus;
    case ErrorCode::Unavailable:
        return kPackages;
    case ErrorCode::ResourceExhausted:
        return kSpace;
    case ErrorCode::Cancelled:
        return kInterrupted;
    default:
        return 1;
    }
}

int report(const Error& error) {
    std::fprintf(stderr, "telehelm-data: %s\n", error.text().c_str());
    return exitCode(error.code);
}

/// A row of the table; numbers with thin groups are hard to read by programs, so they come plain.
void printRow(const std::string& name, const std::string& languages, std::int64_t documents, std::int64_t bytes,
              std::int64_t tokens, std::int64_t validDocuments, std::int64_t validTokens) {
    std::printf("%-18s %-12s %10lld %12lld %12lld %9lld %11lld\n", name.c_str(), languages.c_str(),
                static_cast<long long>(documents), static_cast<long long>(bytes), static_cast<long long>(tokens),
                static_cast<long long>(validDocuments), static_cast<long long>(validTokens));
}

void printDomains(const Corpus& corpus) {
    std::printf("%-18s %-12s %10s %12s %12s %9s %11s\n", "domain", "languages", "documents", "bytes", "tokens", "held out",
                "its tokens");
    Domain sum;
    for (const auto& domain : corpus.domains()) {
        printRow(domain.name, domain.languages, domain.documents, domain.bytes, domain.tokens, domain.validDocuments,
                 domain.validTokens);
        sum.documents += domain.documents;
        sum.bytes += domain.bytes;
        sum.tokens += domain.tokens;
        sum.validDocuments += domain.validDocuments;
        sum.validTokens += domain.validTokens;
    }
    printRow("total", "", sum.documents, sum.bytes, sum.tokens, sum.validDocuments, sum.validTokens);
    std::vector<double> shares;
    for (const auto& domain : corpus.domains())
        shares.push_back(static_cast<double>(domain.tokens) / static_cast<double>(sum.tokens));
    std::printf("unigram entropy %.4f nats per token, domains in proportion to their size\n", corpus.unigramEntropy(shares));
}

int info(const fs::path& dir) {
    const auto manifest = readManifest(dir);
    if (!manifest)
        return report(manifest.error());
    const auto corpus = openCorpus(dir);
    if (!corpus)
        return report(corpus.error());
    std::printf("%s\n%s\n\n", dir.c_str(), manifest->recipe.c_str());
    printDomains(**corpus);
    if (manifest->sources.empty())
        return 0;
    std::printf("\n%-26s %-26s %-18s %9s %9s %10s  %s\n", "package", "version", "domain", "fetched", "documents", "text",
                "licence");
    std::int64_t fetched = 0;
    for (const auto& source : manifest->sources) {
        std::printf("%-26s %-26s %-18s %9s %9lld %10s  %s\n", source.package.c_str(), source.version.c_str(),
                    source.domain.c_str(), sizeText(source.downloadBytes).c_str(), static_cast<long long>(source.documents),
                    sizeText(source.textBytes).c_str(), source.licence.c_str());
        fetched += source.downloadBytes;
    }
    std::printf("%zu packages, %s fetched\n", manifest->sources.size(), sizeText(fetched).c_str());
    return 0;
}

int verify(const fs::path& dir) {
    const auto corpus = openCorpus(dir, true);
    if (!corpus)
        return report(corpus.error());
    std::printf("%s: %zu domains, every checksum is right\n", dir.c_str(), (*corpus)->domains().size());
    for (const auto& domain : (*corpus)->domains())
        if (domain.validTokens < 1024)
            std::printf("  %s: only %lld held-out tokens\n", domain.name.c_str(), static_cast<long long>(domain.validTokens));
    return 0;
}

int slice(const fs::path& from, const fs::path& to, std::int64_t tokens) {
    if (const auto sliced = sliceCorpus(from, to, tokens); !sliced)
        return report(sliced.error());
    const auto corpus = openCorpus(to);
    if (!corpus)
        return report(corpus.error());
    printDomains(**corpus);
    return 0;
}

int demo(DemoOptions options) {
    if (options.list.empty()) {
        std::error_code error;
        auto found = findDemoList(fs::read_symlink("/proc/self/exe", error).parent_path());
        if (!found)
            return report(found.error());
        options.list = *found;
    }
    Progress progress(stderr);
    const auto corpus = prepareDemoCorpus(options, progress, cancelled);
    if (!corpus)
        return report(corpus.error());
    std::int64_t bytes = 0, tokens = 0;
    for (const auto& domain : corpus->manifest.domains) {
        bytes += domain.train.bytes + domain.valid.bytes;
        tokens += domain.train.tokens;
    }
    std::printf("%s: %s, %zu domains, %s of text, %lld training tokens\n", corpus->wasReady ? "ready" : "made",
                options.dir.c_str(), corpus->manifest.domains.size(), sizeText(bytes).c_str(), static_cast<long long>(tokens));
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGINT, [](int) { cancelled = true; });
    std::signal(SIGTERM, [](int) { cancelled = true; });
    CLI::App app(kDescription, "telehelm-data");
    app.footer(kFooter);
    app.require_subcommand(1);
    app.set_version_flag("--version", "telehelm-data 0.1.0");
    const auto standard = config::demoCorpusDir();
    std::string dir = standard.string(), list;
    bool offline = false;
    auto* demoCommand = app.add_subcommand("demo", "Make the demo corpus, unless it is there already");
    demoCommand->add_option("--dir", dir, "Folder for the corpus")->capture_default_str();
    demoCommand->add_flag("--offline", offline, "Use only packages that were fetched before; touch no network");
    demoCommand->add_option("--list", list, "Another list of packages and rules (TOML, see resources/corpus/demo.toml)")
        ->check(CLI::ExistingFile);
    auto* infoCommand = app.add_subcommand("info", "Show domains, sizes, sources and licences of a corpus");
    infoCommand->add_option("DIR", dir, "The corpus' folder")->capture_default_str();
    auto* verifyCommand = app.add_subcommand("verify", "Read a whole corpus and compare its checksums");
    verifyCommand->add_option("DIR", dir, "The corpus' folder")->capture_default_str();
    std::string out;
    std::int64_t tokens = 250'000;
    auto* sliceCommand = app.add_subcommand("slice", "Make a small corpus of some documents of another, spread evenly over it");
    sliceCommand->add_option("DIR", dir, "The corpus' folder")->required();
    sliceCommand->add_option("OUT", out, "The small one's folder: new, or empty")->required();
    sliceCommand->add_option("--tokens", tokens, "Training tokens of a domain, about")->check(CLI::PositiveNumber)->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& success) { // --help, --version
        return app.exit(success);
    } catch (const CLI::ParseError& problem) {
        const auto rest = app.remaining();
        const bool isUnknown = app.get_subcommands().empty() && !rest.empty();
        std::fprintf(stderr, "telehelm-data: %s (see telehelm-data --help)\n",
                     isUnknown ? ("there is no subcommand “" + rest.front() + "”").c_str() : problem.what());
        return kUsage;
    }
    if (infoCommand->parsed())
        return info(dir);
    if (verifyCommand->parsed())
        return verify(dir);
    if (sliceCommand->parsed())
        return slice(dir, out, tokens);
    return demo({dir, standard.parent_path(), list, offline});
}
