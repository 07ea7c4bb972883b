// SPDX-License-Identifier: Apache-2.0
// What the NVML of fake_nvml.cpp says; a test changes it through fakeNvml() of the library it has loaded.
#pragma once

#include <atomic>

struct FakeNvml {
    std::atomic<unsigned> temperature{45}, smClock{1980}, memoryClock{3201}, milliwatts{512'345}, busyPercent{97};
    std::atomic<unsigned long long> usedBytes{123'456'789'012}, corrected{3}, uncorrected{0};
    std::atomic<int> status{0};     // what every reading returns: 15, the GPU is lost
    std::atomic<int> eccStatus{0};  // 3: not supported
    std::atomic<int> initStatus{0}; // 9: no driver
    std::atomic<int> users{0};      // inits less shutdowns
    std::atomic<int> opened{-1};    // which GPU was asked for
    std::atomic<int> reads{0};
};
extern "C" FakeNvml* fakeNvml();
