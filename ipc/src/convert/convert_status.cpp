// SPDX-License-Identifier: Apache-2.0
#include "convert/convert.h"

namespace telehelm::ipc {

void toWire(const RunCounters& from, v1::RunCounters& to) {
    to.set_run(mendUtf8(from.run));
    to.set_emitted(from.emitted);
    to.set_stored(from.stored);
    to.set_acked(from.acked);
    to.set_published(from.published);
    to.set_stored_since_start(from.storedSinceStart);
    to.set_lost(from.lost);
    to.set_newest_us(from.newestUs);
}

Result<void> fromWire(const v1::RunCounters& from, RunCounters& to) {
    to.run = from.run();
    to.emitted = from.emitted();
    to.stored = from.stored();
    to.acked = from.acked();
    to.published = from.published();
    to.storedSinceStart = from.stored_since_start();
    to.lost = from.lost();
    to.newestUs = from.newest_us();
    return {};
}

void toWire(const ClientCounters& from, v1::ClientCounters& to) {
    to.set_id(mendUtf8(from.id));
    to.set_program(mendUtf8(from.program));
    to.set_host(mendUtf8(from.host));
    to.set_user(mendUtf8(from.user));
    to.set_received(from.received);
    to.set_missed(from.missed);
    to.set_repaired(from.repaired);
    to.set_lost(from.lost);
    to.set_gaps(from.gaps);
    to.set_newest_us(from.newestUs);
    to.set_reported_us(from.reportedUs);
}

Result<void> fromWire(const v1::ClientCounters& from, ClientCounters& to) {
    to.id = from.id();
    to.program = from.program();
    to.host = from.host();
    to.user = from.user();
    to.received = from.received();
    to.missed = from.missed();
    to.repaired = from.repaired();
    to.lost = from.lost();
    to.gaps = from.gaps();
    to.newestUs = from.newest_us();
    to.reportedUs = from.reported_us();
    return {};
}

void toWire(const DaemonStatus& from, v1::StatusReply& to) {
    toWire(from.daemon, *to.mutable_daemon());
    toWireAll(from.runs, *to.mutable_runs());
    toWireAll(from.clients, *to.mutable_clients());
    to.set_subscriptions(from.subscriptions);
    to.set_messages_published(from.messagesPublished);
    to.set_bad_frames(from.badFrames);
    to.set_resident_bytes(from.residentBytes);
    to.set_store_bytes(from.storeBytes);
    to.set_store_trouble(mendUtf8(from.storeTrouble));
    to.set_now_us(from.nowUs);
}

Result<void> fromWire(const v1::StatusReply& from, DaemonStatus& to) {
    if (auto ok = fromWire(from.daemon(), to.daemon); !ok)
        return ok;
    if (auto ok = fromWireAll(from.runs(), to.runs); !ok)
        return ok;
    if (auto ok = fromWireAll(from.clients(), to.clients); !ok)
        return ok;
    to.subscriptions = from.subscriptions();
    to.messagesPublished = from.messages_published();
    to.badFrames = from.bad_frames();
    to.residentBytes = from.resident_bytes();
    to.storeBytes = from.store_bytes();
    to.storeTrouble = from.store_trouble();
    to.nowUs = from.now_us();
    return {};
}

} // namespace telehelm::ipc
