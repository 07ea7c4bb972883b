// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/command_line.h"

#include <iostream>

#include <CLI/CLI.hpp>
#include <QRegularExpression>

#include "session/state_paths.h"

namespace telehelm::app {
namespace {

constexpr const char* kAbout =
    "Telehelm watches and steers language-model pre-training runs.\n\n"
    "Without --server it shares the telehelmd of this computer, or starts one, which goes on when the window is closed.\n"
    "  telehelm                              the daemon of this computer\n"
    "  telehelm --demo                       a real training run on this computer's processor, live\n"
    "  telehelm --server 127.0.0.1:7443 --run demo\n"
    "  telehelm --demo --platform offscreen --screenshot out.png --after 60s\n"
    "                                        a picture of the window, without a display";

/// "60s", "500ms", "2m" → milliseconds; nothing when it is no length of time.
std::optional<int> milliseconds(const std::string& text) {
    static const QRegularExpression form(QStringLiteral(R"(^(\d+)(ms|s|m|h)?$)"));
    const auto match = form.match(QString::fromStdString(text));
    if (!match.hasMatch())
        return std::nullopt;
    const auto unit = match.captured(2);
    const qint64 factor = unit == QStringLiteral("ms") ? 1 : unit == QStringLiteral("m") ? 60'000 : unit == QStringLiteral("h") ? 3'600'000 : 1000;
    const qint64 value = match.captured(1).toLongLong() * factor;
    return value > 0 && value < 86'400'000 ? std::optional(static_cast<int>(value)) : std::nullopt;
}

std::string checkTime(const std::string& text) {
    return milliseconds(text) ? std::string() : "“" + text + "” is not a length of time below a day: say 500ms, 60s, 5m or 1h";
}

std::string checkSize(const std::string& text) {
    static const QRegularExpression form(QStringLiteral(R"(^\d{3,5}x\d{3,5}$)"));
    return form.match(QString::fromStdString(text)).hasMatch() ? std::string() : "“" + text + "” is not a size: say 1600x1000";
}

std::string checkServer(const std::string& text) {
    const auto colon = text.rfind(':');
    const int port = colon == std::string::npos ? 0 : std::atoi(text.c_str() + colon + 1);
    return port > 0 && port < 65536 && colon > 0 ? std::string() : "“" + text + "” is not HOST:PORT: say 127.0.0.1:7443";
}

struct Raw {
    std::string server, run, stateDir, config, platform, screenshot, theme, page, size, after, quitAfter;
};

void addOptions(CLI::App& app, Raw& raw, CommandLine& line) {
    app.add_option("--server", raw.server, "daemon to connect to, HOST:PORT")->check(checkServer);
    app.add_option("--run", raw.run, "run to show");
    app.add_option("--state-dir", raw.stateDir, "state folder of this computer's daemon (default $XDG_STATE_HOME/telehelm)");
    app.add_flag("--demo", line.demo, "prepare the demo's corpus, start its run or join it, show it");
    app.add_option("--config", raw.config, "with --demo: another config than configs/demo_cpu.toml")->check(CLI::ExistingFile);
    app.add_option("--ranks", line.ranks, "with --demo: how many ranks")->check(CLI::Range(1, 64));
    app.add_option("--theme", raw.theme, "dark, light or system (default: as in the settings)")->check(CLI::IsMember({"dark", "light", "system"}));
    app.add_option("--page", raw.page, "page to show: live, mixture, audit or start")->check(CLI::IsMember({"live", "mixture", "audit", "start"}));
    app.add_option("--size", raw.size, "size of the window, WIDTHxHEIGHT (default 1600x1000)")->check(checkSize);
    app.add_option("--screenshot", raw.screenshot, "save a picture of the window (PNG); without a display the program ends then");
    app.add_option("--after", raw.after, "when to take it, after the start (default 3s)")->check(checkTime);
    app.add_flag("--quit", line.quitAfterScreenshot, "end after the screenshot");
    app.add_option("--quit-after", raw.quitAfter, "end after this time")->check(checkTime);
    app.add_flag("--stop-on-exit", line.stopOnExit, "at the end stop the daemon of this computer and its runs");
    app.add_option("--platform", raw.platform, "Qt platform: offscreen draws without a display");
    app.add_flag("--verbose", line.verbose, "say on stderr what the links do");
    app.set_version_flag("--version", std::string("telehelm ") + TELEHELM_VERSION);
}

CommandLine finished(CommandLine line, const Raw& raw) {
    line.server = QString::fromStdString(raw.server);
    line.run = QString::fromStdString(raw.run);
    line.stateDir = raw.stateDir.empty() ? defaultStateDir() : QString::fromStdString(raw.stateDir);
    line.config = QString::fromStdString(raw.config);
    line.platform = QString::fromStdString(raw.platform);
    line.screenshot = QString::fromStdString(raw.screenshot);
    if (!raw.theme.empty())
        line.theme = raw.theme == "dark" ? ThemeChoice::Dark : raw.theme == "light" ? ThemeChoice::Light : ThemeChoice::System;
    if (!raw.page.empty())
        line.page = raw.page == "live" ? Page::Live : raw.page == "mixture" ? Page::Mixture : raw.page == "audit" ? Page::Audit : Page::Start;
    if (const auto x = raw.size.find('x'); x != std::string::npos)
        line.size = {std::atoi(raw.size.c_str()), std::atoi(raw.size.c_str() + x + 1)};
    line.screenshotAfterMs = milliseconds(raw.after).value_or(line.screenshotAfterMs);
    line.quitAfterMs = milliseconds(raw.quitAfter).value_or(line.quitAfterMs);
    line.quitAfterScreenshot = line.quitAfterScreenshot || (line.platform == QStringLiteral("offscreen") && line.quitAfterMs < 0);
    return line;
}

} // namespace

CommandLineResult readCommandLine(int argc, char** argv) {
    CLI::App app(kAbout, "telehelm");
    Raw raw;
    CommandLine line;
    addOptions(app, raw, line);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) { // how CLI11 answers; --help and --version come this way, too
        const int code = app.exit(error);
        return {line, code == 0 ? 0 : 2};
    }
    if (!raw.server.empty() && line.stopOnExit) {
        std::cerr << "telehelm: --stop-on-exit is for the daemon of this computer; it does not go with --server\n";
        return {line, 2};
    }
    return {finished(std::move(line), raw), std::nullopt};
}

} // namespace telehelm::app
