// SPDX-License-Identifier: Apache-2.0
// Work on many items by two threads: ingest encodes the chunks of all series that fill up together.
#pragma once

#include <cstddef>
#include <future>

namespace telehelm::store {

/// work(i) for every i below `count`, each once; `work` must not touch what another i does. Throws what one of them threw, after both
/// threads have ended.
template <typename Work>
void sideBySide(std::size_t count, const Work& work) {
    constexpr std::size_t kWorthAThread = 16; // an item takes some 100 µs, a thread half of that to start
    std::size_t middle = count < kWorthAThread ? count : count / 2;
    std::future<void> beside;
    if (middle < count)
        beside = std::async(std::launch::async, [&work, middle, count] {
            for (std::size_t i = middle; i < count; ++i)
                work(i);
        });
    for (std::size_t i = 0; i < middle; ++i) // should it throw, the future's destructor waits
        work(i);
    if (beside.valid())
        beside.get();
}

} // namespace telehelm::store
