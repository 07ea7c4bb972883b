// SPDX-License-Identifier: Apache-2.0
// The restart policy's arithmetic on made-up runs: what counts as a restart in a row.
#include <QTest>

#include "daemon/retry.h"

using namespace telehelm;
using namespace telehelm::daemon;
using Attempts = std::vector<ipc::AttemptInfo>;

namespace {

/// A failed attempt from `forkStep` to `step`; the daemon's own but for the first.
void add(Attempts& attempts, std::int64_t forkStep, std::int64_t step) {
    ipc::AttemptInfo attempt;
    attempt.key = {"run", static_cast<std::uint32_t>(attempts.size() + 1)};
    attempt.parent = forkStep > 0 ? 1 : 0;
    attempt.forkStep = forkStep;
    attempt.step = step;
    attempt.state = ipc::AttemptState::Failed;
    attempts.push_back(std::move(attempt));
}

} // namespace

class TestRetry : public QObject {
    Q_OBJECT

private slots:
    void stepsThatWereMadeBeforeDoNotCount();
    void stepsOnNewGroundCountAsRecovered();
    void anOperatorBeginsAnew();
    void itEndsAfterMaxRetries();
};

void TestRetry::stepsThatWereMadeBeforeDoNotCount() {
    Attempts attempts;
    add(attempts, 0, 34);
    add(attempts, 20, 34);
    add(attempts, 20, 35);
    add(attempts, 0, 35);
    QCOMPARE(restartsInARow(attempts, {2, 3, 4}, 10), std::int64_t{3});
    QCOMPARE(restartsInARow(attempts, {2, 3, 4}, 1), std::int64_t{1}); // the third came one step farther
}

void TestRetry::stepsOnNewGroundCountAsRecovered() {
    Attempts attempts;
    add(attempts, 0, 34);
    add(attempts, 20, 43);
    QCOMPARE(restartsInARow(attempts, {2}, 10), std::int64_t{1});
    add(attempts, 40, 53);
    QCOMPARE(restartsInARow(attempts, {2, 3}, 10), std::int64_t{0});
    add(attempts, 40, 53);
    QCOMPARE(restartsInARow(attempts, {2, 3, 4}, 10), std::int64_t{1});
}

/// Who goes back on purpose is measured by what follows, not by what was reached before.
void TestRetry::anOperatorBeginsAnew() {
    Attempts attempts;
    add(attempts, 0, 1000);
    add(attempts, 800, 900);
    add(attempts, 100, 150); // an operator's
    QCOMPARE(restartsInARow(attempts, {2}, 10), std::int64_t{0});
    add(attempts, 100, 155);
    QCOMPARE(restartsInARow(attempts, {2, 4}, 10), std::int64_t{1});
    add(attempts, 100, 165);
    QCOMPARE(restartsInARow(attempts, {2, 4, 5}, 10), std::int64_t{0});
}

void TestRetry::itEndsAfterMaxRetries() {
    const config::RestartPolicyConfig policy{.maxRetries = 2, .backoffS = 3};
    const FailedAttempt failed;
    QCOMPARE(judgeFailure(policy, 0, failed).restart, std::int64_t{1});
    QCOMPARE(judgeFailure(policy, 1, failed).restart, std::int64_t{2});
    QCOMPARE(judgeFailure(policy, 1, failed).delayS, 6.0);
    QCOMPARE(judgeFailure(policy, 2, failed).restart, std::int64_t{0});
    QVERIFY(!judgeFailure(policy, 2, failed).text.empty());
}

QTEST_GUILESS_MAIN(TestRetry)
#include "tst_retry.moc"
