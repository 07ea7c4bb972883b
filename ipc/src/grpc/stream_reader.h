// SPDX-License-Identifier: Apache-2.0
// Reads a server stream on the calling thread and stays answerable meanwhile: `beat` runs at least once a second, and a
// peer that is silent for longer than the timeout counts as gone. (A blocking Read() could do neither.)
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "grpc/status.h"
#include "telehelm/ipc/result.h"

namespace telehelm::ipc {

/// One use, one thread.
template <typename Message>
class StreamReader {
public:
    using Reader = grpc::ClientAsyncReader<Message>;

    StreamReader(std::string address, int timeoutMs) : m_address(std::move(address)), m_timeoutMs(timeoutMs) {}

    /// start(context, queue, tag) → unique_ptr<Reader>; take(message) → Result<bool>, false stops; beat() → bool.
    template <typename Start, typename Take, typename Beat>
    Result<void> run(Start start, Take take, Beat beat) {
        const std::unique_ptr<Reader> reader = start(&m_context, &m_queue, tag());
        Result<void> result = readAll(*reader, take, beat);
        if (!m_finished) // stopped early, or given up
            m_context.TryCancel();
        if (m_pending)
            waitForever();
        grpc::Status status;
        reader->Finish(&status, tag());
        waitForever();
        m_queue.Shutdown();
        void* rest = nullptr;
        for (bool ok = false; m_queue.Next(&rest, &ok);) {
        }
        if (m_finished && !status.ok())
            return tl::unexpected(fromStatus(status, m_address, m_timeoutMs));
        return result;
    }

private:
    enum class Wait { Done, Ended, Stopped, Silent };

    template <typename Take, typename Beat>
    Result<void> readAll(Reader& reader, Take& take, Beat& beat) {
        m_pending = true; // the start itself
        Wait state = wait(beat);
        while (state == Wait::Done) {
            m_pending = true;
            reader.Read(&m_message, tag());
            state = wait(beat);
            if (state != Wait::Done)
                break;
            Result<bool> goesOn = take(m_message);
            if (!goesOn)
                return tl::unexpected(goesOn.error());
            if (!*goesOn)
                return {};
        }
        m_finished = state == Wait::Ended;
        if (state == Wait::Silent)
            return fail(ErrorCode::Unavailable, "the daemon has been silent for " + std::to_string(m_timeoutMs / 1000) + " s", m_address);
        return {};
    }

    template <typename Beat>
    Wait wait(Beat& beat) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(m_timeoutMs);
        for (;;) {
            void* which = nullptr;
            bool ok = false;
            const auto step = std::chrono::system_clock::now() + std::chrono::milliseconds(std::min(m_timeoutMs, 1000));
            if (m_queue.AsyncNext(&which, &ok, step) == grpc::CompletionQueue::GOT_EVENT) {
                m_pending = false;
                return ok ? Wait::Done : Wait::Ended;
            }
            if (!beat())
                return Wait::Stopped;
            if (std::chrono::steady_clock::now() >= until)
                return Wait::Silent;
        }
    }

    void waitForever() {
        void* which = nullptr;
        bool ok = false;
        m_queue.Next(&which, &ok);
        m_pending = false;
    }
    void* tag() { return this; }

    const std::string m_address;
    const int m_timeoutMs;
    grpc::ClientContext m_context;
    grpc::CompletionQueue m_queue;
    Message m_message;
    bool m_pending = false;  // an operation whose event has not come yet
    bool m_finished = false; // the peer ended the stream
};

} // namespace telehelm::ipc
