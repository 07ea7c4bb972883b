// SPDX-License-Identifier: Apache-2.0
// The restart policy's arithmetic on made-up runs: what counts as a restart in a row, which checkpoints are not taken again.
#include <QTest>

#include "daemon/retry.h"

using namespace telehelm;
using namespace telehelm::daemon;
using Attempts = std::vector<ipc::AttemptInfo>;

namespace {

const std::string kConfig = R"(name = "run"
steps = 100
[model]
layers = 2
hidden_size = 32
attention_heads = 2
ffn_hidden_size = 48
vocab_size = 272
context_length = 32
[optimizer]
learning_rate = 1e-2
matrix_learning_rate = 1e-2
[batch]
sequences = 4
[data.mixture]
Code = 100.0
)";

std::string pathOf(std::int64_t step) { return "a1-step-" + std::to_string(step); }

/// A failed attempt from `forkStep` to `step`; the daemon's own but for the first.
void add(Attempts& attempts, std::int64_t forkStep, std::int64_t step) {
    ipc::AttemptInfo attempt;
    attempt.key = {"run", static_cast<std::uint32_t>(attempts.size() + 1)};
    attempt.parent = forkStep > 0 ? 1 : 0;
    attempt.forkStep = forkStep;
    attempt.step = step;
    attempt.state = ipc::AttemptState::Failed;
    attempt.configToml = kConfig;
    if (forkStep > 0)
        attempt.configToml += "[resume]\ncheckpoint = \"" + pathOf(forkStep) + "\"\n";
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
    void aCheckpointWithoutAStepIsDeadly();
    void twoThatDieOnOldGroundAreDeadly();
    void whoComesFartherClearsIt();
    void whoSavesClearsIt();
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

void TestRetry::aCheckpointWithoutAStepIsDeadly() {
    Attempts attempts;
    add(attempts, 0, 34);
    add(attempts, 20, 20);
    QCOMPARE(deadlyCheckpoints(attempts, {2}, {}).size(), std::size_t{1});
    QCOMPARE(deadlyCheckpoints(attempts, {2}, {}).at(pathOf(20)), std::string("attempt 2 from it died before it had made a step"));
    attempts.back().state = ipc::AttemptState::Stopped;
    QVERIFY(deadlyCheckpoints(attempts, {2}, {}).empty());
}

void TestRetry::twoThatDieOnOldGroundAreDeadly() {
    Attempts attempts;
    add(attempts, 0, 22);
    add(attempts, 20, 22);
    QVERIFY(deadlyCheckpoints(attempts, {2}, {}).empty());
    add(attempts, 10, 15);
    add(attempts, 20, 21);
    const auto deadly = deadlyCheckpoints(attempts, {2, 3, 4}, {});
    QCOMPARE(deadly.size(), std::size_t{1});
    QCOMPARE(deadly.at(pathOf(20)),
             std::string("attempts 2 and 4 from it died without coming farther than step 22, which was reached before"));
}

void TestRetry::whoComesFartherClearsIt() {
    Attempts attempts;
    add(attempts, 0, 22);
    add(attempts, 20, 22);
    add(attempts, 20, 25);
    add(attempts, 20, 25);
    QVERIFY(deadlyCheckpoints(attempts, {2, 3, 4}, {}).empty());
    QVERIFY(deadlyCheckpoints(attempts, {2, 4}, {}).empty()); // the third was an operator's
    add(attempts, 20, 24);
    QCOMPARE(deadlyCheckpoints(attempts, {2, 3, 4, 5}, {}).size(), std::size_t{1});
}

void TestRetry::whoSavesClearsIt() {
    Attempts attempts;
    add(attempts, 0, 38);
    add(attempts, 20, 32);
    add(attempts, 20, 37);
    ipc::CheckpointInfo own;
    own.key = attempts[2].key;
    own.step = 30;
    QCOMPARE(deadlyCheckpoints(attempts, {2, 3}, {own}).size(), std::size_t{1}); // not known to be sound
    own.verified = true;
    QVERIFY(deadlyCheckpoints(attempts, {2, 3}, {own}).empty());
    own.step = 20;
    QCOMPARE(deadlyCheckpoints(attempts, {2, 3}, {own}).size(), std::size_t{1});
}

QTEST_GUILESS_MAIN(TestRetry)
#include "tst_retry.moc"
