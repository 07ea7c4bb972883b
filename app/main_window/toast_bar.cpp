// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window/toast_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QPushButton>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>

#include "widgets/panel.h"

namespace telehelm::app {
namespace {

constexpr int kWidth = 420, kMargin = 12, kStatusHeight = 24, kShownMs = 6000, kMost = 4;

/// One message: severity edge, sentence, action, close.
class Toast : public QFrame {
public:
    Toast(ThemeController& theme, ipc::Severity severity, const QString& sentence, const ToastAction& action, QWidget* parent)
        : QFrame(parent), m_theme(theme), m_severity(severity) {
        auto* row = new QHBoxLayout(this);
        row->setContentsMargins(12, 8, 8, 8);
        row->setSpacing(8);
        auto* icon = new QLabel(this);
        icon->setPixmap(severityPixmap(theme, static_cast<int>(severity)));
        row->addWidget(icon, 0, Qt::AlignTop);
        auto* text = makeLabel(theme, TextRole::Body, "", sentence, this);
        text->setObjectName(QStringLiteral("toastText"));
        text->setWordWrap(true);
        row->addWidget(text, 1);
        if (!action.word.isEmpty()) {
            auto* button = makeButton(theme, "flat", nullptr, action.word, this);
            connect(button, &QPushButton::clicked, this, [this, act = action.act] {
                act();
                deleteLater();
            });
            row->addWidget(button, 0, Qt::AlignTop);
        }
        auto* close = new QToolButton(this);
        close->setIcon(theme.icon("close"));
        close->setAccessibleName(ToastBar::tr("Close message"));
        connect(close, &QToolButton::clicked, this, &QObject::deleteLater);
        row->addWidget(close, 0, Qt::AlignTop);
    }

protected:
    void paintEvent(QPaintEvent*) override {
        QPainter painter(this);
        const auto& t = m_theme.theme();
        painter.fillRect(rect(), t.line2);
        painter.fillRect(rect().adjusted(1, 1, -1, -1), t.raised);
        const QColor edge = m_severity == ipc::Severity::Critical  ? t.crit
                            : m_severity == ipc::Severity::Warning ? t.warn
                            : m_severity == ipc::Severity::Benign  ? t.ok
                                                                   : t.info;
        painter.fillRect(QRect(0, 0, 3, height()), edge);
    }

private:
    ThemeController& m_theme;
    ipc::Severity m_severity;
};

} // namespace

ToastBar::ToastBar(ThemeController& theme, MessagesModel& messages, QWidget* window)
    : QWidget(window), m_theme(theme), m_messages(messages), m_column(new QVBoxLayout(this)) {
    m_column->setContentsMargins(0, 0, 0, 0);
    m_column->setSpacing(6);
    hide();
}

void ToastBar::show(ipc::Severity severity, const QString& sentence, const ToastAction& action) {
    m_messages.add({ipc::nowUs(), severity, sentence});
    while (m_column->count() >= kMost)
        delete m_column->itemAt(0)->widget();
    auto* toast = new Toast(m_theme, severity, sentence, action, this);
    m_column->addWidget(toast);
    connect(toast, &QObject::destroyed, this, [this] { QTimer::singleShot(0, this, &ToastBar::place); });
    if (severity != ipc::Severity::Critical) // errors stay until closed
        QTimer::singleShot(kShownMs, toast, &QObject::deleteLater);
    place();
}

void ToastBar::place() {
    if (m_column->count() == 0) {
        hide();
        return;
    }
    const int height = m_column->heightForWidth(kWidth) > 0 ? m_column->heightForWidth(kWidth) : m_column->sizeHint().height();
    setGeometry(parentWidget()->width() - kWidth - kMargin, parentWidget()->height() - height - kStatusHeight - kMargin, kWidth, height);
    QWidget::show();
    raise();
}

QStringList ToastBar::sentences() const {
    QStringList all;
    for (const auto* label : findChildren<QLabel*>(QStringLiteral("toastText")))
        all << label->text();
    return all;
}

} // namespace telehelm::app
