// SPDX-License-Identifier: GPL-3.0-or-later
#include "plots/paint_guides.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <QPainterPath>

#include "plots/columns.h"
#include "plots/value_text.h"

namespace telehelm::app::plots {

namespace {

constexpr double kSharedLabelPx = 11;

const std::array<QVector<qreal>, 4>& referenceDashes() {
    static const std::array<QVector<qreal>, 4> dashes{QVector<qreal>{7, 3}, {2, 2.5}, {7, 3, 2, 3}, {11, 3}};
    return dashes;
}

/// How much a label at `box` would cover: samples of the curves, and very much more for another label or for the border.
double covered(const Strip& strip, const QRectF& box, const std::vector<QRectF>& taken) {
    constexpr double kNever = 1e6;
    double cost = strip.frame.rect.contains(box) ? 0 : kNever;
    for (const QRectF& other : taken)
        cost += other.intersects(box) ? kNever : 0;
    for (const Curve& curve : strip.curves) {
        const auto [first, last] = visibleSamples(curve, strip.frame.xAt(box.left()), strip.frame.xAt(box.right()));
        for (std::size_t i = first; i < last; ++i)
            if (const double y = strip.frame.yPx(curve.y[i]); y > box.top() - 2 && y < box.bottom() + 2)
                ++cost;
    }
    return cost;
}

/// Right above the upper line, right below the lower one, then further left; the place that covers least, the first of equals.
QRectF placeLabel(const Strip& strip, double upper, double lower, const QSizeF& size, const std::vector<QRectF>& taken) {
    const QRectF& rect = strip.frame.rect;
    const double right = rect.right() - 3 - size.width(), left = rect.left() + 4;
    QRectF best;
    double least = std::numeric_limits<double>::infinity();
    for (double x : {right, left, (left + right) / 2})
        for (double top : {upper - size.height() - 1, lower + 1}) {
            const QRectF box({x, top}, size);
            if (const double cost = covered(strip, box, taken); cost < least) {
                least = cost;
                best = box;
            }
        }
    best.moveTop(std::clamp(best.top(), rect.top(), std::max(rect.top(), rect.bottom() - size.height())));
    return best;
}

void haloText(QPainter& painter, const QRectF& box, const QString& text, const QColor& colour, const QColor& halo) {
    QPainterPath path;
    path.addText(box.left(), box.bottom() - painter.fontMetrics().descent(), painter.font(), text);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.strokePath(path, QPen(halo, 3, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
    painter.setPen(colour);
    painter.drawText(QPointF(box.left(), box.bottom() - painter.fontMetrics().descent()), text);
}

void paintReferenceLine(QPainter& painter, const Strip& strip, const Look& look, const ReferenceLine& line) {
    const double y = std::round(strip.frame.yPx(line.value)) + 0.5;
    QPen pen(look.theme.tx3, 1);
    pen.setDashPattern(referenceDashes()[static_cast<std::size_t>(line.dash) % referenceDashes().size()]);
    pen.setCapStyle(Qt::FlatCap);
    painter.setRenderHint(QPainter::Antialiasing, false);
    painter.setPen(pen);
    painter.drawLine(QPointF(strip.frame.rect.left(), y), QPointF(strip.frame.rect.right(), y));
}

/// One label for one line or for several close ones: their names, or how many they are and where.
void paintReferenceLabel(QPainter& painter, const Strip& strip, const Look& look, const std::vector<const ReferenceLine*>& lines,
                         std::vector<QRectF>& taken) {
    QString text = lines.front()->label;
    for (std::size_t i = 1; i < lines.size(); ++i)
        text += QStringLiteral(", ") + lines[i]->label;
    if (lines.size() > 2 && painter.fontMetrics().horizontalAdvance(text) > strip.frame.rect.width() * 0.8)
        text = QObject::tr("%1 models, %2 – %3")
                   .arg(lines.size())
                   .arg(valueText(strip.spec.format, lines.back()->value), valueText(strip.spec.format, lines.front()->value));
    const QSizeF size(painter.fontMetrics().horizontalAdvance(text), painter.fontMetrics().ascent() + 2);
    const QRectF box =
        placeLabel(strip, strip.frame.yPx(lines.front()->value), strip.frame.yPx(lines.back()->value), size, taken);
    taken.push_back(box);
    haloText(painter, box, text, look.theme.tx2, look.theme.plot);
}

/// References beyond the border keep a word and an arrow at it, in one row.
void paintEdgeLabels(QPainter& painter, const Strip& strip, const Look& look, const std::vector<const ReferenceLine*>& beyond,
                     bool above) {
    if (beyond.empty())
        return;
    QString text = above ? QStringLiteral("↑ ") : QStringLiteral("↓ ");
    for (const ReferenceLine* line : beyond)
        text += (line == beyond.front() ? QString() : QStringLiteral(", ")) + line->label + QLatin1Char(' ') +
                QString::number(line->value, 'f', 3);
    const QRectF& rect = strip.frame.rect;
    text = painter.fontMetrics().elidedText(text, Qt::ElideRight, static_cast<int>(rect.width()) - 8);
    const double width = painter.fontMetrics().horizontalAdvance(text), height = painter.fontMetrics().height();
    QRectF box(rect.right() - 3 - width, above ? rect.top() + 1 : rect.bottom() - 1 - height, width, height);
    if (const QRectF left = box.translated(rect.left() + 4 - box.left(), 0); covered(strip, left, {}) < covered(strip, box, {}))
        box = left;
    haloText(painter, box, text, look.theme.tx3, look.theme.plot);
}

struct Pen {
    QPainter& painter;
    double x, baseline, right;

    bool text(const QString& words, const QFont& font, const QColor& colour, double after) {
        painter.setFont(font);
        const double width = painter.fontMetrics().horizontalAdvance(words);
        if (x + width > right)
            return false;
        painter.setPen(colour);
        painter.drawText(QPointF(x, baseline), words);
        x += width + after;
        return true;
    }
};

void paintSwatch(QPainter& painter, const Look& look, const Curve& curve, double x, double y) {
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(look.theme.slot(curve.slot), curve.validation ? 1.2 : 2));
    painter.drawLine(QPointF(x, y), QPointF(x + 16, y));
    if (curve.validation) {
        painter.setBrush(look.theme.plot);
        painter.drawEllipse(QPointF(x + 8, y), 2.6, 2.6);
    }
}

bool paintLegend(Pen& pen, const Strip& strip, const Look& look, const Curve& curve, double cursor) {
    const CurveValue value = readCurve(curve, cursor);
    const bool none = std::isnan(value.value) && std::isnan(value.smoothed) && curve.x.empty();
    const bool beyond =
        !std::isnan(cursor) && !curve.x.empty() && cursor > curve.x.back() + (strip.frame.to - strip.frame.from) * 0.01;
    if (pen.x + 60 > pen.right)
        return false;
    paintSwatch(pen.painter, look, curve, pen.x, pen.baseline - 4);
    pen.x += 22;
    if (!pen.text(curve.label, look.caption, look.theme.tx2, 6))
        return false;
    const QString words = none || (beyond && !curve.focused) ? QStringLiteral("–") : valueText(strip.spec.format, value.value);
    pen.text(words, look.number, look.theme.tx, 7);
    if (curve.focused && !curve.validation && !value.latest && !curve.lo.empty()) {
        QString quiet =
            QObject::tr("min %1, max %2").arg(valueText(strip.spec.format, value.min), valueText(strip.spec.format, value.max));
        if (strip.spec.format == ValueFormat::Loss)
            quiet.prepend(QObject::tr("smoothed %1, ").arg(valueText(strip.spec.format, value.smoothed)));
        pen.text(quiet, look.captionNumber, look.theme.tx3, 7);
    }
    if (curve.focused && strip.rightFactor > 0 && !none)
        pen.text(QStringLiteral("MFU %1").arg(valueText(strip.rightFormat, value.value * strip.rightFactor)), look.captionNumber,
                 look.theme.tx3, 7);
    pen.x += 6;
    return true;
}

void paintCompactTitle(QPainter& painter, const Strip& strip, const Look& look, double cursor, double baseline) {
    painter.setFont(look.title);
    painter.setPen(look.theme.tx);
    painter.drawText(QPointF(strip.outer.left() + 12, baseline), strip.spec.title);
    for (const Curve& curve : strip.curves) {
        if (!curve.focused || curve.superseded || curve.x.empty())
            continue;
        const QString text = valueText(strip.spec.format, readCurve(curve, cursor).value);
        painter.setFont(look.number);
        painter.drawText(QPointF(strip.frame.rect.right() - painter.fontMetrics().horizontalAdvance(text), baseline), text);
        return;
    }
}

} // namespace

void paintBands(QPainter& painter, const Strip& strip) {
    for (const Band& band : strip.bands) {
        QColor colour = band.colour;
        colour.setAlphaF(0.10F);
        painter.fillRect(QRectF(QPointF(strip.frame.xPx(band.from), strip.frame.rect.top()),
                                QPointF(strip.frame.xPx(band.to), strip.frame.rect.bottom())),
                         colour);
    }
}

void paintGaps(QPainter& painter, const Strip& strip, const Look& look, const std::vector<Gap>& gaps, bool withLabels) {
    const QRectF& rect = strip.frame.rect;
    for (const Gap& gap : gaps) {
        const QRectF box(
            QPointF(std::max(rect.left(), strip.frame.xPx(gap.from)), rect.top()),
            QPointF(std::min(rect.right(), std::max(strip.frame.xPx(gap.to), strip.frame.xPx(gap.from) + 2)), rect.bottom()));
        if (box.width() <= 0)
            continue;
        painter.save();
        painter.setClipRect(box, Qt::IntersectClip);
        painter.setRenderHint(QPainter::Antialiasing);
        painter.setPen(QPen(look.theme.axis, 1));
        for (double x = box.left() - box.height(); x < box.right(); x += 7)
            painter.drawLine(QPointF(x, box.bottom()), QPointF(x + box.height(), box.top()));
        painter.restore();
        if (!withLabels || gap.label.isEmpty())
            continue;
        painter.setFont(look.caption);
        const double width = painter.fontMetrics().horizontalAdvance(gap.label), height = painter.fontMetrics().height();
        const double left = box.left() - 6 - width > rect.left() ? box.left() - 6 - width : box.right() + 6;
        haloText(painter, {left, rect.top() + 4, width, height}, gap.label, look.theme.tx2, look.theme.plot);
    }
}

void paintReferences(QPainter& painter, const Strip& strip, const Look& look) {
    if (!look.references || (strip.empty() && !strip.emptyHeadline.isEmpty()))
        return; // words stand there
    std::vector<const ReferenceLine*> above, below, inside;
    for (const ReferenceLine& line : strip.references)
        (line.value > strip.frame.yHigh ? above : line.value < strip.frame.yLow ? below : inside).push_back(&line);
    std::sort(inside.begin(), inside.end(), [](const ReferenceLine* a, const ReferenceLine* b) { return a->value > b->value; });
    for (const ReferenceLine* line : inside)
        paintReferenceLine(painter, strip, look, *line);
    painter.setFont(look.caption);
    std::vector<QRectF> taken;
    for (std::size_t first = 0, last; first < inside.size(); first = last) {
        // Lines that lie closer than their labels are high share one label, from top to bottom.
        for (last = first + 1; last < inside.size(); ++last)
            if (strip.frame.yPx(inside[last]->value) - strip.frame.yPx(inside[last - 1]->value) >= kSharedLabelPx)
                break;
        paintReferenceLabel(
            painter, strip, look,
            {inside.begin() + static_cast<std::ptrdiff_t>(first), inside.begin() + static_cast<std::ptrdiff_t>(last)}, taken);
    }
    paintEdgeLabels(painter, strip, look, above, true);
    paintEdgeLabels(painter, strip, look, below, false);
}

void paintPoles(QPainter& painter, const Strip& strip, const std::vector<Flag>& flags) {
    painter.setRenderHint(QPainter::Antialiasing, false);
    for (const Flag& flag : flags) {
        if (flag.letter.isNull() || flag.x < strip.frame.from || flag.x > strip.frame.to)
            continue;
        QColor colour = flag.colour;
        colour.setAlphaF(0.55F);
        QPen pen(colour, 1);
        pen.setCapStyle(Qt::FlatCap);
        if (!flag.filled)
            pen.setDashPattern({3, 3});
        painter.setPen(pen);
        const double px = std::floor(strip.frame.xPx(flag.x)) + 0.5;
        painter.drawLine(QPointF(px, strip.frame.rect.top()), QPointF(px, strip.frame.rect.bottom()));
    }
}

void paintEmptyText(QPainter& painter, const Strip& strip, const Look& look) {
    if (!strip.empty() || strip.emptyHeadline.isEmpty())
        return;
    const QRectF& rect = strip.frame.rect;
    painter.setFont(look.title);
    const double line = painter.fontMetrics().height() + 3;
    const bool both = rect.height() > 2 * line && !strip.emptySentence.isEmpty();
    const double top = rect.center().y() - (both ? line : line / 2);
    const QString headline =
        painter.fontMetrics().elidedText(strip.emptyHeadline, Qt::ElideRight, static_cast<int>(rect.width()) - 12);
    const double width = painter.fontMetrics().horizontalAdvance(headline);
    const QRectF sentenceBox(rect.left() + 6, top + line, rect.width() - 12, rect.bottom() - top - line);
    painter.fillRect(QRectF(rect.center().x() - width / 2 - 4, top, width + 8, line), look.theme.plot);
    painter.setPen(look.theme.tx);
    painter.drawText(QRectF(rect.left() + 6, top, rect.width() - 12, line), Qt::AlignCenter, headline);
    if (!both)
        return;
    constexpr int kFlags = Qt::AlignHCenter | Qt::AlignTop | Qt::TextWordWrap;
    painter.setFont(look.caption);
    painter.fillRect(painter.boundingRect(sentenceBox, kFlags, strip.emptySentence).adjusted(-4, 0, 4, 2), look.theme.plot);
    painter.setPen(look.theme.tx2);
    painter.drawText(sentenceBox, kFlags, strip.emptySentence);
}

void paintTitle(QPainter& painter, const Strip& strip, const Look& look, double cursor, bool compact) {
    const double baseline = strip.frame.rect.top() - 7;
    if (compact)
        return paintCompactTitle(painter, strip, look, cursor, baseline);
    Pen pen{painter, strip.outer.left() + 8, baseline, strip.frame.rect.right()};
    if (!strip.spec.title.isEmpty())
        pen.text(strip.spec.title, look.title, look.theme.tx, 6);
    QString unit = strip.spec.unit;
    if (strip.spec.logY)
        unit += unit.isEmpty() ? QObject::tr("log") : QObject::tr(", log");
    if (strip.tickUnit != 1 && strip.tickUnit > 0) {
        static const QString kSuperscripts = QStringLiteral("⁰¹²³⁴⁵⁶⁷⁸⁹");
        unit += QStringLiteral(" × 10");
        for (const QChar& digit : QString::number(std::lround(std::log10(strip.tickUnit))))
            unit += digit == QLatin1Char('-') ? QChar(0x207B) : kSuperscripts[digit.digitValue()];
    }
    if (!unit.isEmpty())
        pen.text(unit.trimmed(), look.caption, look.theme.tx3, 20);
    for (const Curve& curve : strip.curves)
        if (!curve.superseded && !paintLegend(pen, strip, look, curve, cursor))
            return;
    for (const TitleNote& note : strip.notes) {
        if (!note.label.isEmpty() && !pen.text(note.label, look.caption, look.theme.tx2, 5))
            return;
        if (!note.value.isEmpty() && !pen.text(note.value, look.number, look.theme.tx, 6))
            return;
        if (!note.quiet.isEmpty() && !pen.text(note.quiet, look.captionNumber, look.theme.tx3, 6))
            return;
        pen.x += 6;
    }
}

} // namespace telehelm::app::plots
