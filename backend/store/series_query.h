// SPDX-License-Identifier: Apache-2.0
// Answers a SeriesQuery along the lineage of a run.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "store/ema.h"
#include "store/point_store.h"
#include "store/records.h"

namespace telehelm::store {

/// The attempts of a run and which of them the effective curve goes through.
class Lineage {
public:
    explicit Lineage(std::vector<AttemptRow> attempts);
    struct Node {
        std::int64_t attemptId = 0;
        ipc::AttemptKey key;
        std::uint32_t parent = 0;
        std::int64_t forkStep = 0;
        bool effective = false;         // part of the newest lineage
        std::int64_t lastEffective = 0; // its last step there
    };
    [[nodiscard]] const std::vector<Node>& nodes() const { return m_nodes; } // oldest first
    [[nodiscard]] const Node* find(std::uint32_t attempt) const;

private:
    std::vector<Node> m_nodes;
};

/// True when `glob` (`*`, `?`) matches the whole name.
[[nodiscard]] bool matches(const std::string& glob, const std::string& name);

/// One query's work: copies of the series' open ends and one database snapshot. One thread.
class SeriesQueryRunner {
public:
    SeriesQueryRunner(Database& db, EmaCache& ema, const Lineage& lineage, const ipc::SeriesQuery& query);
    /// With the point store locked: takes the copies. The database snapshot must be open.
    void copyStates(const PointStore& points);
    void run(const std::function<bool(ipc::SeriesSegment&&)>& sink);

private:
    struct Piece { // points [from, to) of one attempt; edges inside a bucket are cuts of the lineage
        const Lineage::Node* node = nullptr;
        std::uint64_t from = 0, to = 0; // the stretch
        std::uint64_t rangeFrom = 0, rangeTo = 0; // the part that the query asks for
        bool superseded = false;
    };
    /// Buckets of a level of the pyramid, `group` neighbours merged: 1, 2, 4 or 8, aligned by their index.
    struct Resolution {
        int level = 0;
        std::uint64_t group = 1;
        [[nodiscard]] std::uint64_t points() const { return pointsPerBucket(level) * group; }
        [[nodiscard]] bool isRaw() const { return points() == 1; }
    };
    bool wants(const Lineage::Node& node) const;
    bool runSeries(const std::string& name, const std::function<bool(ipc::SeriesSegment&&)>& sink);
    std::vector<Piece> pieces(const std::string& name);
    Resolution chooseResolution(const std::vector<Piece>& pieces) const;
    ipc::SeriesSegment segment(const std::string& name, const Piece& piece, Resolution resolution);
    std::vector<ipc::Bucket> rawBuckets(SeriesReader& reader, const Piece& piece, std::vector<std::uint64_t>& ends) const;
    std::vector<ipc::Bucket> mergedBuckets(SeriesReader& reader, const Piece& piece, Resolution resolution, std::vector<std::uint64_t>& ends) const;
    void smooth(SeriesReader& reader, const Piece& piece, const std::vector<std::uint64_t>& ends, ipc::SeriesSegment& segment);
    ipc::EmaState initialEma(const std::string& name, const Lineage::Node& node);
    SeriesReader* reader(const std::string& name, std::uint32_t attempt);

    Database& m_db;
    EmaCache& m_ema;
    const Lineage& m_lineage;
    const ipc::SeriesQuery& m_query;
    std::map<std::string, std::map<std::uint32_t, SeriesReader>> m_readers; // by name, attempt
};

} // namespace telehelm::store
