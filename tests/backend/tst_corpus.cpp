// SPDX-License-Identifier: Apache-2.0
// Shards, manifest, hold-out and the reader.
#include <QTemporaryDir>
#include <QTest>

#include <cmath>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/keyed_permutation.h"
#include "data/manifest.h"
#include "data/slice.h"

using namespace telehelm;
using namespace telehelm::data;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> documents(int count, int salt) {
    std::vector<std::string> out;
    for (int d = 0; d < count; ++d) {
        std::string text = "document " + std::to_string(salt) + "/" + std::to_string(d) + ": ";
        for (std::uint64_t i = 0; i < 100 + static_cast<std::uint64_t>(d) % 37; ++i)
            text += static_cast<char>(mix64(static_cast<std::uint64_t>(salt * 1000 + d), i) & 0xff);
        out.push_back(text);
    }
    return out;
}

std::vector<std::int32_t> stream(const std::vector<std::string>& texts, int oneIn, bool heldOut) {
    std::vector<std::int32_t> tokens;
    for (const auto& text : texts) {
        if (isHeldOut(text, oneIn) != heldOut)
            continue;
        for (const char c : text)
            tokens.push_back(static_cast<unsigned char>(c));
        tokens.push_back(256);
    }
    return tokens;
}

void overwrite(const fs::path& path, std::streamoff at, char value) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put(value);
}

QString problem(const fs::path& dir, bool verify = false) {
    const auto opened = openCorpus(dir, verify);
    return opened ? QString() : QString::fromStdString(opened.error().text());
}

} // namespace

class TestCorpus : public QObject {
    Q_OBJECT

private:
    QTemporaryDir m_temporary;
    int m_next = 0;
    const std::vector<DomainText> m_domains = {{"Web-Text", "en, zh", documents(60, 1)}, {"Code", "code", documents(25, 2)}};

    fs::path fresh() {
        const fs::path dir = m_temporary.filePath(QString("corpus%1").arg(m_next++)).toStdString();
        const auto written = writeCorpus(dir, m_domains, 5);
        if (!written)
            qFatal("%s", written.error().text().c_str());
        return dir;
    }
    template <typename Edit> QString problemAfter(Edit edit) {
        const auto dir = fresh();
        std::ifstream in(dir / "manifest.json");
        auto json = nlohmann::json::parse(in);
        edit(json);
        std::ofstream(dir / "manifest.json") << json.dump();
        return problem(dir);
    }

private slots:
    void roundTrip() {
        const auto dir = fresh();
        const auto corpus = openCorpus(dir, true);
        QVERIFY2(corpus.has_value(), corpus ? "" : corpus.error().text().c_str());
        QCOMPARE((*corpus)->vocabSize(), 257);
        QCOMPARE((*corpus)->domains().size(), m_domains.size());
        for (std::size_t d = 0; d < m_domains.size(); ++d) {
            const auto& domain = (*corpus)->domains()[d];
            QCOMPARE(domain.name, m_domains[d].name);
            QCOMPARE(domain.languages, m_domains[d].languages);
            const auto train = stream(m_domains[d].documents, 5, false);
            QCOMPARE(domain.tokens, static_cast<std::int64_t>(train.size()));
            QCOMPARE(domain.bytes, domain.tokens - domain.documents);
            QCOMPARE(domain.documents + domain.validDocuments, static_cast<std::int64_t>(m_domains[d].documents.size()));
            std::vector<std::int32_t> read(train.size());
            (*corpus)->read(d, 0, read);
            QVERIFY(read == train);
            std::vector<std::int32_t> wrapped(train.size() * 2 + 3);
            (*corpus)->read(d, domain.tokens - 2, wrapped);
            for (std::size_t i = 0; i < wrapped.size(); ++i)
                QCOMPARE(wrapped[i], train[(train.size() - 2 + i) % train.size()]);
        }
    }

    void heldOutDocumentsAreNeverTrainedOn() {
        const auto dir = fresh();
        const auto corpus = openCorpus(dir);
        QVERIFY(corpus.has_value());
        for (std::size_t d = 0; d < m_domains.size(); ++d) {
            const auto& domain = (*corpus)->domains()[d];
            QVERIFY(domain.validDocuments > 0);
            std::vector<std::int32_t> tokens(static_cast<std::size_t>(domain.tokens));
            (*corpus)->read(d, 0, tokens);
            std::string document;
            for (const auto token : tokens) {
                if (token != 256) {
                    document += static_cast<char>(token);
                    continue;
                }
                QVERIFY(!isHeldOut(document, 5));
                document.clear();
            }
        }
    }

    void validationWindowsAreFixedAndCountTheirBytes() {
        const auto corpus = openCorpus(fresh());
        QVERIFY(corpus.has_value());
        const auto valid = stream(m_domains[0].documents, 5, true);
        constexpr std::int64_t T = 16;
        const auto available = (static_cast<std::int64_t>(valid.size()) - 1) / T;
        const auto all = (*corpus)->validation(0, T, 1 << 20);
        const auto few = (*corpus)->validation(0, T, 5);
        QCOMPARE(static_cast<std::int64_t>(all.size()), available);
        QCOMPARE(few.size(), std::size_t{5});
        std::set<std::vector<std::int32_t>> distinct;
        for (std::size_t w = 0; w < all.size(); ++w) {
            if (w < few.size())
                QVERIFY(all[w].tokens == few[w].tokens && all[w].bytes == few[w].bytes);
            QCOMPARE(all[w].tokens.size(), std::size_t{T + 1});
            QCOMPARE(all[w].bytes, T - std::count(all[w].tokens.begin() + 1, all[w].tokens.end(), 256));
            QVERIFY(std::search(valid.begin(), valid.end(), all[w].tokens.begin(), all[w].tokens.end()) != valid.end());
            distinct.insert(all[w].tokens);
        }
        QCOMPARE(distinct.size(), all.size());
        QVERIFY((*corpus)->validation(0, 1 << 20, 4).empty());
    }

    void unigramEntropy() {
        const fs::path dir = m_temporary.filePath("entropy").toStdString();
        QVERIFY(writeCorpus(dir, {{"A", "en", {"aab"}}, {"B", "en", {"cccccccc"}}}, 0).has_value());
        const auto corpus = openCorpus(dir);
        QVERIFY(corpus.has_value());
        const auto h = [](std::initializer_list<double> ps) {
            double sum = 0.0;
            for (const double p : ps)
                sum -= p * std::log(p);
            return sum;
        };
        QVERIFY(qFuzzyCompare((*corpus)->unigramEntropy(std::vector{1.0, 0.0}), h({0.5, 0.25, 0.25})));
        const double separator = 0.5 * 0.25 + 0.5 / 9.0;
        QVERIFY(qFuzzyCompare((*corpus)->unigramEntropy(std::vector{0.5, 0.5}), h({0.25, 0.125, 0.5 * 8.0 / 9.0, separator})));
    }

    void duplicatesAndEmptyDocumentsAreLeftOut() {
        const fs::path dir = m_temporary.filePath("duplicates").toStdString();
        auto writer = CorpusWriter::create(dir);
        QVERIFY(writer.has_value());
        QVERIFY(writer->beginDomain("A", "en", 0).has_value());
        QVERIFY(writer->add("one").value());
        QVERIFY(!writer->add("one").value());
        QVERIFY(!writer->add("").value());
        QVERIFY(writer->beginDomain("B", "en", 0).has_value());
        QVERIFY(!writer->add("one").value()); // in another domain already
        QVERIFY(writer->add("two").value());
        QVERIFY(!writer->beginDomain("A", "en", 0).has_value());
        QVERIFY(!writer->beginDomain("../A", "en", 0).has_value());
        QVERIFY(writer->finish().has_value());
        QCOMPARE((*openCorpus(dir))->domains()[0].documents, 1);
    }

    void aSliceHasWholeDocumentsOfEverywhere() {
        const fs::path whole = fresh(), small = m_temporary.filePath("slice").toStdString();
        QVERIFY(sliceCorpus(whole, small, 2000).has_value());
        const auto corpus = openCorpus(small, true);
        QVERIFY2(corpus.has_value(), corpus ? "" : corpus.error().text().c_str());
        for (std::size_t d = 0; d < m_domains.size(); ++d) {
            const Domain& domain = (*corpus)->domains()[d];
            QVERIFY2(std::abs(domain.tokens - 2000) <= 160, qPrintable(QString::number(domain.tokens))); // a document has at most 160
            QVERIFY(domain.validTokens > 0);
            std::vector<std::int32_t> tokens(static_cast<std::size_t>(domain.tokens));
            (*corpus)->read(d, 0, tokens);
            // Each is one of the whole corpus' training documents, in the same order, to the last ones.
            std::size_t next = 0;
            auto at = tokens.begin();
            while (at != tokens.end()) {
                const auto end = std::find(at, tokens.end(), 256) + 1;
                std::string text(at, end - 1);
                while (next < m_domains[d].documents.size() && m_domains[d].documents[next] != text)
                    ++next;
                QVERIFY(next < m_domains[d].documents.size() && !isHeldOut(text, 5));
                at = end;
            }
            QVERIFY(next * 3 > m_domains[d].documents.size() * 2);
        }
        // A domain that is smaller than that comes whole.
        const fs::path same = m_temporary.filePath("slice of all").toStdString();
        QVERIFY(sliceCorpus(whole, same, 1'000'000).has_value());
        const auto first = readManifest(whole), second = readManifest(same);
        for (std::size_t d = 0; d < m_domains.size(); ++d)
            QVERIFY(first->domains[d].train.xxh3 == second->domains[d].train.xxh3 && first->domains[d].valid.xxh3 == second->domains[d].valid.xxh3);
        QVERIFY(sliceCorpus(whole, same, 10).error().code == ErrorCode::AlreadyExists);
        QVERIFY(sliceCorpus(m_temporary.filePath("nowhere").toStdString(), m_temporary.filePath("x").toStdString(), 10).error().code ==
                ErrorCode::NotFound);
    }

    void whatIsNotFinishedLeavesNothing() {
        const fs::path dir = m_temporary.filePath("unfinished/corpus").toStdString();
        {
            auto writer = CorpusWriter::create(dir);
            QVERIFY(writer.has_value());
            QVERIFY(writer->beginDomain("A", "en").has_value());
            QVERIFY(writer->add("text").has_value());
        }
        QVERIFY(fs::is_empty(dir.parent_path()));
        QVERIFY(!CorpusWriter::create(fresh()).has_value());
    }

    void damageIsNamed() {
        auto dir = fresh();
        overwrite(dir / "Code.train.bin", 64 + 20, 'x');
        QVERIFY(problem(dir).isEmpty()); // sizes and header are right
        QVERIFY2(problem(dir, true).contains("Code.train.bin"), qPrintable(problem(dir, true)));
        QVERIFY(problem(dir, true).contains("checksum"));

        dir = fresh();
        overwrite(dir / "Code.valid.bin", 24, 'x');
        QVERIFY(problem(dir).contains("Code.valid.bin"));

        dir = fresh();
        fs::resize_file(dir / "Web-Text.train.bin", fs::file_size(dir / "Web-Text.train.bin") - 8);
        QVERIFY(problem(dir).contains("Web-Text.train.bin") && problem(dir).contains("promises"));

        dir = fresh();
        fs::remove(dir / "Web-Text.valid.bin");
        QVERIFY(problem(dir).contains("Web-Text.valid.bin"));

        dir = fresh();
        fs::copy_file(dir / "Web-Text.train.bin", dir / "Code.train.bin", fs::copy_options::overwrite_existing);
        QVERIFY(problem(dir).contains("Code.train.bin"));
    }

    void manifestErrorsNameTheKey() {
        QVERIFY(problem(m_temporary.filePath("nowhere").toStdString()).contains("telehelm-data demo"));
        const auto dir = fresh();
        std::ofstream(dir / "manifest.json") << "{ \"format\": ";
        QVERIFY(problem(dir).contains("not valid JSON"));
        QVERIFY(problemAfter([](auto& json) { json["version"] = 2; }).contains("version 2"));
        QVERIFY(
            problemAfter([](auto& json) { json["domains"][1]["train"].erase("tokens"); }).contains("domains[1].train.tokens"));
        QVERIFY(problemAfter([](auto& json) { json["domains"][0]["name"] = 5; }).contains("domains[0].name"));
        QVERIFY(problemAfter([](auto& json) { json["domains"][0]["valid"]["file"] = "../x"; }).contains("domains[0].valid.file"));
        QVERIFY(problemAfter([](auto& json) { json["domains"][0]["valid"]["xxh3"] = "12"; }).contains("domains[0].valid.xxh3"));
        QVERIFY(problemAfter([](auto& json) { json["domains"] = nlohmann::json::array(); }).contains("domains"));
        QVERIFY(problemAfter([](auto& json) { json["domains"][0]["train"]["tokens"] = -1; }).contains("domains[0].train.tokens"));
        QVERIFY(problemAfter([](auto& json) { json["domains"][0]["train"]["tokens"] = 1; }).contains("Web-Text.train.bin"));
        QVERIFY(problemAfter([](auto& json) { json["domains"] = 3; }).contains("domains"));
    }
};

QTEST_GUILESS_MAIN(TestCorpus)
#include "tst_corpus.moc"
