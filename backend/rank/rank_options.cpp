// SPDX-License-Identifier: Apache-2.0
#include "rank/rank_options.h"

#include <iostream>
#include <sstream>

#include <CLI/CLI.hpp>

namespace telehelm::rank {

ParsedOptions parseOptions(int argc, char** argv, bool speaks) {
    RankOptions options;
    CLI::App app(
        "telehelm-rank: one rank of a Telehelm training run.\n\n"
        "The daemon starts it (telehelmctl start CONFIG); by hand it trains just as well:\n"
        "  mpirun -np 2 telehelm-rank --config configs/demo_cpu.toml --steps 20\n"
        "The number of ranks is [parallel] tensor x data x pipeline of the config; one alone needs no mpirun. Without --link-file points and events\n"
        "are kept in the run folder's spool; bring the folder to a machine with a daemon and \"telehelmctl import FOLDER\" takes them over. SIGTERM saves a checkpoint and ends with 0.\n\n"
        "Weights go to Hugging Face's format and come from it in one process, whatever the config's mesh:\n"
        "  telehelm-rank --config run.toml --export-hf OUT --checkpoint CHECKPOINTS/a1-step-00000100\n"
        "  telehelm-rank --config run.toml --import-hf IN --checkpoint-dir CHECKPOINTS\n",
        "telehelm-rank");
    app.set_version_flag("--version", "telehelm-rank 0.1.0");
    app.add_option("--config", options.config, "the run's TOML file")->required();
    app.add_option("--run", options.run, "the run's name (default: the config's name)");
    app.add_option("--attempt", options.attempt, "number of this launch of the run, from 1")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--run-dir", options.runDir, "this attempt's folder (default: $XDG_STATE_HOME/telehelm/runs/RUN/attempt-N)");
    app.add_option("--checkpoint-dir", options.checkpointDir,
                   "the run's checkpoints (default: checkpoints beside the attempt's folder)");
    auto* link =
        app.add_option("--link-file", options.linkFile, "file in which the daemon writes the endpoint of its trainer link");
    app.add_flag("--offline", options.offline, "speak to no daemon: keep everything in the spool")->excludes(link);
    app.add_option("--devices", options.devices, "CUDA devices of the ranks on this machine, as in 0,1 (not used by cpu)");
    app.add_option("--threads", options.threads, "threads of one rank (default: the cores divided among the ranks here)")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--steps", options.steps, "end after this step; the schedule stays the config's")->check(CLI::PositiveNumber);
    app.add_option("--log-level", options.logLevel, "how much to print: debug, info, warn, error")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
        ->capture_default_str();
    auto* out = app.add_option("--export-hf", options.exportHf,
                               "write a checkpoint as a Hugging Face Llama (config.json, *.safetensors) to this folder and end");
    app.add_option("--checkpoint", options.checkpoint,
                   "which checkpoint to export (default: the newest sound one in --checkpoint-dir)")
        ->needs(out);
    app.add_option("--import-hf", options.importHf,
                   "make a checkpoint at step 0 in --checkpoint-dir from such a folder, with fresh optimizer state, and end")
        ->excludes(out);
    app.footer("Exit codes: 0 finished or stopped, 2 wrong use or config, 3 corpus missing or damaged, 4 checkpoint trouble, 1 "
               "anything else.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::ostringstream out;
        std::ostringstream err;
        const bool wrong = app.exit(error, out, err) != 0;
        if (speaks) {
            std::cout << out.str();
            if (wrong) {
                std::cerr << "telehelm-rank: " << error.what() << " (see telehelm-rank --help)\n";
            }
        }
        return {.options = std::nullopt, .exitCode = wrong ? 2 : 0};
    }
    return {.options = std::move(options), .exitCode = 0};
}

} // namespace telehelm::rank
