// SPDX-License-Identifier: Apache-2.0
// Where an imported run came from: told by its first event, which is stored together with the run.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "telehelm/ipc/control_api.h"
#include "telehelm/ipc/types.h"

namespace telehelm::daemon {

/// The event that marks a run as imported, and back; the event has no key yet.
[[nodiscard]] ipc::Event importEvent(const ipc::RunOrigin& origin, const std::string& reason);
[[nodiscard]] std::optional<ipc::RunOrigin> originOf(const ipc::Event& event); // nothing: any other event

/// In `checkpoints` in the folder, or beside it where it is an attempt's; empty: there is none.
[[nodiscard]] std::string newestCheckpointBeside(const std::filesystem::path& folder);

/// What telehelm-rank names a checkpoint's folder: a<attempt>-step-<step>.
struct CheckpointName {
    std::uint32_t attempt = 0;
    std::int64_t step = 0;
    auto operator<=>(const CheckpointName&) const = default;
};
[[nodiscard]] std::optional<CheckpointName> checkpointNameOf(const std::filesystem::path& path);

} // namespace telehelm::daemon
