// SPDX-License-Identifier: Apache-2.0
// Answers a SeriesQuery for one run along its lineage.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/ema.h"
#include "store/lineage.h"
#include "store/series_views.h"

namespace telehelm::store {

/// How many buckets each pass of an answer has at least per series, coarse to fine; 0: raw points.
[[nodiscard]] std::vector<std::uint32_t> passesOf(const ipc::SeriesQuery& query);

/// One query's work on one run: copies of the series' open ends and one database snapshot. One thread.
class SeriesQueryRunner {
public:
    using Sink = std::function<bool(ipc::SeriesSegment&&)>;
    SeriesQueryRunner(Database& db, EmaCache& ema, Lineage lineage, const ipc::SeriesQuery& query, ipc::AttemptKey key);
    /// With the point store locked: takes the copies. The database snapshot must be open.
    void copyStates(const PointStore& points);
    /// One pass over all its series; false when the sink wants no more.
    bool run(std::uint32_t maxBuckets, std::uint32_t pass, bool isLastPass, const Sink& sink);

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
    struct Answer { // buckets, and per bucket one past its last point
        std::vector<ipc::Bucket> buckets;
        std::vector<std::uint64_t> ends;
    };
    [[nodiscard]] bool wants(const Lineage::Node& node) const;
    [[nodiscard]] std::vector<Piece> pieces(const std::string& name);
    static Resolution chooseResolution(const std::vector<Piece>& pieces, std::uint32_t maxBuckets);
    [[nodiscard]] ipc::SeriesSegment segment(const std::string& name, const Piece& piece, Resolution resolution, bool isLastPass);
    [[nodiscard]] Answer rawBuckets(SeriesReader& reader, const Piece& piece) const;
    static Answer mergedBuckets(SeriesReader& reader, const Piece& piece, Resolution resolution);
    void smooth(SeriesReader& reader, const Piece& piece, const std::vector<std::uint64_t>& ends, bool onlyIfKnown,
                ipc::SeriesSegment& segment);
    [[nodiscard]] ipc::EmaState initialEma(const std::string& name, const Lineage::Node& node);
    [[nodiscard]] SeriesReader* reader(const std::string& name, const Lineage::Node& node) { return m_views.reader(node.attempt.id, name); }

    EmaCache& m_ema;
    const Lineage m_lineage;
    const ipc::SeriesQuery& m_query;
    const ipc::AttemptKey m_key;
    SeriesViews m_views;
};

} // namespace telehelm::store
