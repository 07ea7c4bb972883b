// SPDX-License-Identifier: GPL-3.0-or-later
// What the bridge strip says of the focused run: newest values out of the stream, and the nine readouts as text. GUI thread only.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <QString>

#include "telehelm/ipc/types.h"

namespace telehelm::app {

/// Newest values of one run's series, and a step time smoothed over about ten steps.
class RunMetrics {
public:
    struct Reading {
        double value = 0;
        std::int64_t step = -1;
        std::int64_t wallUs = 0; // 0: from history, time unknown
    };
    void clear() { *this = {}; }
    void takeSeries(const std::vector<ipc::SeriesInfo>& series);
    void takeBatch(const ipc::TelemetryBatch& batch);
    [[nodiscard]] std::optional<Reading> latest(const std::string& series) const;
    [[nodiscard]] std::optional<double> stepMs() const { return m_stepMs; }
    [[nodiscard]] std::int64_t newestWallUs() const { return m_newestWallUs; }
    struct SlowestRank {
        int rank = 0;
        double behind = 0; // share slower than the mean of all ranks
    };
    [[nodiscard]] std::optional<SlowestRank> slowestRank() const; // none with fewer than two ranks

private:
    std::map<std::string, Reading> m_latest;
    std::optional<double> m_stepMs;
    std::int64_t m_newestWallUs = 0;
};

enum class ReadoutId { Step, Tokens, Loss, GradNorm, LearningRate, Throughput, Mfu, StepTime, TimeLeft };
inline constexpr int kReadouts = 9;

struct ReadoutText {
    QString label, value, unit, sub;
    double progress = -1; // 0..1: drawn as a bar in the place of `sub`
    bool operator==(const ReadoutText&) const = default;
};

enum class Age { Fresh, Old, Stale };
struct ReadoutAge {
    Age age = Age::Fresh;
    double seconds = 0;
};

[[nodiscard]] std::array<ReadoutText, kReadouts> readoutsOf(const ipc::RunInfo& run, const RunMetrics& metrics, std::int64_t nowUs);
/// Over 2 × step time: old; over 5 ×: stale. A run that does not step (paused, ended) does not age.
[[nodiscard]] ReadoutAge ageOf(const ipc::RunInfo& run, const RunMetrics& metrics, std::int64_t nowUs);
/// "52.85 B parameters · 896 × A800 80 GB", "TP 4 × PP 2 × DP 112 · started Nov 10 16:40".
[[nodiscard]] std::array<QString, 2> factsOf(const ipc::RunInfo& run);

} // namespace telehelm::app
