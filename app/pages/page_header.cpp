// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/page_header.h"

#include <QFrame>
#include <QHBoxLayout>
#include <QLabel>
#include <QMessageBox>
#include <QSaveFile>

#include "widgets/panel.h"

namespace telehelm::app {

PageHeader::PageHeader(ThemeController& theme, const QString& title, QWidget* parent) : QWidget(parent) {
    setObjectName(QStringLiteral("dockTitle"));
    setAttribute(Qt::WA_StyledBackground);
    setFixedHeight(38);
    auto* row = new QHBoxLayout(this);
    row->setContentsMargins(10, 0, 10, 0);
    row->setSpacing(10);
    row->addWidget(makeLabel(theme, TextRole::Section, "", title, this));
    m_remark = makeLabel(theme, TextRole::Body, "secondary", {}, this);
    m_remark->setTextFormat(Qt::RichText);
    row->addWidget(m_remark);
    auto* line = new QFrame(this);
    line->setObjectName(QStringLiteral("vline"));
    line->setFixedSize(1, 18);
    row->addWidget(line);
    m_left = new QHBoxLayout;
    m_left->setSpacing(9);
    m_right = new QHBoxLayout;
    m_right->setSpacing(9);
    row->addLayout(m_left);
    row->addStretch(1);
    row->addLayout(m_right);
}

void PageHeader::setRemark(const QString& remark) { m_remark->setText(remark); }

bool saveTextFile(QWidget* parent, const QString& path, const QString& text) {
    QSaveFile file(path);
    const QByteArray bytes = text.toUtf8();
    if (file.open(QIODevice::WriteOnly) && file.write(bytes) == bytes.size() && file.commit()) {
        return true;
    }
    QMessageBox::warning(parent, QObject::tr("Not saved"), QObject::tr("%1 could not be written: %2.").arg(path, file.errorString()));
    return false;
}

} // namespace telehelm::app
