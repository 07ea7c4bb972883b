// SPDX-License-Identifier: Apache-2.0
// The way from a package in the cache to a corpus, without a network: with a package made here, and on the real corpus where
// there is one.
#include <QProcess>
#include <QStandardPaths>
#include <QTemporaryDir>
#include <QTest>

#include <filesystem>
#include <fstream>
#include <unordered_set>

#include "config/run_config.h"
#include "data/corpus.h"
#include "data/corpus_writer.h"
#include "data/demo_corpus.h"
#include "data/package_list.h"
#include "data/shard_writer.h"

using namespace telehelm;
using namespace telehelm::data;
namespace fs = std::filesystem;

namespace {

void writeFile(const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

/// Runs through one shard's documents.
template <typename Visit> void documentsOf(const std::vector<std::int32_t>& tokens, Visit visit) {
    std::string document;
    for (const auto token : tokens) {
        if (token != kSeparator) {
            document += static_cast<char>(token);
            continue;
        }
        visit(document);
        document.clear();
    }
}

} // namespace

class TestDemoCorpus : public QObject {
    Q_OBJECT

private:
    QTemporaryDir m_dir;
    std::atomic<bool> m_cancelled = false;

    [[nodiscard]] fs::path path(const char* name) const { return m_dir.filePath(name).toStdString(); }
    [[nodiscard]] DemoOptions options() const { return {path("corpus"), path("cache"), path("list.toml"), true}; }
    Result<DemoCorpus> prepare() {
        Progress silent(nullptr);
        return prepareDemoCorpus(options(), silent, m_cancelled);
    }
    [[nodiscard]] QStringList leftovers() const {
        return QDir(m_dir.path()).entryList({"*.partial-*"}, QDir::AllEntries) +
               QDir(m_dir.filePath("cache")).entryList({"unpacked-*"}, QDir::Dirs);
    }
    void makePackage() {
        for (int page = 0; page < 30; ++page)
            writeFile(path("pkg") / ("usr/share/doc/tiny/page" + std::to_string(page) + ".html"),
                      "<body><h1>Page " + std::to_string(page) +
                          "</h1><p>Some words that are long enough to be kept as a document.</p></body>");
        writeFile(
            path("pkg") / "DEBIAN/control",
            "Package: tiny\nVersion: 1:2.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: tiny\n");
        fs::create_directories(path("cache") / "packages");
        const int rc = QProcess::execute("dpkg-deb", {"--root-owner-group", "-Znone", "-b", m_dir.filePath("pkg"),
                                                      m_dir.filePath("cache/packages/tiny_1%3a2.0_all.deb")});
        QCOMPARE(rc, 0);
    }

private slots:
    void initTestCase() {
        writeFile(
            path("list.toml"),
            "[[domain]]\nname = \"D\"\nlanguages = \"en\"\nhold_out_one_in = 4\n[[package]]\nname = \"tiny\"\ndomain = \"D\"\n"
            "licence = \"L\"\nextract = [{ rule = \"html\", files = [\"usr/share/doc/tiny/*\"] }]\n");
    }

    void offlineNamesWhatIsMissing() {
        const auto made = prepare();
        QVERIFY(!made);
        QVERIFY(made.error().code == ErrorCode::Unavailable);
        QVERIFY(made.error().message.find("tiny") != std::string::npos &&
                made.error().message.find("telehelm-data demo") != std::string::npos);
        QVERIFY(!fs::exists(path("corpus")) && leftovers().isEmpty());
    }

    void madeOnceThenReady() {
        if (QStandardPaths::findExecutable("dpkg-deb").isEmpty())
            QSKIP("dpkg-deb is not here: no package can be made");
        makePackage();
        const auto made = prepare();
        QVERIFY2(made.has_value(), made ? "" : made.error().text().c_str());
        QVERIFY(!made->wasReady);
        const auto& source = made->manifest.sources.at(0);
        QCOMPARE(source.version, std::string("1:2.0"));
        QCOMPARE(source.licence, std::string("L"));
        QCOMPARE(source.files, 30);
        QCOMPARE(source.documents, 30);
        QVERIFY(source.xxh3 != 0 && source.unpackedBytes > 1000);
        const auto& domain = made->manifest.domains.at(0);
        QCOMPARE(domain.train.documents + domain.valid.documents, 30);
        QVERIFY(domain.valid.documents > 0);
        QVERIFY(openCorpus(path("corpus"), true).has_value());
        QVERIFY(leftovers().isEmpty());
        QVERIFY(prepare().value().wasReady);
    }

    void anotherListOrADamagedShardMeansAgain() {
        if (!fs::exists(path("corpus")))
            QSKIP("dpkg-deb is not here: no package can be made");
        fs::resize_file(path("corpus") / "D.train.bin", 100);
        QVERIFY(!prepare().value().wasReady);
        QVERIFY(prepare().value().wasReady);
        std::ofstream(path("list.toml"), std::ios::app) << "# changed\n";
        QVERIFY(!prepare().value().wasReady);
        QVERIFY(openCorpus(path("corpus"), true).has_value());
        QVERIFY(leftovers().isEmpty());
    }

    void interruptedOrBrokenLeavesTheOldCorpus() {
        if (!fs::exists(path("corpus")))
            QSKIP("dpkg-deb is not here: no package can be made");
        std::ofstream(path("list.toml"), std::ios::app) << "# changed again\n";
        m_cancelled = true;
        const auto interrupted = prepare();
        m_cancelled = false;
        QVERIFY(!interrupted && interrupted.error().code == ErrorCode::Cancelled);
        QVERIFY(openCorpus(path("corpus"), true).has_value() && leftovers().isEmpty());

        const auto package = path("cache") / "packages/tiny_1%3a2.0_all.deb";
        fs::resize_file(package, 300);
        const auto broken = prepare();
        QVERIFY(!broken && broken.error().code == ErrorCode::DataLoss);
        QVERIFY2(broken.error().text().find("tiny_1%3a2.0_all.deb") != std::string::npos, broken.error().text().c_str());
        QVERIFY(!fs::exists(package)); // so that it is fetched anew
        QVERIFY(openCorpus(path("corpus"), true).has_value() && leftovers().isEmpty());
    }

    void aForeignFolderIsLeftAlone() {
        const auto dir = path("foreign");
        writeFile(dir / "precious", "text");
        const auto writer = CorpusWriter::create(dir, CorpusWriter::Existing::Replace);
        QVERIFY(!writer && writer.error().code == ErrorCode::AlreadyExists);
        QVERIFY(fs::exists(dir / "precious"));
    }

    void aFullDiskIsSaid() {
        auto shard = ShardWriter::create("/dev/full");
        if (!shard)
            QSKIP("/dev/full is not here");
        const auto added = shard->add(std::string(1 << 20, 'x'));
        QVERIFY(!added && added.error().code == ErrorCode::ResourceExhausted);
    }

    void theProjectsListIsRight() {
        const fs::path source = qEnvironmentVariable("TELEHELM_SOURCE").toStdString();
        const auto list = readPackageList(source / "resources/corpus/demo.toml");
        QVERIFY2(list.has_value(), list ? "" : list.error().text().c_str());
        QVERIFY(list->domains.size() >= 8);
        std::ifstream table(source / "resources/reference/table1_data_mixture.csv");
        std::string names((std::istreambuf_iterator<char>(table)), {});
        for (const auto& domain : list->domains)
            QVERIFY2(names.find("\n" + domain.name + ",") != std::string::npos, domain.name.c_str());
    }

    void theRealCorpus() {
        const auto dir = config::demoCorpusDir();
        const auto corpus = openCorpus(dir);
        if (!corpus)
            QSKIP("the demo corpus is not in the cache: telehelm-data demo makes it");
        const auto manifest = readManifest(dir);
        QVERIFY((*corpus)->domains().size() >= 8);
        std::int64_t bytes = 0;
        std::unordered_set<std::uint64_t> trained;
        for (std::size_t d = 0; d < (*corpus)->domains().size(); ++d) {
            const auto& domain = (*corpus)->domains()[d];
            bytes += domain.bytes + domain.validBytes;
            QVERIFY2(domain.validTokens > 8 * 1024, domain.name.c_str());
            std::vector<std::int32_t> tokens(static_cast<std::size_t>(domain.tokens));
            (*corpus)->read(d, 0, tokens);
            std::int64_t count = 0, heldOut = 0, repeated = 0, foreign = 0;
            documentsOf(tokens, [&](const std::string& document) {
                ++count;
                heldOut += isHeldOut(document, manifest->domains[d].holdOutOneIn);
                repeated += !trained.insert(contentHash(document)).second;
                foreign += document.find_first_of(std::string("\0\x1b\r", 3)) != std::string::npos;
            });
            QCOMPARE(count, domain.documents);
            QCOMPARE(heldOut, 0);
            QCOMPARE(repeated, 0);
            QCOMPARE(foreign, 0);
        }
        QVERIFY2(bytes >= 20'000'000, qPrintable(QString::number(bytes)));
    }
};

QTEST_GUILESS_MAIN(TestDemoCorpus)
#include "tst_demo_corpus.moc"
