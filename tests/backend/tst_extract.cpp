// SPDX-License-Identifier: Apache-2.0
// From HTML, manual pages, dictionaries, fortunes and the Bible's format to text.
#include <QTemporaryDir>
#include <QTest>

#include <filesystem>
#include <fstream>
#include <map>

#include <zlib.h>

#include "data/corpus_writer.h"
#include "data/dictionary.h"
#include "data/extract.h"
#include "data/html_text.h"
#include "data/package_list.h"
#include "data/roff_text.h"
#include "data/text.h"

using namespace telehelm;
using namespace telehelm::data;
namespace fs = std::filesystem;

namespace {

QString q(const std::string& text) {
    return QString::fromStdString(text);
}

std::string gzip(const std::string& text) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(compressBound(text.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

/// compress(1) with 16 bits and block mode, without its header; `clearAfter` codes the table is begun anew (0: never).
std::string compressLzw(const std::string& text, int clearAfter = 0) {
    std::map<std::string, std::uint32_t> table;
    std::string out, word;
    std::uint64_t pending = 0;
    int bits = 9, count = 0, inGroup = 0, since = 0;
    std::uint32_t next = 257;
    const auto put = [&](std::uint32_t code) {
        pending |= std::uint64_t{code} << count;
        for (count += bits; count >= 8; count -= 8, pending >>= 8)
            out += static_cast<char>(pending & 0xff);
        inGroup = (inGroup + 1) % 8;
    };
    const auto endGroup = [&] { // codes come in groups of eight
        while (inGroup != 0)
            put(0);
    };
    const auto send = [&] {
        put(word.size() == 1 ? static_cast<unsigned char>(word[0]) : table.at(word));
        if (++since == clearAfter) {
            put(256);
            endGroup();
            table.clear();
            next = 257;
            bits = 9;
            since = 0;
        } else if (bits < 16 && next >= 1U << bits) {
            endGroup();
            ++bits;
        }
    };
    for (const char c : text) {
        if (word.empty() || table.contains(word + c)) {
            word += c;
            continue;
        }
        const std::string longer = word + c;
        send();
        if (since > 0 && next < 1U << 16) // none over a clear code
            table[longer] = next++;
        word = c;
    }
    if (!word.empty())
        send();
    if (count > 0)
        out += static_cast<char>(pending & 0xff);
    return out;
}

std::string bigEndian(std::size_t value) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8)
        out += static_cast<char>(value >> shift & 0xff);
    return out;
}

void writeFile(const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

} // namespace

class TestExtract : public QObject {
    Q_OBJECT

private:
    QTemporaryDir m_dir;

    QString listProblem(const std::string& content) {
        const fs::path file = m_dir.filePath("list.toml").toStdString();
        writeFile(file, content);
        const auto list = readPackageList(file);
        return list ? QString() : q(list.error().text());
    }

private slots:
    void html_data() {
        QTest::addColumn<QString>("page");
        QTest::addColumn<QString>("text");
        QTest::newRow("paragraphs")
            << "<html><head><title>T</title><style>p{}</style></head><body><h1>Title</h1><p>One\n  <b>two</b>,\n three."
               "<p>Four &amp; five&nbsp;six<br>seven</body></html>"
            << "Title\n\nOne two, three.\n\nFour & five six\nseven";
        QTest::newRow("boilerplate")
            << "<body><div class='navheader'>Prev</div><nav>N</nav><script>x()</script><header>H</header>"
               "<div role=\"navigation\">R</div><div class='big toc'>1. a</div><main>Text<a class=\"headerlink\">¶</a></main>"
               "<footer>F</footer><div id='toplang'>en</div></body>"
            << "Text";
        QTest::newRow("lists") << "<ul><li>one</li><li><p>two</p></li></ul><dl><dt>term</dt><dd>meaning</dd></dl>"
                               << "- one\n- two\n\nterm\n  meaning";
        QTest::newRow("table") << "<table><tr><th>A</th><th>B</th></tr><tr><td><p>1</p></td><td>2 <p>3</p></td></tr></table>after"
                               << "A | B\n1 | 2 3\n\nafter";
        QTest::newRow("code keeps its lines") << "<p>Run:</p><pre>\nint main() {\n    return 0;\n}\n</pre><p>Done</p>"
                                              << "Run:\n\nint main() {\n    return 0;\n}\n\nDone";
        QTest::newRow("a line break in Chinese is no space") << "<p>中文\n文本 with\nEnglish</p>"
                                                             << "中文文本 with English";
        QTest::newRow("nothing") << ""
                                 << "";
    }
    void html() {
        QFETCH(QString, page);
        QFETCH(QString, text);
        QCOMPARE(q(htmlToText(page.toStdString())), text);
    }

    void man_data() {
        QTest::addColumn<QString>("page");
        QTest::addColumn<QString>("text");
        QTest::newRow("man")
            << ".\\\" comment\n.TH LS 1 \"2022\" \"GNU\"\n.SH 名称\nls \\- 列出目录内容\n.SH 选项\n.TP\n\\fB\\-a\\fP, "
               "\\fB\\-\\-all\\fR\n不要忽略\n以点号\n.TP\n"
               ".BR \\-x \" \" file\nuse a\nfile\n.PP\nSee\n.BR ls (2),\nplease"
            << "LS(1)\n\n名称\nls - 列出目录内容\n\n选项\n-a, --all\n不要忽略以点号\n-x file\nuse a file\n\nSee ls(2), please";
        QTest::newRow("fill") << "One\ntwo\n.nf\n  three\nfour\n.fi\nfive\nsix\n.br\nseven"
                              << "One two\n  three\nfour\nfive six\nseven";
        QTest::newRow("escapes")
            << "a\\(emb \\(lqc\\(rq \\[u4E2D] \\s-1d\\s0 \\*(lqe\\*(rq f\\eg h\\&i\\|j\\ k\\f(CWl\\fR \\h'2m'm \\\" gone"
            << "a—b “c” 中 d “e” f\\g hij kl m";
        QTest::newRow("definitions and conditions")
            << ".de XX\nhidden\n..\n.if n \\{\\\nhidden\n.\\}\n.ie t hidden\n.el hidden\n.ds Aq '\n.ig\nhidden\n..\ntext"
            << "text";
        QTest::newRow("table") << ".TS\ntab(\t);\nl l.\nSIGHUP\t1\n_\nSIGINT\t2\n.TE\nend"
                               << "SIGHUP | 1\nSIGINT | 2\n\nend";
        QTest::newRow("items") << ".IP \\(bu 4\nfirst\n.IP \\(bu\nsecond\n.IP name 4\ntext"
                               << "• first\n• second\nname\ntext";
        QTest::newRow("mdoc") << ".Dt CAT 1\n.Sh NAME\n.Nm cat\n.Nd concatenate\n.Sh SYNOPSIS\n.Nm\n.Op Fl benst\n.Op "
                                 "Ar\n.Pp\nsee\n.Xr ls 1 ,\nalso"
                              << "CAT(1)\n\nNAME\ncat - concatenate\n\nSYNOPSIS\ncat [-benst] []\n\nsee ls(1), also";
        QTest::newRow("reference") << ".so man1/other.1\n"
                                   << "";
        QTest::newRow("joined lines") << "one \\\ntwo"
                                      << "one two";
    }
    void man() {
        QFETCH(QString, page);
        QFETCH(QString, text);
        QCOMPARE(q(manToText(page.toStdString())), text);
    }

    void dictionary() {
        const std::string text = "00-database-info\nabout\nalpha\n   The first.\n\nbeta\n   The second.\n";
        // alpha at 23, 20 bytes; beta at 44, 20 bytes; two headwords for beta
        const std::string index = "00-database-info\tA\tX\nalpha\tX\tU\nbeta\ts\tU\nveta\ts\tU\n";
        const auto entries = dictionaryEntries(text, index, "d");
        QVERIFY(entries.has_value());
        QCOMPARE(entries->size(), std::size_t{2});
        QCOMPARE(q((*entries)[0]), QString("alpha\n   The first."));
        QCOMPARE(q((*entries)[1]), QString("beta\n   The second."));
        QVERIFY(!dictionaryEntries(text, "x\tz\tzz\n", "d"));
        QVERIFY(!dictionaryEntries(text, "x y z\n", "d"));
        QVERIFY(!dictionaryEntries(text, "x\t!\tA\n", "d"));
    }

    void fortunesLoseTheirColours() {
        const auto texts = fortunes("\x1b[32m《春望》\x1b[m\n国破山河在\n%\n%\nsecond\n");
        QCOMPARE(texts.size(), std::size_t{2});
        QCOMPARE(q(texts[0]), QString("《春望》\n国破山河在"));
        QCOMPARE(q(texts[1]), QString("second"));
    }

    void bible() {
        std::string text = "Holy Bible\n";
        for (int verse = 1; verse <= 40; ++verse)
            text += "Ge1:" + std::to_string(verse) + " In the beginning " + std::to_string(verse) + "\n";
        text += "1Jn3:1 Behold\n1Jn3:2 Beloved\n";
        const auto middle = text.size() / 2; // a window may end within a verse
        const std::string first = "\x1f\x9d\x90" + compressLzw(text.substr(0, middle)), second = compressLzw(text.substr(middle));
        std::string file = "EC02Compressed Data File";
        file.resize(0x58, '\0');
        file += bigEndian(2) + bigEndian(0x64) + bigEndian(0x64 + first.size()) + first + second;
        const auto chapters = bibleChapters(file, "bible.data");
        QVERIFY2(chapters.has_value(), chapters ? "" : chapters.error().text().c_str());
        QCOMPARE(chapters->size(), std::size_t{2});
        QVERIFY((*chapters)[0].starts_with("Ge 1\n\n1 In the beginning 1\n2 In"));
        QVERIFY((*chapters)[0].ends_with("\n40 In the beginning 40"));
        QCOMPARE(q((*chapters)[1]), QString("1Jn 3\n\n1 Behold\n2 Beloved"));
        QVERIFY(!bibleChapters(file.substr(0, 0x5e), "cut").has_value());
        QVERIFY(!bibleChapters("text", "other").has_value());
    }

    void lzw() {
        std::string varied;
        for (int i = 0; i < 40000; ++i)
            varied += static_cast<char>('a' + (i * i / 7 + i % 5) % 23);
        for (const auto& text : {std::string(), std::string("a"), std::string(600, 'a'), std::string("ababababab"), varied})
            for (const int clearAfter : {0, 5, 1000}) { // widths from 9 bits up, with and without a new table
                const auto expanded = expandLzw(compressLzw(text, clearAfter), "x");
                QVERIFY2(expanded.has_value(), expanded ? "" : expanded.error().text().c_str());
                QVERIFY(*expanded == text);
            }
        QVERIFY(compressLzw(varied).size() < varied.size() * 3 / 4);
        QVERIFY(!expandLzw("\xff\xff\xff\xff", "x").has_value());
    }

    void textTools() {
        QCOMPARE(q(tidy("\xef\xbb\xbf  a \r\n\r\n\r\n\r\nb\x01\tc \n\n")), QString("  a\n\nb\tc"));
        QCOMPARE(q(tidy("a\n\n\n\nb", 2)), QString("a\n\n\nb"));
        QVERIFY(isUtf8("aé中😀"));
        QVERIFY(!isUtf8("a\xff") && !isUtf8("\xc0\x80") && !isUtf8("\xed\xa0\x80") && !isUtf8("\xe4\xb8"));
        const std::string packed = gzip("hello");
        QCOMPARE(q(gunzip(packed, "x").value()), QString("hello"));
        QCOMPARE(q(gunzip("plain", "x").value()), QString("plain"));
        QVERIFY(!gunzip(packed.substr(0, packed.size() - 9) + std::string(4, 'x'), "x").has_value());
    }

    void cutKeepsEverythingAndTheLimit() {
        std::string text;
        for (int paragraph = 0; paragraph < 60; ++paragraph)
            text += "paragraph " + std::to_string(paragraph) + "\nsecond line of it\n\n";
        const auto pieces = cut(text, 200);
        std::string together;
        for (const auto& piece : pieces) {
            QVERIFY(piece.size() <= 200);
            QVERIFY(piece.starts_with("paragraph")); // cut between paragraphs
            together += piece + "\n\n";
        }
        QCOMPARE(q(tidy(together)), q(tidy(text)));
        QCOMPARE(cut(std::string(1000, 'x'), 100).size(), std::size_t{1});
        QVERIFY(cut("", 100).empty());
    }

    void repeatedParagraphsAreDropped() {
        ParagraphFilter filter(10);
        QCOMPARE(q(filter("Title\n\nA long paragraph\n\nAnother long one\n\nA long paragraph")),
                 QString("Title\n\nA long paragraph\n\nAnother long one"));
        QCOMPARE(q(filter("Title\n\nAnother long one\n\nA third, new one")), QString("Title\n\nA third, new one"));
    }

    void aPackageBecomesDocuments() {
        const fs::path root = m_dir.filePath("root").toStdString();
        const std::string shared =
            "This paragraph is on every page of the package and long enough to be seen as a repetition of itself.";
        const auto page = [&](const std::string& own) { return "<body><p>" + own + "</p><p>" + shared + "</p></body>"; };
        writeFile(root / "doc/a.html", page("The first page has this text of its own, which is long enough."));
        writeFile(root / "doc/b.html.gz", gzip(page("The second page has another text, which is long enough as well.")));
        writeFile(root / "doc/index.html", page("An index that is not wanted."));
        writeFile(root / "doc/latin1.html", "<body><pre>caf\xe9, not UTF-8, and so it is not taken at all</pre></body>");
        writeFile(root / "lib/x.py", "def f():\n    return 'a line of code that is long enough to be kept'\n");
        fs::create_symlink(root / "doc/a.html", root / "doc/link.html");
        const ListedPackage package{
            "demo", "D", "L", {{"html", {"doc/*.html", "doc/*.html.gz"}, {"*/index.html", "*/latin1*"}}, {"code", {"*.py"}, {}}}};
        ParagraphFilter filter(60);
        std::vector<std::string> documents;
        std::int64_t steps = 0;
        const auto sink = [&](const std::string& document) -> Result<void> {
            documents.push_back(document);
            return {};
        };
        const auto progress = [&](std::int64_t done, std::int64_t total) -> Result<void> {
            return done == steps++ && total == 3 ? Result<void>() : fail(ErrorCode::Internal, "progress is wrong");
        };
        const auto summary = extractPackage(package, root, filter, sink, progress);
        QVERIFY2(summary.has_value(), summary ? "" : summary.error().text().c_str());
        QCOMPARE(summary->files, 3);
        QCOMPARE(documents.size(), std::size_t{3});
        QCOMPARE(q(documents[0]), q("The first page has this text of its own, which is long enough.\n\n" + shared));
        QCOMPARE(q(documents[1]), QString("The second page has another text, which is long enough as well."));
        QCOMPARE(q(documents[2]), QString("def f():\n    return 'a line of code that is long enough to be kept'"));

        const auto stop = [](std::int64_t, std::int64_t) -> Result<void> { return fail(ErrorCode::Cancelled, "interrupted"); };
        QVERIFY(extractPackage(package, root, filter, sink, stop).error().code == ErrorCode::Cancelled);
        const ListedPackage moved{"moved", "D", "L", {{"html", {"elsewhere/*"}, {}}}};
        QVERIFY(q(extractPackage(moved, root, filter, sink, progress).error().text()).contains("moved"));
    }

    void theListIsCheckedWithLineAndKey() {
        const std::string domain = "[[domain]]\nname = \"D\"\nlanguages = \"en\"\n";
        const std::string package =
            "[[package]]\nname = \"p\"\ndomain = \"D\"\nlicence = \"L\"\nextract = [{ rule = \"html\", files = [\"*\"] }]\n";
        QCOMPARE(listProblem(domain + package), QString());
        QVERIFY(listProblem(domain).contains("package"));
        QVERIFY2(listProblem(domain + "nmae = 1\n" + package).contains(":4: unknown key “nmae”"),
                 qPrintable(listProblem(domain + "nmae = 1\n" + package)));
        QVERIFY(listProblem(domain + "hold_out_one_in = 1\n" + package).contains("hold_out_one_in"));
        const auto changed = [&](const std::string& from, const std::string& to) {
            auto text = package;
            return listProblem(domain + text.replace(text.find(from), from.size(), to));
        };
        QVERIFY(changed("\"D\"", "\"E\"").contains("“E”"));
        QVERIFY(changed("licence = \"L\"\n", "").contains("“licence”"));
        QVERIFY(changed("html", "htm").contains("there are: bible, code"));
        QVERIFY(changed("\"p\"", "\"-o x\"").contains("Debian package"));
        QVERIFY(changed("[\"*\"]", "[1]").contains("list of texts"));
        QVERIFY(listProblem(domain + package + "[[package\n").contains("list.toml:"));
        QVERIFY(listProblem(domain + "[[domain]]\nname = \"E\"\nlanguages = \"en\"\n" + package).contains("“E”"));
    }
};

QTEST_GUILESS_MAIN(TestExtract)
#include "tst_extract.moc"
