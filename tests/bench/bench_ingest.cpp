// SPDX-License-Identifier: Apache-2.0
// Points stored durably per second, and bytes per stored point with all levels of the pyramid.
// bench_ingest [POINTS [FOLDER_WITH_CSV]]: noise, and the columns of step,tokens,… CSV files when a folder is given.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include <sys/resource.h>
#include <unistd.h>

#include "store/store.h"

using namespace telehelm;
using namespace telehelm::ipc;

namespace {

constexpr std::size_t kSeries = 1000, kBatchPoints = 512, kBatchesPerCommit = 64;

template <typename T>
T must(Result<T> result) {
    if (!result) {
        std::cerr << "bench_ingest: " << result.error().text() << "\n";
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>)
        return std::move(*result);
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
std::vector<Curve> realCurves(const std::filesystem::path& folder) {
    std::vector<Curve> curves;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
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

void measure(const std::string& what, const std::vector<Curve>& curves, std::size_t points) {
    const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("telehelm-bench-" + std::to_string(getpid()));
    std::filesystem::create_directories(dir);
    const std::filesystem::path file = dir / "store.db";
    double seconds = 0, worst = 0;
    std::size_t done = 0;
    {
        auto store = must(store::Store::open(file));
        must(store->addRun({"bench", "", nowUs(), ""}));
        AttemptInfo attempt;
        attempt.key = {"bench", 1};
        must(store->addAttempt(attempt));
        Source source(curves);
        while (done < points) {
            std::vector<TelemetryBatch> batches;
            for (std::size_t i = 0; i < kBatchesPerCommit; ++i)
                batches.push_back(source.next());
            const auto start = std::chrono::steady_clock::now();
            must(store->ingest(batches));
            const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            seconds += took;
            worst = std::max(worst, took);
            done += kBatchesPerCommit * kBatchPoints;
        }
    }
    const double bytes = static_cast<double>(std::filesystem::file_size(file));
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"bench\": \"ingest\", \"curves\": \"%s\", \"series\": %zu, \"batch_points\": %zu, \"points\": %zu, \"points_per_s\": %.0f, "
                "\"bytes_per_point\": %.2f, \"worst_commit_ms\": %.1f, \"peak_rss_mb\": %ld}\n",
                what.c_str(), kSeries, kBatchPoints, done, static_cast<double>(done) / seconds, bytes / static_cast<double>(done), worst * 1e3,
                usage.ru_maxrss / 1024);
    std::filesystem::remove_all(dir);
}

} // namespace

int main(int argc, char** argv) {
    const std::size_t points = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000'000;
    measure("noise", noise(1 << 14), points);
    if (argc > 2) {
        const std::vector<Curve> curves = realCurves(argv[2]);
        if (curves.empty()) {
            std::cerr << "bench_ingest: " << argv[2] << " has no CSV with at least 500 lines\n";
            return 1;
        }
        measure("real", curves, points);
    }
    return 0;
}
