// SPDX-License-Identifier: GPL-3.0-or-later
// Short messages at the lower right of the window: 6 s, errors until closed. Each is kept in Messages, too. GUI thread only.
#pragma once

#include <functional>

#include <QFrame>

#include "models/messages_model.h"
#include "theme/theme.h"

class QVBoxLayout;

namespace telehelm::app {

struct ToastAction {
    QString word; // "Resume", "Retry"
    std::function<void()> act;
};

class ToastBar : public QWidget {
    Q_OBJECT
public:
    ToastBar(ThemeController& theme, MessagesModel& messages, QWidget* window);
    void show(ipc::Severity severity, const QString& sentence, const ToastAction& action = {});
    void place(); // over the window's lower right corner
    [[nodiscard]] QStringList sentences() const;

private:
    ThemeController& m_theme;
    MessagesModel& m_messages;
    QVBoxLayout* m_column;
};

} // namespace telehelm::app
