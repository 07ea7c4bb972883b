// SPDX-License-Identifier: Apache-2.0
// The words of Telehelm as plain values (see README, "Words"). Every link carries these; nobody but ipc/src sees
// protobuf. Units stand in the names; times are microseconds since 1970-01-01 UTC.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace telehelm::ipc {

/// Of control and live stream. Rises when a peer of the previous number could misread us; that one is still served (README.md, "Versions").
inline constexpr std::uint32_t kProtocolVersion = 2;
inline constexpr std::uint32_t kOldestProtocolVersion = 1;
/// The number both speak, which is the lower one; 0: none.
[[nodiscard]] constexpr std::uint32_t commonProtocol(std::uint32_t peers) {
    return peers < kOldestProtocolVersion ? 0 : peers < kProtocolVersion ? peers : kProtocolVersion;
}
/// Of the trainer link, which counts by itself: trainers are written by others.
inline constexpr std::uint32_t kLinkVersion = 1;

/// One launch of a run: attempts of a run count from 1. Text form "run/attempt".
struct AttemptKey {
    std::string run;           // unique in a daemon: the config's name, with "-2", "-3", … where it is taken
    std::uint32_t attempt = 0; // 0: the run's newest lineage, where a query allows it
    auto operator<=>(const AttemptKey&) const = default;
};

/// Share per domain; the shares of a valid mixture are ≥ 0 and add up to 1 (± 1e-6).
using Mixture = std::map<std::string, double>;

// ---------------------------------------------------------------- points

/// One measured value. NaN and ±Inf are values, never dropped.
struct Point {
    std::int64_t step = 0;
    std::int64_t tokens = 0; // trained so far, this step included
    std::int64_t wallUs = 0;
    double value = 0;
    bool operator==(const Point&) const = default;
};

/// Consecutive points of one series, in the order in which they were emitted.
struct SeriesBlock {
    std::string name; // "train/loss", "bpb/WebText", "rank/3/step_ms", …
    std::vector<Point> points;
    bool operator==(const SeriesBlock&) const = default;
};

/// Names that several layers must spell alike.
namespace series {
inline constexpr const char* kTrainLoss = "train/loss";           // nats per token
inline constexpr const char* kGradNorm = "train/grad_norm";       // before clipping
inline constexpr const char* kLearningRate = "optim/lr";          // vector-like weights
inline constexpr const char* kMatrixLearningRate = "optim/matrix_lr";
inline constexpr const char* kTokensPerS = "perf/tokens_per_s";
inline constexpr const char* kMfu = "perf/mfu";                   // 0..1 of the best measured peak, which the events tell
inline constexpr const char* kStepMs = "perf/step_ms";
inline constexpr const char* kValidLoss = "valid/loss";           // mixture-weighted; per domain "valid/loss/<domain>"
inline constexpr const char* kBpb = "bpb";                        // mixture-weighted; per domain "bpb/<domain>"
inline constexpr const char* kSkippedSteps = "train/skipped_steps";
// "mixture/<domain>/{target,actual}" (0..1), "rank/<r>/step_ms" (own work), "rank/<r>/memory_bytes", … (backend/train/README.md)
} // namespace series

// ---------------------------------------------------------------- events and commands

enum class EventKind : std::uint8_t {
    AttemptStarted = 1,
    AttemptEnded,      // text says why; see AttemptState for the verdict
    CheckpointSaved,
    CheckpointDamaged,
    MixtureChanged,
    CommandUpdated,
    RankFailed,        // text: rank, signal or exit code, last log lines
    HeartbeatLost,
    StepSkipped,       // loss or gradient norm not finite
    LinkLost,          // trainer link gone / back
    LinkRestored,
    WatchVerdict,
    Note,
};

enum class Severity : std::uint8_t { Info = 1, Benign, Warning, Critical };

/// Something that happened to a run, worth a flag or a row. `id` is the daemon's (0 until it has stored the event).
struct Event {
    std::int64_t id = 0;
    AttemptKey key;
    EventKind kind = EventKind::Note;
    Severity severity = Severity::Info;
    std::int64_t step = -1; // -1: not tied to a step
    std::int64_t tokens = -1;
    std::int64_t wallUs = 0;
    std::string text;                         // one plain sentence
    std::map<std::string, std::string> facts; // machine-readable details, e.g. "path", "bytes", "command"
    bool operator==(const Event&) const = default;
};

enum class CommandKind : std::uint8_t { Pause = 1, Resume, Stop, Checkpoint, SetMixture, SetLrScale, Restart };
enum class CommandState : std::uint8_t { Requested = 1, Accepted, Applied, Rejected, Failed };

/// What a restart changes against the attempt that wrote the checkpoint. Unset = keep.
struct RestartOptions {
    std::uint32_t checkpointAttempt = 0; // 0: newest checkpoint of the run
    std::int64_t checkpointStep = -1;
    std::optional<double> lrScale;
    std::optional<double> clipGrad;
    std::optional<std::uint64_t> dataSeed;
    std::int64_t skipBatches = 0;
    std::optional<Mixture> mixture;
    bool operator==(const RestartOptions&) const = default;
};

/// One order of an operator and all that became of it: a row of the audit log.
struct Command {
    std::string id;  // UUID, chosen by the client; sending the same one again is harmless
    AttemptKey key;  // attempt 0: the newest
    CommandKind kind = CommandKind::Pause;
    std::string author;
    std::string host;
    std::string reason; // required (≥ 12 characters) for Stop, Restart, SetMixture

    // Arguments; which of them count depends on the kind.
    std::int64_t atStep = -1;          // SetMixture, Pause: first step under the new rule; -1 = the next
    bool saveCheckpoint = true;        // Stop
    double lrScale = 1.0;              // SetLrScale
    Mixture mixture;                   // SetMixture
    std::optional<RestartOptions> restart;

    CommandState state = CommandState::Requested;
    std::string outcome;               // plain sentence; for Rejected: why, and what would be accepted
    std::int64_t appliedStep = -1;
    std::uint32_t newAttempt = 0;      // Restart: the attempt it made
    std::string diff;                  // what it changed, as unified TOML lines ("-x", "+y"), may be empty
    std::int64_t requestedUs = 0;
    std::int64_t acceptedUs = 0;
    std::int64_t endedUs = 0;
    bool operator==(const Command&) const = default;
};

/// Trainer → daemon: what became of a command.
struct CommandOutcome {
    std::string id;
    CommandState state = CommandState::Applied; // Applied | Rejected | Failed
    std::int64_t step = -1;
    std::string text;
    bool operator==(const CommandOutcome&) const = default;
};

/// What rank 0 sends up: the unit of acknowledgement and of exactly-once storage.
struct TelemetryBatch {
    AttemptKey key;
    std::uint64_t sequence = 0; // counts from 1 per attempt, without gaps
    std::int64_t emittedUs = 0; // when the oldest point in it was emitted
    std::vector<SeriesBlock> series;
    std::vector<Event> events;
    std::vector<CommandOutcome> outcomes;
    bool operator==(const TelemetryBatch&) const = default;
};

[[nodiscard]] std::size_t pointCount(const TelemetryBatch& batch);

// ---------------------------------------------------------------- runs

enum class AttemptState : std::uint8_t {
    Starting = 1,
    Running,
    Pausing,
    Paused,
    Stopping,
    Finished, // reached its last step
    Stopped,  // by an operator or SIGTERM
    Failed,   // a rank died, or an error
    Lost,     // no heartbeat, process not found
    Superseded, // ended because a restart replaced it
};
[[nodiscard]] bool isLive(AttemptState state); // Starting … Stopping

struct DomainInfo {
    std::string name;
    std::string languages;            // "en, zh"
    std::int64_t trainTokens = 0;     // available, one epoch
    std::int64_t tokensSeen = 0;
    double target = 0;                // share now in force
};

struct AttemptInfo {
    AttemptKey key;
    std::uint32_t parent = 0;   // 0: started from step 0
    std::int64_t forkStep = 0;  // first step after the checkpoint it came from = forkStep + 1
    AttemptState state = AttemptState::Starting;
    std::string stateText;      // why it ended; last log lines of a failure
    std::int64_t startedUs = 0;
    std::int64_t endedUs = 0;
    std::int64_t step = 0;      // newest finished step
    std::int64_t tokens = 0;
    std::int64_t lastHeardUs = 0;
    std::uint64_t pointsEmitted = 0; // as the trainer counts them
    std::uint64_t pointsStored = 0;
    std::uint64_t lastSequence = 0;
    std::string configToml;     // exactly what it was started with
    std::string runDir;
};

/// Where a run came from that was not started here but imported from another machine's folder.
struct RunOrigin {
    std::string folder;    // that it was imported from
    std::string ownName;   // its name there
    std::string trainedOn; // host, as its trainer told; empty: it did not
    std::int64_t importedUs = 0;
    std::string author, host; // of the import
    bool operator==(const RunOrigin&) const = default;
};

/// What a run is, for the bridge strip and the Runs dock; the newest attempt's facts.
struct RunInfo {
    std::string run;
    std::string description;
    std::int64_t createdUs = 0;
    std::vector<AttemptInfo> attempts; // oldest first
    std::int64_t parameters = 0;
    std::int32_t tensorParallel = 1, pipelineParallel = 1, dataParallel = 1;
    std::string device; // "CPU, 2 ranks"
    std::int64_t totalSteps = 0;
    std::int64_t tokensPerStep = 0;
    std::int64_t totalTokens = 0;
    double learningRate = 0, minimumLearningRate = 0, clipGrad = 0;
    std::string lrSchedule; // "cosine"
    std::int64_t validationEvery = 0, checkpointEvery = 0; // steps
    std::vector<DomainInfo> domains;
    std::optional<RunOrigin> origin = std::nullopt; // set: imported, no trainer of it is here

    [[nodiscard]] const AttemptInfo* newest() const { return attempts.empty() ? nullptr : &attempts.back(); }
};

/// What went when a run was deleted, by whom and why: the daemon keeps it when nothing else is left of the run.
struct DeletedRun {
    std::string id;  // UUID of the deletion
    std::string run; // the name, which may belong to another run by now
    std::int64_t deletedUs = 0;
    std::string author, host, reason;
    std::uint32_t attempts = 0;
    std::uint64_t points = 0;      // that were stored
    std::uint32_t checkpoints = 0; // that went; 0 where they were kept
    std::int64_t checkpointBytes = 0;
    std::string keptIn;            // folder of the checkpoints that were kept; empty: none were
    bool operator==(const DeletedRun&) const = default;
};

struct CheckpointInfo {
    AttemptKey key;
    std::int64_t step = 0;
    std::int64_t tokens = 0;
    std::int64_t savedUs = 0;
    std::int64_t bytes = 0;
    std::string path;
    bool verified = false; // checksums matched when last looked at
    std::string damage;    // what is wrong with it, empty when fine
    double trainLoss = 0, gradNorm = 0;
};

// ---------------------------------------------------------------- history

enum class Axis : std::uint8_t { Step = 1, Tokens, WallTime };

/// Several raw points as one: nothing in it is sampled, so no spike is lost. count 1 = a raw point.
struct Bucket {
    std::int64_t firstStep = 0, lastStep = 0;
    std::int64_t firstTokens = 0, lastTokens = 0;
    std::int64_t firstWallUs = 0, lastWallUs = 0;
    double first = 0, last = 0;   // may be NaN or ±Inf
    double min = 0, max = 0;      // over the finite ones; +Inf / −Inf when there is none
    double sum = 0;               // of the finite ones
    std::uint64_t count = 0;
    std::uint64_t nonFinite = 0;
    double smoothed = 0;          // debiased EMA after the last point; NaN until there is a finite point
    bool operator==(const Bucket&) const = default;
};

/// To go on with the EMA on live points: last = last·w + (1−w)·y; shown = last ÷ (1 − wⁿ).
struct EmaState {
    double last = 0;
    std::uint64_t n = 0;
    bool operator==(const EmaState&) const = default;
};

struct SeriesQuery {
    AttemptKey key;                  // attempt 0: the effective curve (newest lineage)
    std::vector<std::string> names;  // exact names or globs ("bpb/*")
    Axis axis = Axis::Step;
    std::int64_t from = 0;           // on the axis, inclusive
    std::int64_t to = INT64_MAX;     // inclusive
    std::uint32_t maxBuckets = 2000; // per series; 0 = raw points
    double smoothing = 0;            // EMA weight w in [0, 1)
    bool includeSuperseded = false;  // also the stretches that a restart discarded
    std::vector<AttemptKey> also;    // further runs or attempts, answered in the same way
    std::uint32_t firstBuckets = 0;  // > 0: a coarse answer with about so many buckets comes first, then ever finer ones
};

/// Points that an answer lacks because what holds them cannot be read; the rest of the answer is whole.
struct MissingPoints {
    std::uint64_t points = 0;
    std::int64_t firstStep = 0, lastStep = 0; // bounds of what is missing; first > last: not known
    std::string what;                         // which part of the store is damaged, and how
    bool operator==(const MissingPoints&) const = default;
};

/// A stretch of one attempt's series in an answer.
struct SeriesSegment {
    AttemptKey key;
    std::string name;
    bool superseded = false;
    std::uint32_t level = 0; // 0: raw points; k: more than 16^(k-1), at most 16^k points a bucket
    std::vector<Bucket> buckets;
    EmaState ema;            // after the last bucket
    std::uint32_t pass = 0;  // 0, 1, …: each pass answers the whole query anew and finer, and replaces the one before
    bool isLastPass = true;  // in earlier ones `smoothed` and `ema` are left out (NaN, n = 0) where they are not known yet
    std::vector<MissingPoints> missing;
};

struct SeriesInfo {
    AttemptKey key;
    std::string name;
    std::uint64_t points = 0;
    std::int64_t firstStep = 0, lastStep = 0;
    double latest = 0;
};

/// Which series of an attempt to list, sorted by name.
struct SeriesListQuery {
    AttemptKey key;          // attempt 0: the newest
    std::string glob;        // `*` and `?` over the whole name; empty: all
    std::string after;       // only names behind this one: the `next` of the page before
    std::uint32_t limit = 0; // per page; 0: all that match in one page
};

struct SeriesPage {
    std::vector<SeriesInfo> series;
    std::uint64_t matching = 0; // how many there are behind `after`, this page included
    std::string next;           // empty: this was the last page
};

/// One attempt's place in its run, and what of it a later fork threw away.
struct LineageBranch {
    AttemptKey key;
    std::uint32_t parent = 0;
    std::int64_t forkStep = 0;   // it goes on after this step of its parent
    bool isEffective = false;    // the newest lineage goes through it
    std::int64_t effectiveTo = 0; // its last step there; meaningless when it is not effective
    std::uint32_t cutBy = 0;     // the attempt that forked from it and took over; 0: none
    // Abandoned: the steps behind effectiveTo, or all of a branch that is not effective.
    std::int64_t abandonedFrom = 0, abandonedTo = -1; // steps, inclusive; from > to: nothing was
    std::int64_t lostSteps = 0, lostTokens = 0, lostWallUs = 0; // what the abandoned stretch had cost
};

struct LineageInfo {
    std::string run;
    std::vector<LineageBranch> branches; // oldest first
    std::int64_t lostSteps = 0, lostTokens = 0, lostWallUs = 0; // all branches together
};

// ---------------------------------------------------------------- news

/// One frame of the live stream: what a daemon has just stored. Per daemon start (`epoch`), subscription and run, `news`
/// rises by 1: a hole means that something was missed and must be fetched from the truth (news_ledger.h tells).
struct News {
    std::string epoch;
    std::uint64_t news = 0;
    std::int64_t publishedUs = 0;
    TelemetryBatch batch;               // the subscription's series alone
    std::optional<AttemptInfo> attempt; // when its state changed (configToml left out)
    std::optional<Command> command;     // when its state changed
    std::uint64_t pointsBefore = 0;     // on this subscription and run before this message, since number `countedAfter`
    std::uint64_t countedAfter = 0;
    bool beat = false;                  // no news: tells the newest number to those who missed the last of them
};

struct HelloInfo {
    std::uint32_t protocol = 0;
    std::string program; // "telehelmd 0.1.0"
    std::string epoch;   // changes at each start of the daemon
    std::string stateDir;
    std::int32_t pid = 0;
    std::string liveEndpoint; // "tcp://127.0.0.1:7444"
    std::string linkEndpoint; // for trainers
    std::int64_t startedUs = 0;
    std::uint64_t pointsStored = 0;
};

[[nodiscard]] const char* name(CommandKind kind);
[[nodiscard]] const char* name(CommandState state);
[[nodiscard]] const char* name(AttemptState state);
[[nodiscard]] const char* name(EventKind kind);
[[nodiscard]] const char* name(Severity severity);
[[nodiscard]] std::int64_t nowUs();
[[nodiscard]] std::string newUuid();

} // namespace telehelm::ipc
