// SPDX-License-Identifier: Apache-2.0
// The order of the data as a pure function of (mixture history, step, index).
#include <QTemporaryDir>
#include <QTest>

#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/keyed_permutation.h"

using namespace telehelm;
using namespace telehelm::data;

namespace {

constexpr std::int64_t kSequences = 8;
constexpr std::int64_t kContext = 16;

bool same(const Sampler::Pick& a, const Sampler::Pick& b) {
    return a.domain == b.domain && a.from == b.from && a.epoch == b.epoch;
}

std::string text(std::size_t bytes, int salt) {
    std::string out;
    for (std::size_t i = 0; out.size() < bytes; ++i)
        out += static_cast<char>('a' + mix64(static_cast<std::uint64_t>(salt), i) % 26);
    return out;
}

} // namespace

class TestSampler : public QObject {
    Q_OBJECT

private:
    QTemporaryDir m_dir;
    std::shared_ptr<const Corpus> m_corpus;

    [[nodiscard]] std::unique_ptr<Sampler> make(std::vector<MixtureChange> history) const {
        return makeSampler(m_corpus, std::move(history), kSequences, kContext);
    }
    [[nodiscard]] std::int64_t windows(std::size_t domain) const { return (m_corpus->domains()[domain].tokens - 1) / kContext; }

private slots:
    void initTestCase() {
        std::vector<DomainText> domains = {{"A", "en", {}}, {"B", "zh", {}}, {"C", "code", {}}};
        for (int document = 0; document < 40; ++document) {
            domains[0].documents.push_back(text(200, document));
            domains[1].documents.push_back(text(80, 1000 + document));
            domains[2].documents.push_back(text(20, 2000 + document));
        }
        const auto dir = m_dir.filePath("corpus").toStdString();
        QVERIFY(writeCorpus(dir, domains).has_value());
        auto opened = openCorpus(dir);
        QVERIFY2(opened.has_value(), opened ? "" : opened.error().text().c_str());
        m_corpus = std::move(*opened);
    }

    void permutationIsABijection_data() {
        QTest::addColumn<qulonglong>("size");
        for (const qulonglong size : {1ULL, 2ULL, 3ULL, 4ULL, 5ULL, 16ULL, 17ULL, 1000ULL, 4096ULL, 4097ULL})
            QTest::addRow("%llu", size) << size;
    }
    void permutationIsABijection() {
        QFETCH(qulonglong, size);
        for (std::uint64_t key = 0; key < 5; ++key) {
            std::set<std::uint64_t> seen;
            std::uint64_t fixed = 0;
            for (std::uint64_t at = 0; at < size; ++at) {
                const auto to = permute(key, size, at);
                QVERIFY(to < size);
                seen.insert(to);
                fixed += to == at;
            }
            QCOMPARE(seen.size(), std::size_t{size});
            if (size >= 1000)
                QVERIFY2(fixed < 15, qPrintable(QString("%1 of %2 stay in place").arg(fixed).arg(size)));
        }
    }

    void picksDoNotDependOnTheHistoryOfCalls() {
        const std::vector<MixtureChange> history = {
            {1, {0.6, 0.3, 0.1}, 7, 0}, {40, {0.2, 0.3, 0.5}, 7, 3}, {700, {0.4, 0.4, 0.2}, 9, 0}};
        auto forward = make(history);
        std::map<std::pair<std::int64_t, std::int64_t>, Sampler::Pick> picks;
        for (std::int64_t step = 1; step <= 1200; ++step)
            for (std::int64_t index = 0; index < kSequences; ++index)
                picks[{step, index}] = forward->pick(step, index);
        auto jumping = make(history); // as a rank does that resumes, or reads only every other sequence
        for (const std::int64_t step : {1200, 700, 3, 699, 39, 40, 41, 513, 512, 1, 1025, 701}) {
            for (std::int64_t index = kSequences - 1; index >= 0; index -= 2)
                QVERIFY(same(jumping->pick(step, index), picks[std::pair(step, index)]));
            QVERIFY(same(make(history)->pick(step, 5), picks[std::pair(step, std::int64_t{5})]));
        }
    }

    void changesAppendedOnTheWayEqualTheWholeHistory() {
        const std::vector<MixtureChange> history = {
            {1, {0.6, 0.3, 0.1}, 7, 0}, {40, {0.2, 0.3, 0.5}, 7, 3}, {90, {0.4, 0.4, 0.2}, 9, 1}};
        auto whole = make(history);
        auto grown = make({history[0]});
        for (std::int64_t step = 1; step <= 150; ++step) {
            if (step == 35)
                QVERIFY(grown->change(history[1]).has_value());
            if (step == 90)
                QVERIFY(grown->change(history[2]).has_value());
            for (std::int64_t index = 0; index < kSequences; ++index)
                QVERIFY(same(whole->pick(step, index), grown->pick(step, index)));
        }
        QCOMPARE(whole->drawn(150), grown->drawn(150));
    }

    void everyWindowOncePerEpoch() {
        auto sampler = make({{1, {0.5, 0.25, 0.25}, 11, 0}});
        std::vector<std::map<std::int64_t, std::multiset<std::int64_t>>> seen(3);
        for (std::int64_t step = 1; step <= 400; ++step)
            for (std::int64_t index = 0; index < kSequences; ++index) {
                const auto pick = sampler->pick(step, index);
                seen[pick.domain][pick.epoch].insert(pick.from);
            }
        for (std::size_t domain = 0; domain < 3; ++domain) {
            QVERIFY(seen[domain].size() >= 3);
            for (const auto& [epoch, froms] : seen[domain]) {
                const std::set<std::int64_t> distinct(froms.begin(), froms.end());
                QCOMPARE(distinct.size(), froms.size());
                QVERIFY(*distinct.begin() >= 0 && *distinct.rbegin() == *distinct.rbegin() / kContext * kContext);
                if (epoch + 1 < static_cast<std::int64_t>(seen[domain].size())) // the last one is not full yet
                    QCOMPARE(static_cast<std::int64_t>(distinct.size()), windows(domain));
            }
        }
    }

    void aNewSeedReshufflesWhatIsLeftOfAnEpoch() {
        const auto half = windows(0) / 2 / kSequences; // steps
        auto reseeded =
            make({{1, {1.0, 0.0, 0.0}, 11, 0}, {half + 1, {1.0, 0.0, 0.0}, 12, 0}, {half + 4, {1.0, 0.0, 0.0}, 13, 0}});
        auto plain = make({{1, {1.0, 0.0, 0.0}, 11, 0}});
        std::set<std::int64_t> firstEpoch;
        std::int64_t count = 0, changed = 0;
        for (std::int64_t step = 1; step <= windows(0) / kSequences + 1; ++step)
            for (std::int64_t index = 0; index < kSequences; ++index) {
                const auto a = reseeded->pick(step, index);
                const auto b = plain->pick(step, index);
                if (step <= half)
                    QVERIFY(same(a, b));
                changed += a.from != b.from;
                if (a.epoch == 0) {
                    firstEpoch.insert(a.from);
                    ++count;
                }
            }
        QCOMPARE(count, windows(0));
        QCOMPARE(static_cast<std::int64_t>(firstEpoch.size()), windows(0));
        QVERIFY(changed > windows(0) / 4);
    }

    void achievedSharesFollowTheTarget() {
        const std::vector<double> before = {0.7, 0.25, 0.05}, after = {0.1, 0.0, 0.9};
        auto sampler = make({{1, before, 3, 0}, {2001, after, 3, 0}});
        const auto first = sampler->drawn(2000);
        const auto total = sampler->drawn(4000);
        for (std::size_t domain = 0; domain < 3; ++domain) {
            const double n = 2000.0 * kSequences;
            const auto tolerance = [&](double p) { return 5.0 * std::sqrt(p * (1.0 - p) / n); };
            QVERIFY(std::abs(static_cast<double>(first[domain]) / n - before[domain]) <= tolerance(before[domain]));
            const double later = static_cast<double>(total[domain] - first[domain]) / n;
            QVERIFY(std::abs(later - after[domain]) <= tolerance(after[domain]));
        }
        QCOMPARE(total[0] + total[1] + total[2], 4000 * kSequences);
    }

    void drawnCountsThePicks() {
        auto sampler = make({{1, {0.6, 0.3, 0.1}, 7, 2}, {20, {0.2, 0.3, 0.5}, 8, 4}});
        std::vector<std::int64_t> counts(3, 0);
        QCOMPARE(sampler->drawn(0), counts);
        for (std::int64_t step = 1; step <= 60; ++step) {
            for (std::int64_t index = 0; index < kSequences; ++index)
                ++counts[sampler->pick(step, index).domain];
            QCOMPARE(sampler->drawn(step), counts);
        }
    }

    void skippedBatchesArePassedOver() {
        const std::vector<double> shares = {0.6, 0.3, 0.1};
        auto plain = make({{1, shares, 7, 0}});
        auto skipping = make({{1, shares, 7, 0}, {30, shares, 7, 5}});
        for (std::int64_t step = 1; step <= 80; ++step)
            for (std::int64_t index = 0; index < kSequences; ++index)
                QVERIFY(same(skipping->pick(step, index), plain->pick(step < 30 ? step : step + 5, index)));
    }

    void aChangeActsFromItsStepOnly() {
        auto plain = make({{1, {0.6, 0.3, 0.1}, 7, 0}});
        auto mixed = make({{1, {0.6, 0.3, 0.1}, 7, 0}, {25, {0.0, 0.0, 1.0}, 7, 0}});
        for (std::int64_t step = 1; step <= 40; ++step)
            for (std::int64_t index = 0; index < kSequences; ++index) {
                if (step < 25)
                    QVERIFY(same(plain->pick(step, index), mixed->pick(step, index)));
                else
                    QCOMPARE(mixed->pick(step, index).domain, std::size_t{2});
            }
    }

    void refusesWhatCannotBe() {
        auto sampler = make({{0, {0.6, 0.3, 0.1}, 7, 0}});
        (void)sampler->pick(10, 0);
        QVERIFY(!sampler->change({10, {0.5, 0.4, 0.1}, 7, 0}));
        QVERIFY(!sampler->change({20, {0.5, 0.5}, 7, 0}));
        QVERIFY(!sampler->change({20, {0.5, 0.5, 0.5}, 7, 0}));
        QVERIFY(!sampler->change({20, {1.5, -0.5, 0.0}, 7, 0}));
        QVERIFY(!sampler->change({20, {std::nan(""), 0.5, 0.5}, 7, 0}));
        QVERIFY(!sampler->change({20, {0.5, 0.4, 0.1}, 7, -1}));
        QCOMPARE(sampler->history().size(), std::size_t{1});
        QVERIFY(sampler->change({20, {0.5, 0.4, 0.1}, 7, 0}).has_value());
        QVERIFY(sampler->change({20, {0.0, 1.0, 0.0}, 7, 0}).has_value()); // replaces the one before
        QVERIFY(!sampler->change({19, {0.0, 1.0, 0.0}, 7, 0}));
        QCOMPARE(sampler->history().size(), std::size_t{2});
        QCOMPARE(sampler->pick(20, 3).domain, std::size_t{1});
        QVERIFY_EXCEPTION_THROWN((void)make({}), std::invalid_argument);
        QVERIFY_EXCEPTION_THROWN((void)make({{5, {0.6, 0.3, 0.1}, 7, 0}}), std::invalid_argument);
    }

    void targetsAreTheInputsOneOn() {
        auto sampler = make({{1, {0.6, 0.3, 0.1}, 7, 0}});
        std::vector<std::int32_t> inputs(kContext), targets(kContext), stream(kContext + 1);
        for (std::int64_t step = 1; step <= 60; ++step) {
            const auto pick = sampler->pick(step, 1);
            sampler->fill(step, 1, inputs, targets);
            m_corpus->read(pick.domain, pick.from, stream);
            QVERIFY(std::equal(inputs.begin(), inputs.end(), stream.begin()));
            QVERIFY(std::equal(targets.begin(), targets.end(), stream.begin() + 1));
        }
    }
};

QTEST_GUILESS_MAIN(TestSampler)
#include "tst_sampler.moc"
