// SPDX-License-Identifier: Apache-2.0
#include "trainer_rig.h"

#include <mutex>
#include <stdexcept>
#include <thread>

#include "data/corpus_writer.h"

namespace telehelm::tests {

void makeTinyCorpus(const std::filesystem::path& dir) {
    const auto documents = [](const std::string& pattern, int count) {
        std::vector<std::string> made;
        for (int i = 0; i < count; ++i) {
            std::string text;
            for (int line = 0; line < 6; ++line) {
                text += pattern + std::to_string((i * 7 + line * 3) % 23) + "\n";
            }
            made.push_back(std::move(text));
        }
        return made;
    };
    // Equal documents are dropped, so each carries its number.
    std::vector<data::DomainText> domains = {{"WebText", "en, zh", documents("the quick brown fox, 敏捷的狐狸 ", 60)},
                                             {"Code", "code", documents("for (int i = 0; i < n; ++i) sum += a[i] * ", 60)},
                                             {"Book", "en", documents("And it came to pass, in the year ", 60)}};
    for (data::DomainText& domain : domains) {
        for (std::size_t i = 0; i < domain.documents.size(); ++i) {
            domain.documents[i] += "no. " + std::to_string(i);
        }
    }
    if (auto written = data::writeCorpus(dir, domains); !written) {
        throw std::runtime_error(written.error().text());
    }
}

std::string tinyConfig(const std::filesystem::path& corpus) {
    return R"(name = "tiny"
steps = 20

[model]
layers = 1
hidden_size = 32
attention_heads = 2
ffn_hidden_size = 48
vocab_size = 272
context_length = 32
standard_deviation = 0.02
matrix_standard_deviation = 0.05

[optimizer]
learning_rate = 0.01
matrix_learning_rate = 0.01
minimum_learning_rate = 0.001

[schedule]
warmup_steps = 3

[batch]
sequences = 6
micro_sequences = 1

[validation]
every_steps = 10
sequences_per_domain = 3

[checkpoint]
every_steps = 5
keep_last = 3

[parallel]
data = 1

[data]
seed = 7
corpus = ")" +
           corpus.string() + R"("

[data.mixture]
WebText = 60.0 # most
Code = 30.0
Book = 10.0
)";
}

config::RunConfig parsed(const std::string& toml) {
    auto config = config::parseRunConfig(toml, "tiny.toml");
    if (!config) {
        throw std::runtime_error(config.error().text());
    }
    return *config;
}

void RecordingLink::setProgress(std::int64_t step, std::int64_t, const std::string& phase) {
    m_step = step;
    pausedPolls += phase == "paused" ? 1 : 0;
}

std::vector<ipc::Command> RecordingLink::takeCommands() {
    std::vector<ipc::Command> due;
    std::erase_if(m_planned, [&](const Planned& planned) {
        const bool comes = m_step >= planned.step && pausedPolls >= planned.polls;
        if (comes) {
            due.push_back(planned.command);
        }
        return comes;
    });
    return due;
}

std::vector<double> RecordingLink::values(const std::string& series) const {
    std::vector<double> values;
    if (const auto found = points.find(series); found != points.end()) {
        for (const ipc::Point& point : found->second) {
            values.push_back(point.value);
        }
    }
    return values;
}

std::vector<ipc::Event> RecordingLink::eventsOf(ipc::EventKind kind) const {
    std::vector<ipc::Event> found;
    std::copy_if(events.begin(), events.end(), std::back_inserter(found),
                 [&](const ipc::Event& event) { return event.kind == kind; });
    return found;
}

std::string RecordingLink::outcome(const std::string& id) const {
    std::string text;
    for (const ipc::CommandOutcome& outcome : outcomes) {
        if (outcome.id == id) {
            text += (text.empty() ? "" : " | ") + std::string(ipc::name(outcome.state)) + " " + std::to_string(outcome.step) +
                    ": " + outcome.text;
        }
    }
    return text;
}

ipc::Command command(const std::string& id, ipc::CommandKind kind) {
    ipc::Command command;
    command.id = id;
    command.kind = kind;
    return command;
}

namespace {

/// What the ranks' threads leave behind.
struct Shared {
    std::mutex mutex;
    Training training;
    std::string failure; // the first one; the others follow from it
};

void runRank(const train::TrainerOptions& options, comm::Communicator& world, const std::shared_ptr<const data::Corpus>& corpus,
             ipc::TrainerLink* link, Shared& shared) {
    const parallel::Mesh mesh(*parallel::MeshShape::make(options.config.parallel, world.size()), world);
    auto trainer = train::Trainer::start(options, mesh, corpus, link);
    if (!trainer) {
        throw std::runtime_error(trainer.error().error.text());
    }
    const train::TrainEnd end = (*trainer)->run();
    const std::lock_guard lock(shared.mutex);
    const auto parameters = (*trainer)->parameters();
    shared.training.ofAllRanks[static_cast<std::size_t>(world.rank())].assign(parameters.begin(), parameters.end());
    if (world.rank() == 0) {
        shared.training.end = end;
    }
}

} // namespace

Training runTraining(const config::RunConfig& config, const std::filesystem::path& checkpoints, RecordingLink& link,
                     std::uint32_t attempt, const std::function<void(train::TrainerOptions&)>& adjust) {
    auto opened = data::openCorpus(config.data.corpus);
    if (!opened) {
        throw std::runtime_error(opened.error().text());
    }
    const std::shared_ptr<const data::Corpus> corpus = std::move(*opened);
    Shared shared;
    const auto ranks = static_cast<std::size_t>(config.parallel.ranks());
    shared.training.ofAllRanks.resize(ranks);
    const auto rank = [&](std::unique_ptr<comm::Communicator> world) {
        try {
            train::TrainerOptions options;
            options.config = config;
            options.key = {config.name, attempt};
            options.checkpointDir = checkpoints;
            options.calibrate = false;
            options.waitForSaves = true; // tiny steps would overtake the writer
            adjust(options);
            runRank(options, *world, corpus, world->rank() == 0 ? &link : nullptr, shared);
        } catch (const std::exception& error) {
            const std::lock_guard lock(shared.mutex);
            shared.failure = shared.failure.empty() ? error.what() : shared.failure;
        }
    };
    if (ranks == 1) {
        rank(comm::makeSelfCommunicator());
    } else {
        std::vector<std::thread> threads;
        for (auto& world : comm::makeThreadCommunicators(static_cast<int>(ranks))) {
            threads.emplace_back([&rank, own = std::move(world)]() mutable { rank(std::move(own)); });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
    }
    if (!shared.failure.empty()) {
        throw std::runtime_error(shared.failure);
    }
    shared.training.parameters = shared.training.ofAllRanks.front();
    return std::move(shared.training);
}

} // namespace telehelm::tests
