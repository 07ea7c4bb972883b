// SPDX-License-Identifier: Apache-2.0
// Parts of tensors: over all ranks every element is there exactly once, and any part can be filled from any others.
#include <QtTest>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "train/shard_map.h"

using namespace telehelm;
using train::ShardMap;
using train::TensorSplit;

namespace {

struct Case {
    std::vector<std::int64_t> shape;
    int dim = 0, blocks = 1;
};

/// A tensor that `parts` of each of `others` can cut.
Case randomCase(std::mt19937& random, std::int64_t cuts) {
    const auto upTo = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(most)) + 1; };
    Case made;
    made.blocks = upTo(3);
    for (int dims = upTo(3); dims > 0; --dims) {
        made.shape.push_back(upTo(5));
    }
    made.dim = static_cast<int>(random() % made.shape.size());
    made.shape[static_cast<std::size_t>(made.dim)] *= cuts * made.blocks;
    return made;
}

std::int64_t sizeOf(const std::vector<std::int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

/// The definition, element by element: global index of each local one.
std::vector<std::int64_t> byDefinition(const Case& c, int parts, int part) {
    std::int64_t inner = 1;
    for (std::size_t i = static_cast<std::size_t>(c.dim) + 1; i < c.shape.size(); ++i) {
        inner *= c.shape[i];
    }
    const std::int64_t block = c.shape[static_cast<std::size_t>(c.dim)] / c.blocks;
    std::vector<std::int64_t> indices;
    for (std::int64_t i = 0; i < sizeOf(c.shape); ++i) {
        const std::int64_t along = i / inner % c.shape[static_cast<std::size_t>(c.dim)];
        if (along % block / (block / parts) == part) {
            indices.push_back(i);
        }
    }
    return indices;
}

ShardMap mapOf(const Case& c, int parts, int part) {
    const auto map = ShardMap::make(c.shape, {.dim = c.dim, .blocks = c.blocks, .parts = parts, .part = part});
    if (!map) {
        throw std::runtime_error(map.error().text());
    }
    return *map;
}

} // namespace

class ShardMapTest : public QObject {
    Q_OBJECT
private slots:
    void runsAreTheDefinition() {
        std::mt19937 random(1);
        for (int round = 0; round < 300; ++round) {
            const int parts = 1 << random() % 4;
            const Case c = randomCase(random, parts);
            for (int part = 0; part < parts; ++part) {
                const ShardMap map = mapOf(c, parts, part);
                std::vector<std::int64_t> found;
                for (const train::Run& run : map.runs(0, map.size())) {
                    QCOMPARE(run.local, static_cast<std::int64_t>(found.size()));
                    for (std::int64_t i = 0; i < run.length; ++i) {
                        found.push_back(run.global + i);
                    }
                }
                QVERIFY(found == byDefinition(c, parts, part));
                QCOMPARE(sizeOf(map.localShape()), map.size());
            }
        }
    }

    /// Tensor parts, each cut anywhere into data ranks' stretches.
    void everyElementOnceOverAllRanks() {
        std::mt19937 random(2);
        for (int round = 0; round < 300; ++round) {
            const int parts = 1 << random() % 4;
            const int data = static_cast<int>(random() % 5) + 1;
            const Case c = randomCase(random, parts);
            std::vector<int> seen(static_cast<std::size_t>(sizeOf(c.shape)));
            for (int part = 0; part < parts; ++part) {
                const ShardMap map = mapOf(c, parts, part);
                const std::int64_t share = (map.size() + data - 1) / data;
                for (int rank = 0; rank < data; ++rank) {
                    const std::int64_t from = std::min(map.size(), rank * share);
                    for (const train::Run& run : map.runs(from, std::min(map.size(), from + share))) {
                        for (std::int64_t i = 0; i < run.length; ++i) {
                            ++seen[static_cast<std::size_t>(run.global + i)];
                        }
                    }
                }
            }
            QVERIFY(std::ranges::all_of(seen, [](int count) { return count == 1; }));
        }
    }

    void anyPartFromAnyOthers() {
        std::mt19937 random(3);
        for (int round = 0; round < 300; ++round) {
            const int from = 1 << random() % 4;
            const int to = 1 << random() % 4;
            const Case c = randomCase(random, std::max(from, to));
            const ShardMap target = mapOf(c, to, static_cast<int>(random() % static_cast<unsigned>(to)));
            const std::int64_t begin = static_cast<std::int64_t>(random() % static_cast<unsigned>(target.size()));
            const auto wanted = target.runs(begin, target.size());
            std::vector<std::int64_t> filled(static_cast<std::size_t>(target.size() - begin), -1);
            std::int64_t copied = 0;
            for (int part = 0; part < from; ++part) {
                const auto indices = byDefinition(c, from, part);
                const ShardMap source = mapOf(c, from, part);
                for (const train::Overlap& overlap : train::overlapsOf(source.runs(0, source.size()), wanted)) {
                    std::copy_n(indices.begin() + overlap.source, overlap.length, filled.begin() + (overlap.target - begin));
                    copied += overlap.length;
                }
            }
            QCOMPARE(copied, static_cast<std::int64_t>(filled.size()));
            for (const train::Run& run : wanted) {
                for (std::int64_t i = 0; i < run.length; ++i) {
                    QCOMPARE(filled[static_cast<std::size_t>(run.local - begin + i)], run.global + i);
                }
            }
        }
    }

    void wholePartsAreOneRun() {
        const std::vector<std::int64_t> shape = {96, 32};
        const auto rows = ShardMap::make(shape, {.dim = 0, .blocks = 3, .parts = 2, .part = 1});
        QVERIFY(rows);
        QCOMPARE(rows->runs(0, rows->size()).size(), std::size_t{3}); // q, k, v
        QCOMPARE(rows->runs(0, rows->size())[0], (train::Run{.global = 16 * 32, .local = 0, .length = 16 * 32}));
        const auto whole = ShardMap::make(shape, {.dim = 0, .blocks = 3, .parts = 1, .part = 0});
        QCOMPARE(whole->runs(5, 96 * 32), (std::vector<train::Run>{{.global = 5, .local = 5, .length = 96 * 32 - 5}}));
    }

    void whatCannotBeIsRefused() {
        const std::vector<std::int64_t> shape = {96, 32};
        const auto says = [&](const TensorSplit& split) {
            const auto map = ShardMap::make(shape, split);
            return map ? std::string() : map.error().text();
        };
        QCOMPARE(says({.dim = 0, .blocks = 3, .parts = 5, .part = 0}),
                 std::string("3 blocks of 5 parts do not divide dimension 0 of 96 × 32"));
        QCOMPARE(says({.dim = 2, .blocks = 1, .parts = 2, .part = 0}),
                 std::string("a tensor of 96 × 32 has no dimension 2 to cut"));
        QCOMPARE(says({.dim = 0, .blocks = 1, .parts = 2, .part = 2}), std::string("part 2 of 2 in 1 blocks cannot be"));
    }
};

QTEST_GUILESS_MAIN(ShardMapTest)
#include "tst_shard_map.moc"
