// SPDX-License-Identifier: Apache-2.0
// Runs a schedule on paper: every action waits for what it needs, every stage for its own turn.
#include "parallel/schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace telehelm::parallel {
namespace {

using Lists = std::vector<std::vector<Action>>;

std::string where(int stage, std::size_t place, const Action& action) {
    return "stage " + std::to_string(stage) + ", action " + std::to_string(place) + " (" + text(action) + ")";
}

tl::unexpected<Error> unsound(const std::string& text) {
    return fail(ErrorCode::FailedPrecondition, text, "pipeline schedule");
}

/// Every forward and backward (and, where there are any, weight gradient) once, in an order that the stage itself can follow.
Result<void> checkOwnOrder(const std::vector<Action>& list, int stage, int microBatches, int chunks) {
    std::set<std::tuple<ActionKind, int, int>> done;
    bool splits = false;
    for (std::size_t place = 0; place < list.size(); ++place) {
        const Action& action = list[place];
        if (action.microBatch < 0 || action.microBatch >= microBatches || action.chunk < 0 || action.chunk >= chunks) {
            return unsound(where(stage, place, action) + ": there are " + std::to_string(microBatches) + " micro-batches and " +
                           std::to_string(chunks) + " chunks");
        }
        const auto has = [&](ActionKind kind) { return done.contains({kind, action.microBatch, action.chunk}); };
        if (action.kind == ActionKind::Backward && !has(ActionKind::Forward)) {
            return unsound(where(stage, place, action) + " comes before its forward");
        }
        if (action.kind == ActionKind::WeightGrad && !has(ActionKind::Backward)) {
            return unsound(where(stage, place, action) + " comes before its backward");
        }
        if (!done.emplace(action.kind, action.microBatch, action.chunk).second) {
            return unsound(where(stage, place, action) + " is there a second time");
        }
        splits = splits || action.kind == ActionKind::WeightGrad;
    }
    for (int microBatch = 0; microBatch < microBatches; ++microBatch) {
        for (int chunk = 0; chunk < chunks; ++chunk) {
            for (const ActionKind kind : {ActionKind::Forward, ActionKind::Backward, ActionKind::WeightGrad}) {
                if ((kind != ActionKind::WeightGrad || splits) && !done.contains({kind, microBatch, chunk})) {
                    return unsound("stage " + std::to_string(stage) + " never does the " + text({kind, microBatch, chunk}));
                }
            }
        }
    }
    return {};
}

/// Between two stages, messages of one tag must be received in the order in which they are sent.
Result<void> checkMessageOrder(const Lists& lists, int chunks) {
    const int stages = static_cast<int>(lists.size());
    std::map<std::tuple<int, int, int>, std::vector<int>> sent, received; // (from, to, tag) → micro-batches
    for (int stage = 0; stage < stages; ++stage) {
        for (const Action& action : lists[static_cast<std::size_t>(stage)]) {
            if (const auto peer = source(action, stages, stage, chunks); peer && peer->stage != stage) {
                received[{peer->stage, stage, messageTag(action)}].push_back(action.microBatch);
            }
            if (const auto peer = target(action, stages, stage, chunks); peer && peer->stage != stage) {
                sent[{stage, peer->stage, messageTag({action.kind, action.microBatch, peer->chunk})}].push_back(
                    action.microBatch);
            }
        }
    }
    for (const auto& [channel, order] : sent) {
        const std::vector<int>& taken = received[channel];
        const auto [out, in] = std::ranges::mismatch(order, taken);
        if (out != order.end() && in != taken.end()) {
            const auto& [from, to, tag] = channel;
            return unsound("stage " + std::to_string(from) + " sends micro-batch " + std::to_string(*out) + " to stage " +
                           std::to_string(to) + " (tag " + std::to_string(tag) + ") where that stage expects micro-batch " +
                           std::to_string(*in));
        }
    }
    return {};
}

/// The clockwork: a position in each list and the time at which each action ended.
class PaperRun {
public:
    /// `buffers`: for gradients, by stage; none: for all of them.
    PaperRun(const Lists& lists, int chunks, const ActionCosts& costs, Delivery delivery, std::vector<std::int64_t> buffers = {})
        : m_lists(lists), m_stages(static_cast<int>(lists.size())), m_chunks(chunks), m_costs(costs), m_delivery(delivery),
          m_buffers(std::move(buffers)), m_next(lists.size(), 0), m_clock(lists.size(), 0.0), m_sending(lists.size(), false),
          m_sentGradients(lists.size()), m_reports(lists.size()) {
        for (const auto& list : lists) {
            m_splits = m_splits || std::ranges::any_of(list, [](const Action& a) { return a.kind == ActionKind::WeightGrad; });
        }
    }

    Result<ScheduleReport> run() {
        for (bool moved = true; moved;) {
            moved = false;
            for (int stage = 0; stage < m_stages; ++stage) {
                while (advance(stage)) {
                    moved = true;
                }
            }
        }
        for (int stage = 0; stage < m_stages; ++stage) {
            if (!finished(stage)) {
                return deadlock();
            }
        }
        return report();
    }

private:
    using Key = std::tuple<ActionKind, int, int, int>; // kind, micro-batch, chunk, stage
    struct Message {
        double sent, taken;
    };

    const std::vector<Action>& list(int stage) const { return m_lists[static_cast<std::size_t>(stage)]; }
    std::size_t& next(int stage) { return m_next[static_cast<std::size_t>(stage)]; }
    bool finished(int stage) { return next(stage) == list(stage).size(); }

    double cost(const Action& action, int stage) const {
        const double whole = action.kind == ActionKind::Forward ? m_costs.forward : m_costs.backward;
        const double share = action.kind == ActionKind::Forward    ? 1.0
                             : !m_splits                           ? 1.0
                             : action.kind == ActionKind::Backward ? 1.0 - m_costs.weightGradShare
                                                                   : m_costs.weightGradShare;
        const auto part = static_cast<std::size_t>(action.chunk * m_stages + stage);
        return whole * share / m_chunks * (m_costs.parts.empty() ? 1.0 : m_costs.parts.at(part));
    }

    /// A rendezvous send is over when the receiver takes it: when its own turn at that action has come.
    bool sendTaken(int stage) {
        const Action& action = list(stage)[next(stage)];
        const auto peer = target(action, m_stages, stage, m_chunks);
        if (m_delivery == Delivery::Posted || !peer || peer->stage == stage) {
            return true;
        }
        const Action wanted{action.kind, action.microBatch, peer->chunk};
        if (m_ended.contains({wanted.kind, wanted.microBatch, wanted.chunk, peer->stage})) {
            return true;
        }
        const auto other = static_cast<std::size_t>(peer->stage);
        return !finished(peer->stage) && !m_sending[other] && list(peer->stage)[m_next[other]] == wanted;
    }

    [[nodiscard]] bool needsBuffer(const Action& action, int stage) const {
        return !m_buffers.empty() && action.kind == ActionKind::Backward && target(action, m_stages, stage, m_chunks);
    }

    /// The ring's next buffer, once the receiver has taken what it held before.
    bool takeBuffer(const Action& action, int stage) {
        const auto own = static_cast<std::size_t>(stage);
        std::vector<Key>& sent = m_sentGradients[own];
        const auto buffers = static_cast<std::size_t>(m_buffers[own]);
        if (sent.size() >= buffers) {
            const auto taken = buffers == 0 ? m_taken.end() : m_taken.find(sent[sent.size() - buffers]);
            if (taken == m_taken.end()) {
                return false;
            }
            m_clock[own] = std::max(m_clock[own], taken->second);
        }
        const Peer peer = *target(action, m_stages, stage, m_chunks);
        sent.emplace_back(action.kind, action.microBatch, peer.chunk, peer.stage);
        return true;
    }

    bool endSend(int stage) {
        const Action& action = list(stage)[next(stage)];
        if (needsBuffer(action, stage)) {
            if (!takeBuffer(action, stage)) {
                return false;
            }
            publish(action, stage);
        }
        if (!sendTaken(stage)) {
            return false;
        }
        m_sending[static_cast<std::size_t>(stage)] = false;
        ++next(stage);
        return true;
    }

    void publish(const Action& action, int stage) {
        m_ended[{action.kind, action.microBatch, action.chunk, stage}] = m_clock[static_cast<std::size_t>(stage)];
    }

    bool advance(int stage) {
        if (finished(stage)) {
            return false;
        }
        const auto own = static_cast<std::size_t>(stage);
        if (m_sending[own]) {
            return endSend(stage);
        }
        const Action& action = list(stage)[next(stage)];
        double start = m_clock[own];
        if (const auto peer = source(action, m_stages, stage, m_chunks)) {
            const auto input = m_ended.find({action.kind, action.microBatch, peer->chunk, peer->stage});
            if (input == m_ended.end()) {
                return false;
            }
            start = std::max(start, input->second);
            if (action.kind == ActionKind::Backward) {
                m_gradients[peer->stage].push_back({input->second, start});
                if (!m_buffers.empty()) {
                    m_taken[{action.kind, action.microBatch, action.chunk, stage}] = start;
                }
            }
        }
        m_clock[own] = start + cost(action, stage);
        m_reports[own].busy += cost(action, stage);
        if (!needsBuffer(action, stage)) {
            publish(action, stage);
        }
        m_sending[own] = true;
        return true;
    }

    tl::unexpected<Error> deadlock() {
        std::string waits;
        for (int stage = 0; stage < m_stages; ++stage) {
            if (finished(stage)) {
                continue;
            }
            const Action& action = list(stage)[next(stage)];
            const bool sending = m_sending[static_cast<std::size_t>(stage)];
            const auto peer = sending ? target(action, m_stages, stage, m_chunks) : source(action, m_stages, stage, m_chunks);
            waits += (waits.empty() ? "" : "; ") + where(stage, next(stage), action) + " waits " +
                     (sending ? "until stage " + std::to_string(peer->stage) +
                                    (m_buffers.empty() ? " takes what it sends" : " takes what fills its buffers")
                              : "for stage " + std::to_string(peer->stage));
        }
        return unsound("deadlock: " + waits);
    }

    void countActivations(int stage) {
        StageReport& report = m_reports[static_cast<std::size_t>(stage)];
        const ActionKind last = m_splits ? ActionKind::WeightGrad : ActionKind::Backward;
        std::int64_t held = 0;
        std::vector<std::int64_t> byChunk(static_cast<std::size_t>(m_chunks), 0);
        report.peakByChunk = byChunk;
        for (const Action& action : list(stage)) {
            const int change = action.kind == ActionKind::Forward ? 1 : action.kind == last ? -1 : 0;
            held += change;
            const auto chunk = static_cast<std::size_t>(action.chunk);
            byChunk[chunk] += change;
            report.peakActivations = std::max(report.peakActivations, held);
            report.peakByChunk[chunk] = std::max(report.peakByChunk[chunk], byChunk[chunk]);
        }
    }

    void countGradients(int stage) {
        StageReport& report = m_reports[static_cast<std::size_t>(stage)];
        report.sentGradients = std::ssize(m_gradients[stage]);
        std::vector<std::pair<double, int>> changes; // at the same time, what ends goes first
        for (const Message& message : m_gradients[stage]) {
            if (message.taken > message.sent) {
                changes.emplace_back(message.sent, 1);
                changes.emplace_back(message.taken, -1);
            }
        }
        std::ranges::sort(changes);
        std::int64_t now = 0;
        for (const auto& [time, change] : changes) {
            now += change;
            report.peakGradients = std::max(report.peakGradients, now);
        }
    }

    ScheduleReport report() {
        ScheduleReport whole;
        double busy = 0;
        for (int stage = 0; stage < m_stages; ++stage) {
            countActivations(stage);
            countGradients(stage);
            busy += m_reports[static_cast<std::size_t>(stage)].busy;
        }
        whole.length = std::ranges::max(m_clock);
        whole.bubbleShare = std::max(0.0, 1.0 - busy / (whole.length * m_stages));
        whole.stages = std::move(m_reports);
        return whole;
    }

    const Lists& m_lists;
    const int m_stages, m_chunks;
    const ActionCosts& m_costs;
    const Delivery m_delivery;
    const std::vector<std::int64_t> m_buffers;
    bool m_splits = false;
    std::vector<std::size_t> m_next;
    std::vector<double> m_clock;
    std::vector<bool> m_sending; // computed, not yet free to go on
    std::map<Key, double> m_ended;
    std::map<Key, double> m_taken;                   // gradients, where buffers are counted
    std::vector<std::vector<Key>> m_sentGradients;   // so too; by sender
    std::map<int, std::vector<Message>> m_gradients; // by sender
    std::vector<StageReport> m_reports;
};

} // namespace

namespace {

Result<void> checkLists(const Lists& stages, int microBatches, int chunks, const ActionCosts& costs) {
    if (stages.empty() || microBatches < 1 || chunks < 1) {
        return unsound("needs at least one stage, micro-batch and chunk");
    }
    if (!costs.parts.empty() && costs.parts.size() != stages.size() * static_cast<std::size_t>(chunks)) {
        return unsound(std::to_string(costs.parts.size()) + " costs were given for " + std::to_string(stages.size()) +
                       " stages × " + std::to_string(chunks) + " chunks");
    }
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
        if (auto sound = checkOwnOrder(stages[stage], static_cast<int>(stage), microBatches, chunks); !sound) {
            return tl::unexpected(sound.error());
        }
    }
    return checkMessageOrder(stages, chunks);
}

} // namespace

Result<ScheduleReport> checkSchedule(const Lists& stages, int microBatches, int chunks, const ActionCosts& costs,
                                     Delivery delivery) {
    return checkLists(stages, microBatches, chunks, costs).and_then([&] { return PaperRun(stages, chunks, costs, delivery).run(); });
}

Result<ScheduleReport> checkBuffers(const Lists& stages, int microBatches, int chunks, const std::vector<std::int64_t>& buffers,
                                    const ActionCosts& costs) {
    if (buffers.size() != stages.size()) {
        return unsound(std::to_string(buffers.size()) + " counts of buffers were given for " + std::to_string(stages.size()) + " stages");
    }
    return checkLists(stages, microBatches, chunks, costs).and_then([&] {
        return PaperRun(stages, chunks, costs, Delivery::Posted, buffers).run();
    });
}

Result<void> checkOrder(const Lists& stages, int chunks) {
    const int count = static_cast<int>(stages.size());
    const auto messages = [&](int at, ActionKind kind, bool sends) {
        std::vector<Action> found; // as their receivers see them
        for (const Action& action : stages[static_cast<std::size_t>(at)]) {
            const auto peer = sends ? target(action, count, at, chunks) : source(action, count, at, chunks);
            if (action.kind == kind && peer && peer->stage != at) {
                found.push_back({kind, action.microBatch, sends ? peer->chunk : action.chunk});
            }
        }
        return found;
    };
    for (int stage = 0; stage < count; ++stage) {
        for (const ActionKind kind : {ActionKind::Forward, ActionKind::Backward}) {
            const int to = (stage + (kind == ActionKind::Forward ? 1 : count - 1)) % count;
            const std::vector<Action> sent = messages(stage, kind, true), received = messages(to, kind, false);
            const auto differ = std::ranges::mismatch(sent, received);
            if (differ.in1 != sent.end() && differ.in2 != received.end()) {
                return fail(ErrorCode::InvalidArgument, "stage " + std::to_string(stage) + " sends stage " + std::to_string(to) + " what its " +
                                                            text(*differ.in1) + " needs, but that one does " + text(*differ.in2) + " first",
                            "pipeline schedule");
            }
        }
    }
    return {};
}

Result<std::vector<std::int64_t>> gradientBuffers(const Lists& stages, int microBatches, int chunks) {
    const ActionCosts even;
    const auto unbound = checkSchedule(stages, microBatches, chunks, even);
    if (!unbound) {
        return tl::unexpected(unbound.error());
    }
    for (std::int64_t least = 2;; ++least) { // ends: with a buffer for every gradient nothing waits
        std::vector<std::int64_t> buffers;
        bool isWhole = true;
        for (const StageReport& stage : unbound->stages) {
            buffers.push_back(std::min(stage.sentGradients, std::max(stage.peakGradients, least)));
            isWhole = isWhole && buffers.back() == stage.sentGradients;
        }
        const auto bound = PaperRun(stages, chunks, even, Delivery::Posted, buffers).run();
        if (isWhole || (bound && bound->length <= unbound->length * (1 + 1e-12))) {
            return buffers;
        }
    }
}

} // namespace telehelm::parallel
