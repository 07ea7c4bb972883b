// SPDX-License-Identifier: GPL-3.0-or-later
#include "scripted_daemon.h"

namespace telehelm::app::test {

namespace {

constexpr std::int64_t kNewest = 44'310, kTokens = 5'505'024;

double noise(std::int64_t step) {
    std::uint64_t x = static_cast<std::uint64_t>(step) * 0x9E3779B97F4A7C15ULL;
    x ^= x >> 31;
    x *= 0xBF58476D1CE4E5B9ULL;
    x ^= x >> 27;
    return double(x >> 11) / double(1ULL << 53) - 0.5;
}
double loss(std::int64_t step) {
    const double rise = step > 43'100 ? double(step - 43'100) * 4e-5 : 0;
    const double spike = step >= 41'210 && step < 41'240 ? 0.4 : 0;
    return 1.87 - double(step - 30'000) * 1e-6 + noise(step) * 0.2 + rise + spike;
}
double gradNorm(std::int64_t step) { return (step >= 30'500 ? 0.235 : 0.19) * (1 + 0.5 * noise(step + 7)); }
double rate(std::int64_t step) { return 1.5e-4 - double(step) * 5e-10; }
double speed(std::int64_t step) { return (step < 33'240 ? 361'800 : 366'000) * (1 + 0.01 * noise(step)); }
double stepMs(std::int64_t step) { return (step < 33'240 ? 15'220 : 15'040) * (1 + 0.01 * noise(step)); }
double bpbWeb(std::int64_t step) { return 0.62 - double(step) * 1.2e-6; }
double bpbCode(std::int64_t step) { return 0.42 - double(step) * 1.9e-6; }
double bpbBook(std::int64_t step) { return 0.71 - double(step) * 0.7e-6; }

ipc::Command order(const char* id, ipc::CommandKind kind, std::int64_t step, const char* who, const char* reason, std::int64_t atUs) {
    ipc::Command command;
    command.id = id;
    command.key = {"teleflm-52b-main", 1};
    command.kind = kind;
    command.author = who;
    command.host = "ws-17";
    command.reason = reason;
    command.state = ipc::CommandState::Applied;
    command.appliedStep = command.atStep = step;
    command.requestedUs = atUs;
    command.acceptedUs = atUs + 41'000;
    command.endedUs = atUs + 400'000'000;
    return command;
}

void fillDomains(ipc::RunInfo& run) {
    const struct {
        const char *name, *languages;
        double percent, train, seen;
    } domains[] = {{"WebText", "en, zh", 75.20, 1.44e12, 186.8e9}, {"Code", "code, zh", 9.81, 204e9, 22.4e9},     {"Book", "en, zh", 7.17, 175e9, 17.5e9},
                   {"WorldKnowledge", "multi, en, zh", 2.87, 23.2e9, 6.5e9}, {"QA", "en, zh", 2.12, 43e9, 4.3e9},   {"AcademicPaper", "en", 0.99, 19.2e9, 2.3e9},
                   {"Profession-Law", "zh", 1.04, 20.9e9, 2.3e9},            {"Profession-Math", "math", 0.62, 6.3e9, 1.4e9}, {"Profession-Patent", "zh", 0.14, 2.84e9, 341e6},
                   {"Profession-Medical", "zh", 0.02, 408e6, 49e6},          {"ClassicalChinese", "zh", 0.02, 163e6, 49e6}};
    for (const auto& d : domains) {
        run.domains.push_back({d.name, d.languages, std::int64_t(d.train), std::int64_t(d.seen), d.percent / 100});
    }
}

} // namespace

void fillBigRun(ScriptedDaemon& daemon) {
    ipc::RunInfo& run = daemon.run;
    run.run = "teleflm-52b-main";
    run.totalSteps = 363'304;
    run.tokensPerStep = kTokens;
    run.totalTokens = 2'000'000'000'000;
    run.tensorParallel = 4;
    run.pipelineParallel = 2;
    run.dataParallel = 112;
    run.checkpointEvery = 500;
    run.validationEvery = 500;
    run.learningRate = 1.5e-4;
    run.clipGrad = 1.0;
    ipc::AttemptInfo attempt;
    attempt.key = {run.run, 1};
    attempt.state = ipc::AttemptState::Running;
    attempt.startedUs = daemon.startUs;
    attempt.step = kNewest;
    attempt.tokens = kNewest * kTokens;
    attempt.lastHeardUs = daemon.startUs + kNewest * daemon.stepUs;
    attempt.configToml = "name = \"teleflm-52b-main\"\n[optimizer]\nclip_grad = 1.0 # global norm\n[data]\nseed = 1234\n[data.mixture]\nWebText = 77.20\nCode = 8.90\n"
                         "Book = 7.17\nWorldKnowledge = 2.60\nQA = 1.60\nAcademicPaper = 0.89\nProfession-Law = 0.94\nProfession-Math = 0.52\nProfession-Patent = 0.14\n"
                         "Profession-Medical = 0.02\nClassicalChinese = 0.02\n";
    run.attempts = {attempt};
    fillDomains(run);
    for (const std::int64_t step : {44'000, 43'500, 43'000, 42'500, 42'000, 41'000, 40'000, 39'000, 38'000, 36'000}) {
        ipc::CheckpointInfo checkpoint;
        checkpoint.key = attempt.key;
        checkpoint.step = step;
        checkpoint.tokens = step * kTokens;
        checkpoint.savedUs = daemon.startUs + step * daemon.stepUs;
        checkpoint.bytes = 728'000'000'000;
        checkpoint.path = "/runs/main/checkpoints/a1-step-000" + std::to_string(step);
        checkpoint.verified = true;
        checkpoint.damage = step == 43'500 ? "tensor layers.3.ffn.up: checksum differs" : "";
        checkpoint.trainLoss = 1.84 + double(step - 40'000) * 1e-5;
        checkpoint.gradNorm = gradNorm(step);
        daemon.checkpoints.push_back(checkpoint);
    }
    daemon.curves = {{"train/loss", loss}, {"train/grad_norm", gradNorm}, {"optim/lr", rate}, {"perf/tokens_per_s", speed}, {"perf/step_ms", stepMs},
                     {"bpb/WebText", bpbWeb}, {"bpb/Code", bpbCode}, {"bpb/Book", bpbBook}};
    auto at = [&](std::int64_t step) { return daemon.startUs + step * daemon.stepUs; };
    auto mixture = order("m1", ipc::CommandKind::SetMixture, 30'500, "operator-1", "提高代码和知识类数据比例，按第二阶段计划执行", at(30'450));
    for (const auto& domain : run.domains) {
        mixture.mixture[domain.name] = domain.target;
    }
    mixture.diff = "[data.mixture]\n-WebText = 77.20\n+WebText = 75.20\n-Code = 8.90\n+Code = 9.81\n";
    auto restart = order("r1", ipc::CommandKind::Restart, 33'240, "operator-1", "更换 NCCL 网络配置，修复跨机房通信抖动", at(33'240));
    restart.restart = ipc::RestartOptions{};
    restart.restart->checkpointAttempt = 1;
    restart.restart->checkpointStep = 33'240;
    restart.diff = "[optimizer]\n-clip_grad = 1.0\n+clip_grad = 0.8\n[data]\n-skip_batches = 0\n+skip_batches = 64\n";
    auto refused = order("s1", ipc::CommandKind::Stop, 28'836, "viewer-1", "stop it now please", at(28'836));
    refused.state = ipc::CommandState::Rejected;
    refused.outcome = "The token of viewer-1 allows reading only";
    auto pause = order("p1", ipc::CommandKind::Pause, 33'240, "operator-1", "Save first, then change the network settings", at(33'239));
    daemon.commands = {restart, pause, mixture, refused};
    std::int64_t id = 0;
    const auto happened = [&](ipc::EventKind kind, ipc::Severity severity, std::int64_t step, const char* text) {
        ipc::Event event;
        event.id = ++id;
        event.key = attempt.key;
        event.kind = kind;
        event.severity = severity;
        event.step = step;
        event.wallUs = at(step);
        event.text = text;
        daemon.events.push_back(event);
    };
    happened(ipc::EventKind::AttemptStarted, ipc::Severity::Info, 0, "Attempt 1 of teleflm-52b-main started");
    happened(ipc::EventKind::RankFailed, ipc::Severity::Critical, 17'500, "Rank 612 failed (signal 9)");
    happened(ipc::EventKind::MixtureChanged, ipc::Severity::Info, 30'500, "Mixture changed");
    happened(ipc::EventKind::CheckpointSaved, ipc::Severity::Benign, 37'000, "Checkpoint of step 37,000 saved and verified");
}

} // namespace telehelm::app::test
