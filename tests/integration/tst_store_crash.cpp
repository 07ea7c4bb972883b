// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon at random instants while a trainer sends at full speed: what was acked is stored, once, bit by bit.
// TELEHELM_SOAK=1: 50 kills instead of 5. TELEHELM_SEED repeats a failure's instants.
#include <QDir>
#include <QFile>
#include <QTest>

#include <chrono>
#include <random>
#include <thread>

#include "crash_rig.h"
#include "store/check.h"
#include "store/store.h"

using namespace telehelm;
using namespace telehelm::tests;

namespace {

/// The files as the kill left them, checked and opened elsewhere: the daemon's next start must meet them untouched.
Result<std::uint64_t> pointsIn(const QString& store, const QString& copy) {
    QDir(copy).removeRecursively();
    QDir().mkpath(copy);
    for (const char* suffix : {"", "-wal", "-mark"})
        if (QFile::exists(store + suffix) && !QFile::copy(store + suffix, copy + "/telehelm.db" + suffix))
            return fail(ErrorCode::Unavailable, "the store cannot be copied");
    std::string damage;
    store::CheckOptions options;
    options.found = [&](const store::Damage& found) { damage += found.text() + "; "; };
    const auto checked = store::checkStore((copy + "/telehelm.db").toStdString(), options);
    if (!checked || !damage.empty())
        return fail(ErrorCode::DataLoss, checked ? damage : checked.error().text());
    auto opened = store::Store::open((copy + "/telehelm.db").toStdString());
    if (!opened)
        return tl::unexpected(opened.error());
    return (*opened)->pointsStored();
}

} // namespace

class TestStoreCrash : public QObject {
    Q_OBJECT

private slots:
    void killsUnderFullIngest();
};

void TestStoreCrash::killsUnderFullIngest() {
    const int kills = qEnvironmentVariableIntValue("TELEHELM_SOAK") != 0 ? 50 : 5;
    const auto seed = qEnvironmentVariableIsSet("TELEHELM_SEED") ? qEnvironmentVariableIntValue("TELEHELM_SEED")
                                                                  : static_cast<int>(std::random_device()() & 0x7fffffff);
    std::mt19937 random(static_cast<unsigned>(seed));
    CrashRig rig;
    QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    rig.startRun();
    for (int round = 0; round < kills; ++round) {
        // Every fifth dies while it starts; the others while points are being written.
        const bool isStarting = round % 5 == 4;
        if (!isStarting)
            QVERIFY2(rig.acksMore(20'000), rig.feed().problem);
        std::this_thread::sleep_for(std::chrono::microseconds(random() % (isStarting ? 60'000 : 250'000)));
        rig.kill();
        const std::uint64_t acked = rig.feed().acked;
        const auto stored = pointsIn(rig.store(), rig.path("copy"));
        QVERIFY2(stored, stored ? "" : stored.error().text().c_str());
        QVERIFY2(*stored >= acked, qPrintable(QString("kill %1, seed %2: %3 points acked, %4 stored").arg(round).arg(seed).arg(acked).arg(*stored)));
        if (round % 5 == 3)
            rig.launch();
        else
            QVERIFY2(rig.start(), qPrintable(rig.log().join('\n')));
    }
    QVERIFY2(rig.acksMore(20'000), rig.feed().problem);
    QVERIFY2(rig.finish(), qPrintable(QString("seed %1: %2").arg(seed).arg(rig.feed().problem)));
    const QString wrong = rig.compareWithEmitted();
    QVERIFY2(wrong.isEmpty(), qPrintable(QString("seed %1: %2").arg(seed).arg(wrong)));
    QString said;
    const int checked = rig.check(&said);
    QVERIFY2(checked == 0, qPrintable(QString("seed %1: check: %2").arg(seed).arg(said)));
    qInfo("%d kills, seed %d: %llu points emitted, acked and stored once; %llu went through the spool file", kills, seed,
          static_cast<unsigned long long>(rig.feed().emitted), static_cast<unsigned long long>(rig.feed().spooled));
}

int main(int argc, char** argv) {
    if (const std::vector<std::string> words(argv + 1, argv + argc); isFeeder(words))
        return feed(words);
    QCoreApplication app(argc, argv);
    TestStoreCrash test;
    return QTest::qExec(&test, argc, argv);
}
#include "tst_store_crash.moc"
