// SPDX-License-Identifier: Apache-2.0
// Lists of very many series: in pages, by glob, searched by two threads; and what a glob matches.
#include <QRandomGenerator>

#include <algorithm>
#include <array>
#include <random>

#include "store/glob.h"
#include "store/series_rows.h"
#include "store/sqlite.h"
#include "store_rig.h"

using namespace telehelm;
using namespace telehelm::ipc;
using namespace telehelm::test;

namespace {

const AttemptKey kKey{"r", 1};

// By its definition, letter by letter.
bool matchesByDefinition(std::string_view glob, std::string_view name) {
    if (glob.empty())
        return name.empty();
    if (glob[0] == '*')
        return matchesByDefinition(glob.substr(1), name) || (!name.empty() && matchesByDefinition(glob, name.substr(1)));
    if (name.empty() || (glob[0] != '?' && glob[0] != name[0]))
        return false;
    std::size_t next = 1;
    while (glob[0] == '?' && next < name.size() && (static_cast<unsigned char>(name[next]) & 0xc0) == 0x80)
        ++next;
    return matchesByDefinition(glob.substr(1), name.substr(next));
}

} // namespace

class TestStoreNames : public QObject {
    Q_OBJECT

private slots:
    void aMillionNamesComeInPages();
    void globs();
    void globsMatchAsDefined();
};

// 60,000 here: enough that two threads search them; the bench has the million.
void TestStoreNames::aMillionNamesComeInPages() {
    QTemporaryDir dir;
    auto store = openStore(dir);
    addAttempt(*store, kKey);
    constexpr int kNames = 60'000;
    std::uint64_t sequence = 0;
    std::vector<std::string> names;
    for (int i = 0; i < kNames;) {
        TelemetryBatch batch = batchOf(kKey, ++sequence, {});
        for (int n = 0; n < 1000; ++n, ++i) {
            names.push_back("rank/" + std::to_string(i % 100) + "/layer[" + std::to_string(i / 100) + "]/norm");
            batch.series.push_back({names.back(), {{i, i, i, static_cast<double>(i)}}});
        }
        std::vector<TelemetryBatch> one = {std::move(batch)};
        must(store->ingest(one));
    }
    std::sort(names.begin(), names.end());
    {
        store::Database db(dir.filePath("store.db").toStdString(), store::Database::Mode::ReadOnly);
        const auto middle = store::middleName(db, 1, store::NameRange({}));
        QVERIFY(middle.has_value());
        const auto before = std::lower_bound(names.begin(), names.end(), *middle) - names.begin();
        QVERIFY2(before > kNames / 5 && before < kNames * 4 / 5, std::to_string(before).c_str());
        QVERIFY(!store::middleName(db, 1, store::NameRange("rank/7/*")).has_value());
        QVERIFY(!store::middleName(db, 2, store::NameRange({})).has_value());
    }
    for (int reopened = 0; reopened < 2; ++reopened) {
        for (const std::string glob : {"", "rank/7/*", "*layer[29]*", "rank/?/layer[1?]/norm", "none*"}) {
            std::vector<std::string> want, got;
            std::copy_if(names.begin(), names.end(), std::back_inserter(want), [&](const std::string& name) { return glob.empty() || store::matches(glob, name); });
            SeriesListQuery ask{kKey, glob, {}, 777};
            do {
                const SeriesPage page = must(store->listSeries(ask));
                QCOMPARE(page.matching, want.size() - got.size());
                QVERIFY(page.series.size() <= 777);
                for (const SeriesInfo& info : page.series) {
                    QCOMPARE(info.points, std::uint64_t{1});
                    got.push_back(info.name);
                }
                ask.after = page.next;
            } while (!ask.after.empty());
            QVERIFY(got == want);
        }
        QCOMPARE(must(store->listSeries({kKey, "*", {}, 0})).series.size(), std::size_t{kNames});
        std::size_t segments = 0;
        must(store->querySeries(ask({"r", 0}, "rank/1*", 100), [&](SeriesSegment&&) { return ++segments > 0; }));
        QCOMPARE(segments, static_cast<std::size_t>(std::count_if(names.begin(), names.end(), [](const auto& n) { return n.starts_with("rank/1"); })));
        store.reset();
        store = openStore(dir);
    }
}

void TestStoreNames::globs() {
    using store::matches;
    QVERIFY(matches("*", "") && matches("*", "a/b") && matches("a*", "a") && matches("*b", "aab") && !matches("*b", "ba"));
    QVERIFY(matches("a?c", "abc") && !matches("a?c", "ac") && matches("a?c", "a唐c") && !matches("?", ""));
    QVERIFY(matches("x[1]*", "x[1]/y") && !matches("x[1]", "x1") && matches("a*b*c", "a1b2bc") && !matches("", "a") && matches("", ""));
}

void TestStoreNames::globsMatchAsDefined() {
    std::mt19937 random(QRandomGenerator::global()->generate());
    const std::array<std::string, 5> letters = {"a", "b", "/", "é", "唐"};
    int matching = 0;
    for (int round = 0; round < 200'000; ++round) {
        std::string glob, name;
        for (auto left = random() % 7; left > 0; --left) {
            const auto kind = random() % 9;
            glob += kind < 3 ? "*" : kind < 4 ? "?" : letters[random() % letters.size()];
        }
        for (auto left = random() % 9; left > 0; --left)
            name += letters[random() % letters.size()];
        const bool wanted = matchesByDefinition(glob, name);
        matching += wanted ? 1 : 0;
        QVERIFY2(store::matches(glob, name) == wanted, (glob + " against " + name).c_str());
    }
    QVERIFY(matching > 1000);
}

QTEST_GUILESS_MAIN(TestStoreNames)
#include "tst_store_names.moc"
