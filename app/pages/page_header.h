// SPDX-License-Identifier: GPL-3.0-or-later
// The 38 px line at the top of a page: title, remark, controls at the left and at the right. GUI thread only.
#pragma once

#include <QWidget>

#include "theme/theme.h"

class QHBoxLayout;
class QLabel;

namespace telehelm::app {

class PageHeader : public QWidget {
    Q_OBJECT
public:
    PageHeader(ThemeController& theme, const QString& title, QWidget* parent);
    void setRemark(const QString& remark); // rich text allowed
    [[nodiscard]] QHBoxLayout* left() const { return m_left; }
    [[nodiscard]] QHBoxLayout* right() const { return m_right; }

private:
    QLabel* m_remark;
    QHBoxLayout *m_left, *m_right;
};

/// Writes the whole file or nothing; a failure is said in a message box over `parent`.
bool saveTextFile(QWidget* parent, const QString& path, const QString& text);

} // namespace telehelm::app
