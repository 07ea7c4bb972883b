// SPDX-License-Identifier: Apache-2.0
// The same points in our store and in other programs' files, in one run: how long until the first complete curve is there, in how much memory,
// and how many points a second are taken. bench_peers.py is the others' part; ./dev bench peers prepares its Python. One JSON object a line.
// Each side runs as often as the other, in turn; medians count.
// Usage: bench_peers [points per series] [series]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "store/store.h"

namespace {

using namespace telehelm;
using namespace telehelm::ipc;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr std::size_t kBatchPoints = 512, kBatchesPerCommit = 64;
constexpr std::size_t kTrackedPoints = 10'000; // for a tracker that takes values one by one
constexpr int kRounds = 5;
constexpr std::uint32_t kBuckets = 2000;       // of a first curve: more than a plot has pixels
const AttemptKey kKey{"peers", 1};

template <typename T>
T must(Result<T> result) {
    if (!result)
        throw std::runtime_error(result.error().text());
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

double msSince(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

double load() {
    double one = 0;
    getloadavg(&one, 1);
    return one;
}

double peakMb() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmHWM:"))
            return std::atof(line.c_str() + 6) / 1024;
    return 0;
}

std::string seriesName(std::size_t series) { return "layer/" + std::to_string(series) + "/norm"; }

using Curves = std::vector<std::vector<double>>;

Curves makeCurves(std::size_t series, std::size_t length) { // like losses: falling, with noise
    std::mt19937_64 random(1);
    std::normal_distribution<double> noise(0, 0.02);
    Curves curves(series, std::vector<double>(length));
    for (std::vector<double>& curve : curves)
        for (std::size_t i = 0; i < length; ++i)
            curve[i] = 2 + 8 * std::exp(-static_cast<double>(i) / 5000) + noise(random);
    return curves;
}

void writeRaw(const Curves& curves, std::size_t length, const fs::path& file) {
    std::ofstream out(file, std::ios::binary);
    for (const std::vector<double>& curve : curves)
        out.write(reinterpret_cast<const char*>(curve.data()), static_cast<std::streamsize>(length * sizeof(double)));
}

/// The first `length` points of each curve, durable after each commit; milliseconds of the commits.
double ingest(const Curves& curves, std::size_t length, const fs::path& file) {
    auto store = must(store::Store::open(file));
    must(store->addRun({kKey.run, "", nowUs(), ""}));
    AttemptInfo attempt;
    attempt.key = kKey;
    must(store->addAttempt(attempt));
    const std::size_t stepsPerBatch = std::max<std::size_t>(1, kBatchPoints / curves.size());
    std::vector<TelemetryBatch> batches;
    std::uint64_t sequence = 0;
    double ms = 0;
    for (std::size_t at = 0; at < length; at += stepsPerBatch) {
        TelemetryBatch batch;
        batch.key = kKey;
        batch.sequence = ++sequence;
        for (std::size_t series = 0; series < curves.size(); ++series) {
            SeriesBlock block{seriesName(series), {}};
            for (std::size_t i = at; i < std::min(at + stepsPerBatch, length); ++i) {
                const auto step = static_cast<std::int64_t>(i);
                block.points.push_back({step, step * 2048, 1'700'000'000'000'000 + step * 150'000, curves[series][i]});
            }
            batch.series.push_back(std::move(block));
        }
        batches.push_back(std::move(batch));
        if (batches.size() == kBatchesPerCommit || at + stepsPerBatch >= length) {
            const auto start = Clock::now();
            must(store->ingest(batches));
            ms += msSince(start);
            batches.clear();
        }
    }
    return ms;
}

/// In a process of its own: opens the store and asks for a curve; its JSON goes to the standard output.
void openStore(const fs::path& file, std::uint32_t buckets) {
    const double before = peakMb();
    const auto start = Clock::now();
    auto store = must(store::Store::open(file));
    SeriesQuery query;
    query.key = kKey;
    query.names = {seriesName(0)};
    query.maxBuckets = buckets;
    std::uint64_t points = 0;
    must(store->querySeries(query, [&](SeriesSegment&& segment) {
        for (const Bucket& bucket : segment.buckets)
            points += bucket.count;
        return true;
    }));
    const double ms = msSince(start);
    std::printf("%s\n", json{{"ms", ms}, {"points", points}, {"peak_mb", peakMb()}, {"loaded_mb", peakMb() - before}}.dump().c_str());
}

json runAndRead(const std::vector<std::string>& words) {
    int ends[2];
    if (pipe(ends) != 0)
        throw std::runtime_error("no pipe");
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        std::vector<char*> arguments;
        for (const std::string& word : words)
            arguments.push_back(const_cast<char*>(word.c_str()));
        arguments.push_back(nullptr);
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    close(ends[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    const json answer = json::parse(text, nullptr, false);
    if (status != 0 || answer.is_discarded())
        throw std::runtime_error(words[0] + " " + words[1] + " " + words[2] + " failed (see above)");
    return answer;
}

class Bench {
public:
    Bench(fs::path folder, std::size_t series, std::size_t length) : m_folder(std::move(folder)), m_curves(makeCurves(series, length)) {
        const char* python = std::getenv("TELEHELM_BENCH_PYTHON");
        const char* source = std::getenv("TELEHELM_SOURCE");
        if (python == nullptr || source == nullptr)
            throw std::runtime_error("start it by ./dev bench peers, which prepares a Python with TensorBoard and Aim");
        m_python = python;
        m_script = fs::path(source) / "tests/bench/bench_peers.py";
        setenv("TELEHELM_PEERS_POINTS", std::to_string(length).c_str(), 1);
    }
    void run() {
        const std::size_t points = m_curves.size() * m_curves[0].size();
        const double whole = static_cast<double>(points) / ingest(m_curves, m_curves[0].size(), m_folder / "store.db") * 1e3;
        writeRaw(m_curves, m_curves[0].size(), m_folder / "points");
        std::fprintf(stderr, "bench_peers: writing %zu points as tfevents\n", points);
        fs::create_directories(m_folder / "logdir"); // a folder with “tfevents” in its name is taken for a file
        (void)peer("write-tfevents", m_folder / "points", m_folder / "logdir");
        std::vector<json> summary, raw, accumulator, server;
        for (int round = 1; round <= kRounds; ++round) { // in turn, so that a slow minute hits all alike
            std::fprintf(stderr, "bench_peers: opening, round %d of %d\n", round, kRounds);
            summary.push_back(opened(kBuckets));
            accumulator.push_back(peer("open-accumulator", m_folder / "logdir", seriesName(0)));
            raw.push_back(opened(0));
            server.push_back(peer("open-data-server", m_folder / "logdir", seriesName(0)));
        }
        compareOpening(median(accumulator), "open-accumulator", median(summary), median(raw));
        compareOpening(median(server), "open-data-server", median(summary), median(raw));
        compareIngest(whole, points);
    }

private:
    /// Each in a process of its own. Files are warm for everybody: they have just been written.
    json opened(std::uint32_t buckets) {
        json now = runAndRead({fs::read_symlink("/proc/self/exe"), "--open", m_folder / "store.db", std::to_string(buckets)});
        if (now["points"] != m_curves[0].size())
            throw std::runtime_error("our own curve lacks points");
        return now;
    }
    static json median(std::vector<json> runs) {
        std::ranges::sort(runs, {}, [](const json& run) { return run["ms"].get<double>(); });
        return runs[runs.size() / 2];
    }
    json peer(const std::string& task, const std::string& first, const std::string& second) {
        return runAndRead({m_python, m_script, task, first, std::to_string(m_curves.size()), second});
    }
    void compareOpening(const json& theirs, const char* loader, const json& summary, const json& raw) {
        if (theirs["points"] != m_curves[0].size())
            throw std::runtime_error(std::string(loader) + " has not loaded every point");
        json line = {{"bench", "peers"}, {"what", "first complete curve"}, {"peer", theirs["version"]}, {"loader", loader},
                     {"series", m_curves.size()}, {"points", m_curves.size() * m_curves[0].size()}, {"median_of", kRounds},
                     {"peer_ms", theirs["ms"]}, {"peer_peak_mb", theirs["peak_mb"]}, {"ours_ms", summary["ms"]},
                     {"ours_raw_ms", raw["ms"]}, {"ours_peak_mb", summary["peak_mb"]}, {"ours_raw_peak_mb", raw["peak_mb"]}};
        line["time_ratio"] = theirs["ms"].get<double>() / summary["ms"].get<double>();
        line["time_ratio_raw"] = theirs["ms"].get<double>() / raw["ms"].get<double>();
        line["memory_ratio"] = theirs["peak_mb"].get<double>() / summary["peak_mb"].get<double>();
        tell(std::move(line));
    }
    void compareIngest(double whole, std::size_t points) {
        const std::size_t steps = std::max<std::size_t>(1, std::min(m_curves[0].size(), kTrackedPoints / m_curves.size()));
        writeRaw(m_curves, steps, m_folder / "tracked");
        const std::size_t tracked = steps * m_curves.size();
        std::vector<json> theirs, ours;
        for (int round = 1; round <= kRounds; ++round) {
            std::fprintf(stderr, "bench_peers: tracking %zu points, round %d of %d\n", tracked, round, kRounds);
            const std::string name = std::to_string(round);
            fs::create_directories(m_folder / ("aim-" + name));
            theirs.push_back(peer("track-aim", m_folder / "tracked", m_folder / ("aim-" + name)));
            ours.push_back({{"ms", ingest(m_curves, steps, m_folder / ("tracked-" + name + ".db"))}});
        }
        const auto rate = [&](const std::vector<json>& runs) { return static_cast<double>(tracked) / median(runs)["ms"].get<double>() * 1e3; };
        tell({{"bench", "peers"}, {"what", "ingest"}, {"peer", theirs[0]["version"]}, {"points", tracked}, {"median_of", kRounds},
              {"peer_points_per_s", rate(theirs)}, {"ours_points_per_s_durable", rate(ours)}, {"rate_ratio", rate(ours) / rate(theirs)},
              {"ours_points_per_s_durable_whole", whole}, {"whole_points", points}});
    }
    static void tell(json line) {
        line["load"] = load();
        std::printf("%s\n", line.dump().c_str());
        std::fflush(stdout);
    }

    const fs::path m_folder;
    const Curves m_curves;
    std::string m_python, m_script;
};

} // namespace

int main(int argc, char** argv) {
    try {
        if (argc == 4 && std::string(argv[1]) == "--open") {
            openStore(argv[2], static_cast<std::uint32_t>(std::atoi(argv[3])));
            return 0;
        }
        const std::size_t length = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 30'000;
        const std::size_t series = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10;
        if (argc > 3 || length == 0 || series == 0) {
            std::fputs("bench_peers [points per series] [series]: our store against TensorBoard's loaders and Aim\n", stderr);
            return 2;
        }
        std::string scratch = (fs::temp_directory_path() / "bench-peers-XXXXXX").string();
        if (mkdtemp(scratch.data()) == nullptr)
            throw std::runtime_error("no folder in " + fs::temp_directory_path().string());
        const struct Cleaner {
            fs::path folder;
            ~Cleaner() {
                std::error_code error;
                fs::remove_all(folder, error);
            }
        } cleaner{scratch};
        Bench(scratch, series, length).run();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_peers: %s\n", error.what());
        return 1;
    }
}
