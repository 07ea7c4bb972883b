// SPDX-License-Identifier: GPL-3.0-or-later
// Back and forward over views, as in a browser. Pure values.
#pragma once

#include <optional>
#include <utility>
#include <vector>

namespace telehelm::app::plots {

/// What a view is: the x range and, per strip, a fixed y range (none: automatic).
struct View {
    double from = 0, to = 1;
    std::vector<std::optional<std::pair<double, double>>> y;
    bool operator==(const View&) const = default;
};

class ZoomHistory {
public:
    /// `before` is the view that the user left; a new step drops what lay ahead.
    void leave(const View& before) {
        m_ahead.clear();
        if (!m_back.empty() && m_back.back() == before)
            return;
        m_back.push_back(before);
        if (m_back.size() > kDepth)
            m_back.erase(m_back.begin());
    }
    [[nodiscard]] std::optional<View> back(const View& now) { return step(m_back, m_ahead, now); }
    [[nodiscard]] std::optional<View> forward(const View& now) { return step(m_ahead, m_back, now); }
    [[nodiscard]] bool canGoBack() const { return !m_back.empty(); }
    [[nodiscard]] bool canGoForward() const { return !m_ahead.empty(); }
    void clear() {
        m_back.clear();
        m_ahead.clear();
    }

private:
    static constexpr std::size_t kDepth = 100;
    static std::optional<View> step(std::vector<View>& source, std::vector<View>& target, const View& now) {
        if (source.empty())
            return std::nullopt;
        View view = source.back();
        source.pop_back();
        target.push_back(now);
        return view;
    }
    std::vector<View> m_back, m_ahead;
};

} // namespace telehelm::app::plots
