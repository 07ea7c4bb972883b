// SPDX-License-Identifier: GPL-3.0-or-later
// One line above the page that says what is wrong with the links and what still works; the most severe first. GUI thread only.
#pragma once

#include <QFrame>
#include <QTimer>

#include "session/session.h"
#include "theme/theme.h"

class QLabel;
class QPushButton;

namespace telehelm::app {

struct BannerText {
    enum class Kind { None, Ok, Warning, Critical };
    Kind kind = Kind::None;
    QString bold, rest, right;
    bool operator==(const BannerText&) const = default;
};

/// What the banner says of two links at a moment (design.md, section 11); nothing while both are up or just beginning.
[[nodiscard]] BannerText bannerFor(const LinkStatus& control, const LinkStatus& live, const Fidelity& fidelity, qint64 nowUs);

class BannerBar : public QFrame {
    Q_OBJECT
public:
    BannerBar(Session& session, ThemeController& theme, QWidget* parent = nullptr);
    [[nodiscard]] const BannerText& text() const { return m_text; }
    void refresh();
    /// Whether the daemon is this computer's own, so that it can be started again from here.
    void setLocalDaemon(bool on);
    void startEnded(); // well or not: it may be tried again
    [[nodiscard]] QPushButton* startButton() const { return m_start; }

signals:
    void startAsked();
    void detailsAsked();
    void backAgain(const QString& sentence); // for Messages

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    void build();
    void show(const BannerText& text);
    void showStart();
    Session& m_session;
    ThemeController& m_theme;
    BannerText m_text;
    QTimer m_timer;
    quint64 m_repairedBefore = 0; // when the link went
    qint64 m_backUntilUs = 0;
    bool m_wasDown = false, m_local = false, m_starting = false;
    QLabel *m_icon = nullptr, *m_bold = nullptr, *m_rest = nullptr, *m_right = nullptr;
    QPushButton *m_start = nullptr, *m_reconnect = nullptr, *m_details = nullptr;
};

} // namespace telehelm::app
