// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/event_lane.h"

#include <algorithm>
#include <cmath>

#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

QRectF flagBox(const LaneMark& mark, const Frame& lane) {
    const double left = std::min(std::floor(mark.px), lane.rect.right() - kFlagWidth);
    return {left + 0.5, lane.rect.top() + 1.5, kFlagWidth, kFlagHeight};
}

void paintFlag(QPainter& painter, const QRectF& box, const Look& look, const Flag& flag, std::size_t merged) {
    const bool several = merged > 1;
    painter.setPen(QPen(flag.colour, 1));
    painter.setBrush(flag.filled ? flag.colour : look.theme.plot);
    painter.drawRect(box);
    QFont font = look.captionNumber;
    font.setBold(true);
    painter.setFont(font);
    painter.setPen(flag.filled ? (look.theme.dark ? look.theme.plot : look.theme.onSolid) : flag.colour);
    painter.drawText(box, Qt::AlignCenter, several ? QStringLiteral("+%1").arg(merged) : QString(flag.letter));
}

} // namespace

std::vector<LaneMark> mergeFlags(const std::vector<Flag>& flags, const Frame& lane) {
    std::vector<int> order;
    for (std::size_t i = 0; i < flags.size(); ++i)
        if (!flags[i].letter.isNull() && flags[i].x >= lane.from && flags[i].x <= lane.to)
            order.push_back(static_cast<int>(i));
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return flags[static_cast<std::size_t>(a)].x < flags[static_cast<std::size_t>(b)].x; });
    std::vector<LaneMark> marks;
    for (int index : order) {
        const Flag& flag = flags[static_cast<std::size_t>(index)];
        const double px = lane.xPx(flag.x);
        if (marks.empty() || px - marks.back().px >= kMergePx) {
            marks.push_back({px, {index}, index});
            continue;
        }
        marks.back().flags.push_back(index);
        if (flag.filled && !flags[static_cast<std::size_t>(marks.back().chief)].filled)
            marks.back().chief = index;
    }
    return marks;
}

const LaneMark* markAt(const std::vector<LaneMark>& marks, const Frame& lane, const QPointF& position) {
    for (const LaneMark& mark : marks)
        if (flagBox(mark, lane).adjusted(-4, -6, 4, 6).contains(position)) // hit target at least 24 × 24
            return &mark;
    return nullptr;
}

void paintLane(QPainter& painter, const Frame& lane, const Look& look, const std::vector<Flag>& flags,
               const std::vector<LaneMark>& marks) {
    painter.setFont(look.caption);
    painter.setPen(look.theme.tx3);
    painter.drawText(QRectF(0, lane.rect.top(), lane.rect.left() - 8, lane.rect.height() - 3), Qt::AlignLeft | Qt::AlignVCenter,
                     QStringLiteral("  ") + QObject::tr("Events"));
    if (!look.flags)
        return;
    painter.setRenderHint(QPainter::Antialiasing, false);
    for (const Flag& flag : flags)
        if (flag.letter.isNull() && flag.x >= lane.from && flag.x <= lane.to)
            painter.fillRect(QRectF(std::round(lane.xPx(flag.x)) - 1, lane.rect.bottom() - 5, 3, 3), look.theme.tx2);
    for (const LaneMark& mark : marks) {
        const Flag& chief = flags[static_cast<std::size_t>(mark.chief)];
        const QRectF box = flagBox(mark, lane);
        painter.setPen(QPen(chief.colour, 1));
        painter.drawLine(QPointF(box.left(), box.top()), QPointF(box.left(), lane.rect.bottom()));
        paintFlag(painter, box, look, chief, mark.flags.size());
    }
}

void paintStepLabel(QPainter& painter, const Frame& lane, const Look& look, double cursor) {
    painter.setFont(look.captionNumber);
    const QString text = xText(look.kind, cursor);
    const double width = painter.fontMetrics().horizontalAdvance(text) + 14, height = 17;
    const double px = lane.xPx(cursor);
    const double left = px - width - 4 > lane.rect.left() ? px - width - 4 : px + 4;
    const QRectF box(left, lane.rect.top() + 1, width, height);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(Qt::NoPen);
    painter.setBrush(look.theme.tx2);
    painter.drawRoundedRect(box, 3, 3);
    painter.setPen(look.theme.dark ? look.theme.plot : look.theme.panel);
    painter.drawText(box, Qt::AlignCenter, text);
}

} // namespace telehelm::app::plots
