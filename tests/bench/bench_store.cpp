// SPDX-License-Identifier: Apache-2.0
// The store's figures: durable ingest, bytes a point, queries warm and cold, many series, a million names, memory.
// bench_store [--short|--long] [PART…]: parts ingest, query, many, names, memory. TELEHELM_BENCH=short|long says the same.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <sstream>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"

using namespace telehelm;
using namespace telehelm::ipc;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kSeries = 1000, kBatchPoints = 512, kBatchesPerCommit = 64;

// How much; the figures that the store is held to are those of the long form.
struct Form {
    const char* name = "default";
    std::size_t ingestPoints = 10'000'000, queryPoints = 100'000'000, names = 1'000'000, memoryRuns = 1000, memoryPoints = 100'000'000;
};

template <typename T>
T must(Result<T> result) {
    if (!result) {
        std::cerr << "bench_store: " << result.error().text() << "\n";
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
}

double secondsOf(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double medianMs(int times, const std::function<void()>& work) {
    std::vector<double> all;
    for (int i = 0; i < times; ++i)
        all.push_back(secondsOf(work) * 1e3);
    std::nth_element(all.begin(), all.begin() + times / 2, all.end());
    return all[static_cast<std::size_t>(times) / 2];
}

// "VmRSS" or "VmHWM" of this process.
double memoryMb(const std::string& field) {
    std::ifstream in("/proc/self/status");
    std::string line;
    while (std::getline(in, line))
        if (line.starts_with(field + ":"))
            return std::strtod(line.c_str() + field.size() + 1, nullptr) / 1024;
    return 0;
}

class Folder {
public:
    Folder() : m_dir(fs::temp_directory_path() / ("telehelm-bench-" + std::to_string(getpid()))) {
        fs::remove_all(m_dir);
        fs::create_directories(m_dir);
    }
    ~Folder() { fs::remove_all(m_dir); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] fs::path file() const { return m_dir / "telehelm.db"; }

private:
    fs::path m_dir;
};

void addAttempt(store::Store& store, const std::string& run) {
    must(store.addRun({run, "", nowUs(), ""}));
    AttemptInfo attempt;
    attempt.key = {run, 1};
    must(store.addAttempt(attempt));
}

using Curve = std::vector<double>;

std::vector<Curve> noise(std::size_t length) {
    std::mt19937_64 random(1);
    std::normal_distribution<double> normal;
    std::vector<Curve> curves(64, Curve(length));
    for (Curve& curve : curves)
        for (double& value : curve)
            value = normal(random);
    return curves;
}

// Each numeric column after step and tokens is a curve.
std::vector<Curve> realCurves(const fs::path& folder) {
    std::vector<Curve> curves;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.path().extension() != ".csv")
            continue;
        std::ifstream in(entry.path());
        std::string line, cell;
        std::getline(in, line);
        std::vector<Curve> columns;
        while (std::getline(in, line)) {
            std::istringstream cells(line);
            for (std::size_t column = 0; std::getline(cells, cell, ','); ++column) {
                if (column < 2 || cell.empty())
                    continue;
                columns.resize(std::max(columns.size(), column - 1));
                columns[column - 2].push_back(std::strtod(cell.c_str(), nullptr));
            }
        }
        for (Curve& curve : columns)
            if (curve.size() >= 500)
                curves.push_back(std::move(curve));
    }
    return curves;
}

// Step by step over all series, 512 points a batch: as a trainer with 1,000 metrics emits them.
class Source {
public:
    explicit Source(const std::vector<Curve>& curves) : m_curves(curves) {
        for (std::size_t i = 0; i < kSeries; ++i)
            m_names.push_back("layer/" + std::to_string(i) + "/norm");
    }
    TelemetryBatch next() {
        TelemetryBatch batch;
        batch.key = {"bench", 1};
        batch.sequence = ++m_sequence;
        batch.series.reserve(kBatchPoints);
        for (std::size_t i = 0; i < kBatchPoints; ++i) {
            const Curve& curve = m_curves[m_series % m_curves.size()];
            const double value = curve[(static_cast<std::size_t>(m_step) + m_series * 37) % curve.size()];
            batch.series.push_back({m_names[m_series], {{m_step, m_step * 4'000'000, m_wall, value}}});
            if (++m_series == kSeries) {
                m_series = 0;
                ++m_step;
                m_wall += 150'000 + static_cast<std::int64_t>(m_random() % 4000);
            }
        }
        return batch;
    }

private:
    const std::vector<Curve>& m_curves;
    std::vector<std::string> m_names;
    std::uint64_t m_sequence = 0;
    std::size_t m_series = 0;
    std::int64_t m_step = 1, m_wall = 1'700'000'000'000'000;
    std::mt19937 m_random{7};
};

void measureIngest(const Form& form, const std::string& what, const std::vector<Curve>& curves) {
    const Folder folder;
    double seconds = 0, worst = 0;
    std::size_t done = 0;
    {
        auto store = must(store::Store::open(folder.file()));
        addAttempt(*store, "bench");
        Source source(curves);
        while (done < form.ingestPoints) {
            std::vector<TelemetryBatch> batches;
            for (std::size_t i = 0; i < kBatchesPerCommit; ++i)
                batches.push_back(source.next());
            const double took = secondsOf([&] { must(store->ingest(batches)); });
            seconds += took;
            worst = std::max(worst, took);
            done += kBatchesPerCommit * kBatchPoints;
        }
    }
    const double bytes = static_cast<double>(fs::file_size(folder.file()));
    std::printf("{\"bench\": \"store/ingest\", \"form\": \"%s\", \"curves\": \"%s\", \"series\": %zu, \"batch_points\": %zu, \"points\": %zu, "
                "\"points_per_s\": %.0f, \"bytes_per_point\": %.2f, \"worst_commit_ms\": %.1f, \"peak_rss_mb\": %.0f}\n",
                form.name, what.c_str(), kSeries, kBatchPoints, done, static_cast<double>(done) / seconds, bytes / static_cast<double>(done), worst * 1e3,
                memoryMb("VmHWM"));
}

void benchIngest(const Form& form) {
    measureIngest(form, "noise", noise(1 << 14));
    // Real curves: a folder of logs beside the source, or the one that is named; a clone alone has none.
    const char* given = std::getenv("TELEHELM_CURVES");
    const char* source = std::getenv("TELEHELM_SOURCE");
    const fs::path folder = given ? fs::path(given) : fs::path(source ? source : ".") / "../shared/logs/csv";
    if (!fs::is_directory(folder)) {
        std::cerr << "bench_store: no real curves here (TELEHELM_CURVES names a folder of step,tokens,… CSV files)\n";
        return;
    }
    const std::vector<Curve> curves = realCurves(folder);
    if (curves.empty()) {
        std::cerr << "bench_store: " << folder.string() << " has no CSV with at least 500 lines\n";
        std::exit(1);
    }
    measureIngest(form, "real", curves);
}

// Series "name/0" … of `points` points each, a thousand and twenty-four points a block.
void fillSeries(store::Store& store, const std::string& run, const std::string& name, std::size_t count, std::size_t points) {
    std::mt19937_64 random(7);
    std::uint64_t sequence = must(store.attempt({run, 1}))->lastSequence;
    const std::size_t block = std::min<std::size_t>(points, 4096);
    auto shown = std::chrono::steady_clock::now();
    for (std::size_t at = 0; at < points; at += block) {
        std::vector<TelemetryBatch> batches;
        for (std::size_t n = 0; n < std::max<std::size_t>(1, 64 / count) && at + n * block < points; ++n) {
            TelemetryBatch& batch = batches.emplace_back();
            batch.key = {run, 1};
            batch.sequence = ++sequence;
            for (std::size_t i = 0; i < count; ++i) {
                SeriesBlock& series = batch.series.emplace_back();
                series.name = name + "/" + std::to_string(i);
                for (std::size_t p = at + n * block; p < std::min(points, at + (n + 1) * block); ++p) {
                    const auto step = static_cast<std::int64_t>(p);
                    series.points.push_back({step, step * 4096, 1'700'000'000'000'000 + step * 150'000, std::ldexp(static_cast<double>(random() >> 12), -48)});
                }
            }
        }
        at += (batches.size() - 1) * block;
        must(store.ingest(batches));
        if (std::chrono::steady_clock::now() - shown > std::chrono::seconds(5)) {
            shown = std::chrono::steady_clock::now();
            std::cerr << "bench_store: " << 100 * at / points << " % of " << count << " × " << points << " points written\n";
        }
    }
}

std::size_t buckets(store::Store& store, const SeriesQuery& query) {
    std::size_t got = 0;
    must(store.querySeries(query, [&](SeriesSegment&& segment) {
        got += segment.buckets.size();
        return true;
    }));
    return got;
}

SeriesQuery ask(const std::string& run, const std::string& name, std::uint32_t maxBuckets) {
    SeriesQuery query;
    query.key = {run, 0};
    query.names = {name};
    query.maxBuckets = maxBuckets;
    return query;
}

// The pages of a file leave the system's cache.
void dropCache(const fs::path& file) {
    for (const char* suffix : {"", "-wal"})
        if (const int fd = open((file.string() + suffix).c_str(), O_RDONLY); fd >= 0) {
            fsync(fd);
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
}

void benchQuery(const Form& form) {
    const Folder folder;
    {
        auto store = must(store::Store::open(folder.file()));
        addAttempt(*store, "long");
        const double seconds = secondsOf([&] { fillSeries(*store, "long", "x", 1, form.queryPoints); });
        std::fprintf(stderr, "bench_store: %zu points in %.0f s\n", form.queryPoints, seconds);
    }
    std::mt19937_64 random(3);
    const auto n = static_cast<std::int64_t>(form.queryPoints);
    std::vector<SeriesQuery> queries; // whole, then deeper and deeper, on every axis
    for (std::int64_t span = n; span >= 1000; span /= 3)
        for (const std::uint32_t most : {1000u, 500u}) {
            SeriesQuery query = ask("long", "x/0", most); // answers have up to twice as many buckets: at most 2,000
            query.axis = std::array{Axis::Step, Axis::Tokens, Axis::WallTime}[queries.size() % 3];
            const std::int64_t from = span == n ? 0 : static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n - span));
            const auto place = [&](std::int64_t step) {
                return query.axis == Axis::Step ? step : query.axis == Axis::Tokens ? step * 4096 : 1'700'000'000'000'000 + step * 150'000;
            };
            query.from = place(from);
            query.to = place(from + span - 1);
            queries.push_back(query);
        }
    double worstWarm = 0, worstCold = 0, worstOpenCold = 0;
    std::size_t most = 0;
    for (const SeriesQuery& query : queries) {
        dropCache(folder.file());
        const double opened = secondsOf([&] { must(store::Store::open(folder.file())); });
        worstOpenCold = std::max(worstOpenCold, opened * 1e3);
        auto store = must(store::Store::open(folder.file()));
        dropCache(folder.file());
        worstCold = std::max(worstCold, secondsOf([&] { most = std::max(most, buckets(*store, query)); }) * 1e3);
        worstWarm = std::max(worstWarm, medianMs(7, [&] { (void)buckets(*store, query); }));
    }
    auto store = must(store::Store::open(folder.file()));
    SeriesQuery smoothed = queries.front();
    smoothed.smoothing = 0.99;
    const double firstEma = secondsOf([&] { (void)buckets(*store, smoothed); }) * 1e3;
    const double warmEma = medianMs(5, [&] { (void)buckets(*store, smoothed); });
    SeriesQuery progressive = queries.front();
    progressive.firstBuckets = 100;
    double firstPass = 0;
    const auto start = std::chrono::steady_clock::now();
    must(store->querySeries(progressive, [&](SeriesSegment&& segment) {
        if (segment.pass == 0)
            firstPass = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() * 1e3;
        return true;
    }));
    std::printf("{\"bench\": \"store/query\", \"form\": \"%s\", \"points\": %zu, \"queries\": %zu, \"most_buckets\": %zu, \"worst_warm_ms\": %.2f, "
                "\"worst_cold_ms\": %.2f, \"cold\": \"fresh connection, posix_fadvise(DONTNEED) on the file\", \"worst_cold_open_ms\": %.1f, "
                "\"first_pass_ms\": %.2f, \"first_smoothed_ms\": %.0f, \"smoothed_again_ms\": %.2f, \"bytes_per_point\": %.2f}\n",
                form.name, form.queryPoints, queries.size(), most, worstWarm, worstCold, worstOpenCold, firstPass, firstEma, warmEma,
                static_cast<double>(fs::file_size(folder.file())) / static_cast<double>(form.queryPoints));
}

void benchMany(const Form& form) {
    const Folder folder;
    const std::size_t points = form.queryPoints / 100; // 1 M unless short
    auto store = must(store::Store::open(folder.file()));
    addAttempt(*store, "many");
    fillSeries(*store, "many", "m", 50, points);
    std::size_t got = 0;
    const double warm = medianMs(7, [&] { got = buckets(*store, ask("many", "m/*", 1000)); });
    const double wide = medianMs(5, [&] { (void)buckets(*store, ask("many", "m/*", 2000)); });
    std::printf("{\"bench\": \"store/many\", \"form\": \"%s\", \"series\": 50, \"points_each\": %zu, \"buckets\": %zu, \"call_ms\": %.1f, "
                "\"call_2000_to_4000_buckets_ms\": %.1f}\n",
                form.name, points, got, warm, wide);
}

void benchNames(const Form& form) {
    const Folder folder;
    auto store = must(store::Store::open(folder.file()));
    addAttempt(*store, "names");
    std::uint64_t sequence = 0;
    const double writing = secondsOf([&] {
        for (std::size_t i = 0; i < form.names;) {
            std::vector<TelemetryBatch> batch(1);
            batch[0].key = {"names", 1};
            batch[0].sequence = ++sequence;
            for (std::size_t n = 0; n < 20'000 && i < form.names; ++n, ++i)
                batch[0].series.push_back({"rank/" + std::to_string(i % 1000) + "/layer/" + std::to_string(i / 1000) + "/grad_norm",
                                           {{1, 1, 1, static_cast<double>(i)}}});
            must(store->ingest(batch));
        }
    });
    SeriesPage page;
    const auto list = [&](const std::string& glob) {
        return medianMs(5, [&] { page = must(store->listSeries({{"names", 1}, glob, {}, 1000})); });
    };
    const double first = list("");
    const auto all = page.matching;
    const double prefix = list("rank/77*");
    const double suffix = list("*/layer/123/*");
    const auto found = page.matching;
    const double none = list("*nowhere*");
    const double everything = secondsOf([&] { page = must(store->listSeries({{"names", 1}, {}, {}, 0})); }) * 1e3;
    std::printf("{\"bench\": \"store/names\", \"form\": \"%s\", \"series\": %llu, \"first_page_ms\": %.1f, \"search_prefix_ms\": %.1f, "
                "\"search_middle_ms\": %.1f, \"found\": %llu, \"search_none_ms\": %.1f, \"all_in_one_page_ms\": %.0f, \"written_in_s\": %.1f, \"rss_mb\": %.0f}\n",
                form.name, static_cast<unsigned long long>(all), first, prefix, suffix, static_cast<unsigned long long>(found), none, everything,
                writing, memoryMb("VmRSS"));
}

// In a process of its own, so that nothing that wrote the store counts: opens it, asks every run, lists and takes points.
void benchMemory(const Form& form) {
    const Folder folder;
    const std::size_t each = form.memoryPoints / form.memoryRuns / 10;
    const pid_t writer = fork();
    if (writer == 0) {
        {
            auto store = must(store::Store::open(folder.file()));
            auto shown = std::chrono::steady_clock::now();
            for (std::size_t run = 0; run < form.memoryRuns; ++run) {
                addAttempt(*store, "run" + std::to_string(run));
                fillSeries(*store, "run" + std::to_string(run), "s", 10, each);
                if (std::chrono::steady_clock::now() - shown > std::chrono::seconds(5)) {
                    shown = std::chrono::steady_clock::now();
                    std::cerr << "bench_store: " << run << " of " << form.memoryRuns << " runs written\n";
                }
            }
            std::fprintf(stderr, "bench_store: the writer's peak was %.0f MB\n", memoryMb("VmHWM"));
        }
        std::fflush(stderr);
        _exit(0);
    }
    int status = 0;
    waitpid(writer, &status, 0);
    if (status != 0)
        std::exit(1);
    const pid_t reader = fork();
    if (reader == 0) {
        {
            auto store = must(store::Store::open(folder.file()));
            const double opened = memoryMb("VmRSS");
            for (std::size_t run = 0; run < form.memoryRuns; ++run) {
                SeriesQuery query = ask("run" + std::to_string(run), "s/*", 2000);
                query.smoothing = 0.9;
                (void)buckets(*store, query);
            }
            const double asked = memoryMb("VmRSS");
            for (std::size_t run = 0; run < form.memoryRuns; ++run)
                fillSeries(*store, "run" + std::to_string(run), "s", 10, 512);
            std::printf("{\"bench\": \"store/memory\", \"form\": \"%s\", \"runs\": %zu, \"points\": %zu, \"rss_open_mb\": %.0f, "
                        "\"rss_all_runs_asked_mb\": %.0f, \"rss_all_runs_growing_mb\": %.0f, \"peak_rss_mb\": %.0f}\n",
                        form.name, form.memoryRuns, form.memoryRuns * each * 10, opened, asked, memoryMb("VmRSS"), memoryMb("VmHWM"));
        }
        std::fflush(stdout);
        _exit(0);
    }
    waitpid(reader, &status, 0);
    if (status != 0)
        std::exit(1);
}

void printMachine(const Form& form) {
    std::ifstream in("/proc/cpuinfo");
    std::string line, cpu = "unknown";
    while (std::getline(in, line))
        if (line.starts_with("model name"))
            cpu = line.substr(line.find(':') + 2);
    double load = 0;
    std::ifstream("/proc/loadavg") >> load;
    std::printf("{\"bench\": \"store/machine\", \"form\": \"%s\", \"cpu\": \"%s\", \"cores\": %ld, \"load\": %.1f}\n", form.name, cpu.c_str(),
                sysconf(_SC_NPROCESSORS_ONLN), load);
    std::fflush(stdout);
}

} // namespace

int main(int argc, char** argv) {
    Form form;
    std::vector<std::string> parts;
    std::vector<std::string> words(argv + 1, argv + argc);
    if (const char* wanted = std::getenv("TELEHELM_BENCH"))
        words.push_back(std::string("--") + wanted);
    for (const std::string& word : words) {
        if (word == "--short")
            form = {"short", 2'000'000, 4'000'000, 100'000, 100, 2'000'000};
        else if (word == "--long")
            form = {"long", 50'000'000, 100'000'000, 1'000'000, 1000, 1'000'000'000};
        else if (word == "ingest" || word == "query" || word == "many" || word == "names" || word == "memory")
            parts.push_back(word);
        else {
            std::cerr << "bench_store: what is “" << word << "”? bench_store [--short|--long] [ingest|query|many|names|memory…]\n";
            return 2;
        }
    }
    printMachine(form);
    const std::pair<const char*, void (*)(const Form&)> all[] = {
        {"memory", benchMemory}, {"ingest", benchIngest}, {"query", benchQuery}, {"many", benchMany}, {"names", benchNames}};
    for (const auto& [name, run] : all)
        if (parts.empty() || std::find(parts.begin(), parts.end(), name) != parts.end()) {
            run(form);
            std::fflush(stdout);
        }
    return 0;
}
