// SPDX-License-Identifier: GPL-3.0-or-later
// Tokens complete in both themes, style sheet without an unknown token, icons tinted pixel for pixel in the colour asked for.
#include <QApplication>
#include <QDir>
#include <QFile>
#include <QSignalSpy>
#include <QTest>

#include "theme/theme.h"

using namespace telehelm::app;

namespace {
QByteArray resource(const char* path) {
    QFile file(QString::fromLatin1(path));
    return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

/// How many pixels are drawn, and whether all of them have the colour's hue (alpha apart).
int drawnPixels(const QIcon& icon, QIcon::Mode mode, const QColor& colour, bool* allOfColour) {
    const QImage image = icon.pixmap(QSize(32, 32), 1.0, mode).toImage().convertToFormat(QImage::Format_ARGB32);
    int drawn = 0;
    *allOfColour = true;
    for (int y = 0; y < image.height(); ++y)
        for (int x = 0; x < image.width(); ++x) {
            const QColor pixel = image.pixelColor(x, y);
            if (pixel.alpha() < 200)
                continue;
            ++drawn;
            *allOfColour = *allOfColour && qAbs(pixel.red() - colour.red()) < 4 && qAbs(pixel.green() - colour.green()) < 4 &&
                           qAbs(pixel.blue() - colour.blue()) < 4;
        }
    return drawn;
}
} // namespace

class TestTheme : public QObject {
    Q_OBJECT
private slots:
    void tokensAreComplete();
    void aMissingTokenIsNamed();
    void styleSheetHasOnlyKnownTokens();
    void colourWithAlphaIsRead();
    void everyIconIsDrawnInTheColourAskedFor();
    void disabledIconIsQuiet();
    void switchingThemeTellsAndChanges();
    void fontsHaveTheDesignsSizes();
};

void TestTheme::tokensAreComplete() {
    ThemeController controller;
    QStringList problems;
    const auto dark = readTheme(resource(":/themes/tokens.json"), true, problems);
    const auto light = readTheme(resource(":/themes/tokens.json"), false, problems);
    QCOMPARE(problems.join(QLatin1Char('\n')), QString());
    QCOMPARE(dark.window, QColor(0x0D, 0x12, 0x17));
    QCOMPARE(light.slot(7), QColor(0x2C, 0x34, 0x3C));
    QCOMPARE(light.slot(8), light.slot(0));
}

void TestTheme::aMissingTokenIsNamed() {
    QStringList problems;
    (void)readTheme(R"({"dark":{"window":"#000000","windw":"#000000"}})", true, problems);
    QVERIFY(problems.contains(QStringLiteral("tokens.json: dark.panel is missing or no colour")));
    QVERIFY(problems.contains(QStringLiteral("tokens.json: dark.windw is not used by the program")));
    QVERIFY(!problems.contains(QStringLiteral("tokens.json: dark.window is missing or no colour")));
}

void TestTheme::styleSheetHasOnlyKnownTokens() {
    ThemeController controller;
    QStringList problems;
    const auto text = fillStyleSheet(QString::fromUtf8(resource(":/themes/telehelm.qss")), controller.theme(), problems);
    QCOMPARE(problems.join(QLatin1Char('\n')), QString());
    QVERIFY(text.size() > 1000);
    (void)fillStyleSheet(QStringLiteral("a { color: @nonsense; b: @tx2; }"), controller.theme(), problems);
    QCOMPARE(problems, QStringList{QStringLiteral("telehelm.qss: unknown token @nonsense")});
}

void TestTheme::colourWithAlphaIsRead() {
    ThemeController controller;
    QCOMPARE(controller.theme().scrim.red(), 4);
    QCOMPARE(controller.theme().scrim.alpha(), 158);
}

void TestTheme::everyIconIsDrawnInTheColourAskedFor() {
    ThemeController controller;
    const QColor colour(0xE0, 0x10, 0x90);
    const auto names = QDir(QStringLiteral(":/icons")).entryList({QStringLiteral("*.svg")});
    QVERIFY(names.size() >= 63);
    for (const auto& file : names) {
        if (file == QStringLiteral("telehelm.svg"))
            continue; // the logo keeps its colour
        bool allOfColour = false;
        const auto name = file.chopped(4).toLatin1();
        QVERIFY2(drawnPixels(controller.icon(name.constData(), colour), QIcon::Normal, colour, &allOfColour) > 5, name.constData());
        QVERIFY2(allOfColour, name.constData());
    }
}

void TestTheme::disabledIconIsQuiet() {
    ThemeController controller;
    bool allOfColour = false;
    QVERIFY(drawnPixels(controller.icon("pause"), QIcon::Disabled, controller.theme().txDis, &allOfColour) > 5);
    QVERIFY(allOfColour);
}

void TestTheme::switchingThemeTellsAndChanges() {
    ThemeController controller;
    QSignalSpy changed(&controller, &ThemeController::changed);
    QVERIFY(controller.theme().dark);
    controller.setChoice(ThemeChoice::Light);
    QCOMPARE(changed.count(), 1);
    QCOMPARE(controller.theme().panel, QColor(0xFA, 0xFB, 0xFC));
    controller.apply(*qApp);
    QCOMPARE(QApplication::palette().color(QPalette::Highlight), controller.theme().accentFill);
    controller.setChoice(ThemeChoice::Light);
    QCOMPARE(changed.count(), 1);
}

void TestTheme::fontsHaveTheDesignsSizes() {
    ThemeController controller;
    QCOMPARE(controller.font(TextRole::Readout).pixelSize(), 17);
    QCOMPARE(controller.font(TextRole::Section).weight(), QFont::DemiBold);
    QCOMPARE(QFontInfo(controller.font(TextRole::Body)).pixelSize(), 12); // 12.5 in the design: whole pixels, taken down
    controller.setTextScale(150);
    QCOMPARE(QFontInfo(controller.font(TextRole::Section)).pixelSize(), 19);
}

QTEST_MAIN(TestTheme)
#include "tst_theme.moc"
