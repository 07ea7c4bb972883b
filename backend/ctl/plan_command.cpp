// SPDX-License-Identifier: Apache-2.0
// telehelmctl plan: a config on paper. Needs no daemon.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <ostream>

#include "config/run_config.h"
#include "ctl/commands.h"
#include "ctl/format.h"
#include "ctl/json_text.h"
#include "parallel/mesh_shape.h"
#include "parallel/plan.h"

namespace telehelm::ctl {
namespace {

using parallel::Plan;
using parallel::StagePlan;

/// "160T" → 160e12. Nothing behind the letter but "FLOP/s" or "FLOPS".
Result<double> flopsOf(const std::string& text) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
    constexpr std::string_view letters = "kMGTPE";
    double scale = 1;
    if (!rest.empty() && letters.find(rest.front()) != std::string_view::npos) {
        scale = std::pow(1000.0, static_cast<double>(letters.find(rest.front()) + 1));
        rest.remove_prefix(1);
    }
    if (error != std::errc() || !(number > 0) || !std::isfinite(number) || !(rest.empty() || rest == "FLOP/s" || rest == "FLOPS"))
        return fail(ErrorCode::InvalidArgument, "\"" + text + "\" is no speed; write FLOP/s as in 160T or 1.6e14", "--flops");
    return number * scale;
}

std::string siText(double value, const std::string& unit) {
    constexpr const char* prefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z"};
    std::size_t index = 0;
    for (; value >= 999.5 && index + 1 < std::size(prefixes); ++index)
        value /= 1000;
    return shortNumber(value, 4) + " " + prefixes[index] + unit;
}

std::string bytesOf(double bytes) {
    return bytes < 0.5 ? "-" : byteText(static_cast<std::int64_t>(std::llround(bytes)));
}

std::string layersText(const StagePlan& stage) {
    std::string text;
    for (const parallel::LayerRange& part : stage.parts) {
        text += text.empty() ? "" : ", ";
        text += part.hasEmbedding ? "embedding, " : "";
        text += part.count == 1 ? std::to_string(part.first)
                                : std::to_string(part.first) + "–" + std::to_string(part.first + part.count - 1);
        text += part.hasHead ? ", head" : "";
    }
    return text;
}

/// "448–451", the ranks of one tensor group.
std::string groupText(const parallel::MeshShape& mesh, int data, int stage) {
    const int first = mesh.rank({.tensor = 0, .data = data, .pipeline = stage});
    const int tensor = mesh.size(parallel::Axis::Tensor);
    return tensor == 1 ? std::to_string(first) : std::to_string(first) + "–" + std::to_string(first + tensor - 1);
}

/// A line per stage, a column per data rank, in each cell the ranks of a tensor group; wide meshes leave out the middle.
void printMesh(std::ostream& out, const parallel::MeshShape& mesh, bool hasColour) {
    const int data = mesh.size(parallel::Axis::Data);
    std::vector<int> columns;
    for (int at = 0; at < data; ++at)
        if (data <= 6 || at < 3 || at >= data - 1)
            columns.push_back(at);
    std::vector<std::string> head{"STAGE"};
    for (std::size_t i = 0; i < columns.size(); ++i)
        head.push_back((i > 0 && columns[i] != columns[i - 1] + 1 ? "… DATA " : "DATA ") + std::to_string(columns[i]));
    Table table(std::move(head));
    for (int stage = 0; stage < mesh.size(parallel::Axis::Pipeline); ++stage) {
        std::vector<Table::Cell> row{std::to_string(stage)};
        for (std::size_t i = 0; i < columns.size(); ++i)
            row.emplace_back((i > 0 && columns[i] != columns[i - 1] + 1 ? "… " : "") + groupText(mesh, columns[i], stage));
        table.add(std::move(row));
    }
    out << "MESH  " << mesh.text() << " = " << withSeparators(mesh.ranks()) << (mesh.ranks() == 1 ? " rank" : " ranks")
        << "; numbered tensor innermost, a cell is one tensor group\n";
    table.print(out, hasColour);
}

void printMemory(std::ostream& out, const config::RunConfig& config, const Plan& plan, bool hasColour) {
    out << "\nMEMORY PER RANK  recompute = " << parallel::name(plan.recompute) << "\n";
    Table table({"STAGE", "LAYERS", "WEIGHTS", "PARAMETERS", "GRADIENTS", "OPTIMIZER", "ACTIVATIONS", "WORK", "MESSAGES", "CHECKPOINT COPY", "TOTAL"});
    for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
        const StagePlan& s = plan.stages[stage];
        table.add({std::to_string(stage),
                   layersText(s),
                   withSeparators(s.parameters.total()),
                   byteText(s.parameterBytes),
                   byteText(s.gradientBytes),
                   byteText(s.optimizerBytes),
                   byteText(s.activationBytes[static_cast<std::size_t>(plan.recompute)]),
                   byteText(s.workBytes),
                   byteText(s.messageBytes),
                   byteText(s.checkpointBytes),
                   {byteText(s.totalBytes(plan.recompute)), Colour::Bold}});
    }
    table.print(out, hasColour);
    out << "  GRADIENTS: sums in fp32; OPTIMIZER: Adam's moments" << (config.device == "cuda" ? " and master weights" : "")
        << " in fp32, a data rank's share; WORK: buffers of a step\n"
        << "  CHECKPOINT COPY: what is written behind the training's back"
        << (config.device == "cuda" ? "; in the host's memory, not in the total" : "") << "\n";
    const StagePlan& first = plan.stages.front();
    out << "  stage 0 holds " << first.peakActivations << (first.peakActivations == 1 ? " micro-batch" : " micro-batches")
        << " (per chunk) in flight; activations with recompute";
    for (const parallel::Recompute mode : parallel::kRecomputeModes)
        out << (mode == parallel::Recompute::None ? " " : ", ") << parallel::name(mode)
            << " " << byteText(first.activationBytes[static_cast<std::size_t>(mode)]);
    out << "\n";
}

void printTraffic(std::ostream& out, const Plan& plan, bool hasColour) {
    out << "\nBYTES THAT A RANK SENDS PER STEP  (ring collectives)\n";
    Table table({"STAGE", "TENSOR", "DATA", "PIPELINE", "IDLE"});
    for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
        const parallel::Traffic& t = plan.stages[stage].traffic;
        table.add({std::to_string(stage), bytesOf(t.tensor), bytesOf(t.data), bytesOf(t.pipeline),
                   percentText(plan.stages[stage].idleShare)});
    }
    table.print(out, hasColour);
}

void printSchedule(std::ostream& out, const config::RunConfig& config, const Plan& plan, bool hasColour) {
    out << "\nSCHEDULE  " << config.parallel.schedule << ", " << plan.microBatches
        << (plan.microBatches == 1 ? " micro-batch of " : " micro-batches of ") << plan.microSequences
        << (plan.microSequences == 1 ? " sequence" : " sequences");
    if (config.parallel.pipeline == 1)
        out << "; one stage: no bubble\n";
    else
        out << "; bubble " << percentText(plan.bubbleShare) << " (" << percentText(plan.evenBubbleShare) << " if all parts cost alike)\n";
    if (plan.options.empty())
        return;
    Table table({"ON THIS MESH", "BUBBLE", "IN FLIGHT"});
    for (const parallel::ScheduleOption& o : plan.options)
        table.add({std::string(parallel::name(o.kind)) + (o.chunks > 1 ? ", " + std::to_string(o.chunks) + " chunks" : "") +
                       (o.kind == parallel::ScheduleKind::ZeroBubble ? " (on paper alone)" : ""),
                   percentText(o.bubbleShare), std::to_string(o.peakActivations)});
    table.print(out, hasColour);
}

void printSpeed(std::ostream& out, const config::RunConfig& config, const Plan& plan) {
    out << "\nWORK  " << siText(plan.flopsPerToken, "FLOP")
        << " per token (6 per weight but the embedding's; attention causal, half the square)";
    if (plan.hardwareFlopsPerToken > plan.flopsPerToken)
        out << ", " << siText(plan.hardwareFlopsPerToken, "FLOP") << " with what is recomputed";
    out << "; " << withSeparators(plan.tokensPerStep) << " tokens, "
        << siText(plan.flopsPerToken * static_cast<double>(plan.tokensPerStep), "FLOP") << " per step\n";
    if (plan.flopsPerRank <= 0) {
        const bool isCpu = config.device == "cpu";
        out << "  add --flops " << (isCpu ? "50G" : "160T") << ", or what one " << (isCpu ? "CPU" : "GPU")
            << " rank reaches while it computes, and the plan tells tokens/s\n";
        return;
    }
    const double tokens = static_cast<double>(plan.tokensPerStep) * static_cast<double>(config.steps);
    const double perRank = plan.flopsPerToken * plan.tokensPerSecond / config.parallel.ranks();
    out << "  at " << siText(plan.flopsPerRank, "FLOP/s") << " per rank: " << withSeparators(std::llround(plan.tokensPerSecond))
        << " tokens/s (" << siText(plan.tokensPerSecond / config.parallel.ranks(), "tokens/s") << " and "
        << siText(perRank, "FLOP/s") << " per rank over the whole step), " << shortNumber(plan.stepSeconds, 3) << " s per step, "
        << siText(tokens, "tokens") << " in " << shortNumber(tokens / plan.tokensPerSecond / 86'400, 3)
        << " days; bubble counted, messages not\n";
}

Json stageJson(const Plan& plan, const StagePlan& stage) {
    Json layers = Json::array();
    for (const parallel::LayerRange& part : stage.parts)
        layers.push_back(
            {{"first", part.first}, {"count", part.count}, {"embedding", part.hasEmbedding}, {"head", part.hasHead}});
    Json activations;
    for (const parallel::Recompute mode : parallel::kRecomputeModes)
        activations[std::string(parallel::name(mode))] = stage.activationBytes[static_cast<std::size_t>(mode)];
    return {
        {"layers", layers},
        {"parameters", stage.parameters.total()},
        {"replicated_parameters", stage.parameters.replicated},
        {"parameter_bytes", stage.parameterBytes},
        {"gradient_bytes", stage.gradientBytes},
        {"optimizer_bytes", stage.optimizerBytes},
        {"activation_bytes", activations},
        {"work_bytes", stage.workBytes},
        {"thread_bytes", stage.threadBytes},
        {"message_bytes", stage.messageBytes},
        {"checkpoint_bytes", stage.checkpointBytes},
        {"total_bytes", stage.totalBytes(plan.recompute)},
        {"peak_activations", stage.peakActivations},
        {"idle_share", stage.idleShare},
        {"bytes_sent", {{"tensor", stage.traffic.tensor}, {"data", stage.traffic.data}, {"pipeline", stage.traffic.pipeline}}}};
}

Json planJson(const config::RunConfig& config, const Plan& plan) {
    Json stages = Json::array(), options = Json::array();
    for (const StagePlan& stage : plan.stages)
        stages.push_back(stageJson(plan, stage));
    for (const parallel::ScheduleOption& o : plan.options)
        options.push_back({{"schedule", parallel::name(o.kind)},
                           {"chunks", o.chunks},
                           {"bubble_share", o.bubbleShare},
                           {"in_flight", o.peakActivations}});
    Json json = {
        {"run", config.name},
        {"mesh", {{"tensor", config.parallel.tensor}, {"pipeline", config.parallel.pipeline}, {"data", config.parallel.data}}},
        {"ranks", config.parallel.ranks()},
        {"parameters", plan.parameters},
        {"tokens_per_step", plan.tokensPerStep},
        {"micro_batches", plan.microBatches},
        {"micro_sequences", plan.microSequences},
        {"schedule", config.parallel.schedule},
        {"chunks", config.parallel.chunks},
        {"sequence", config.parallel.sequence},
        {"recompute", parallel::name(plan.recompute)},
        {"bubble_share", plan.bubbleShare},
        {"even_bubble_share", plan.evenBubbleShare},
        {"flops_per_token", plan.flopsPerToken},
        {"flops_attention", "causal"},
        {"hardware_flops_per_token", plan.hardwareFlopsPerToken},
        {"stages", stages},
        {"schedules", options}};
    if (plan.flopsPerRank > 0) {
        json["flops_per_rank"] = plan.flopsPerRank;
        json["step_seconds"] = plan.stepSeconds;
        json["tokens_per_s"] = plan.tokensPerSecond;
    }
    return json;
}

} // namespace

int planRun(const Call& call, const PlanArguments& arguments) {
    const auto config = config::loadRunConfig(arguments.config);
    if (!config)
        return complain(call, config.error());
    const Result<double> flops = arguments.flops.empty() ? Result<double>(0.0) : flopsOf(arguments.flops);
    if (!flops)
        return complain(call, flops.error());
    const auto mesh = parallel::MeshShape::make(config->parallel, config->parallel.ranks());
    const auto plan = parallel::makePlan(*config, *flops);
    if (!mesh || !plan)
        return complain(call, mesh ? plan.error() : mesh.error());
    std::ostream& out = call.terminal.out;
    if (call.common.json) {
        out << planJson(*config, *plan).dump(2) << "\n";
        return kOk;
    }
    out << config->name << ": " << withSeparators(plan->parameters) << " parameters; " << config->model.layers
        << " layers, hidden " << config->model.hiddenSize << ", vocabulary " << withSeparators(config->model.vocabSize)
        << ", context " << withSeparators(config->model.contextLength) << "; device " << config->device << "\n\n";
    printMesh(out, *mesh, call.terminal.hasColour);
    printMemory(out, *config, *plan, call.terminal.hasColour);
    printTraffic(out, *plan, call.terminal.hasColour);
    printSchedule(out, *config, *plan, call.terminal.hasColour);
    printSpeed(out, *config, *plan);
    return kOk;
}

} // namespace telehelm::ctl
