// SPDX-License-Identifier: GPL-3.0-or-later
#include <QApplication>
#include <QSettings>

#include "main_window/startup.h"

using namespace telehelm::app;

int main(int argc, char** argv) {
    const auto [line, exitCode] = readCommandLine(argc, argv);
    if (exitCode)
        return *exitCode;
    if (!line.platform.isEmpty())
        qputenv("QT_QPA_PLATFORM", line.platform.toUtf8());
    QCoreApplication::setOrganizationName(QStringLiteral("telehelm"));
    QCoreApplication::setApplicationName(QStringLiteral("telehelm"));
    QCoreApplication::setApplicationVersion(QStringLiteral(TELEHELM_VERSION));
    QSettings::setDefaultFormat(QSettings::IniFormat);
    int argumentCount = 1; // ours are read; Qt needs the program's name only
    QApplication application(argumentCount, argv);
    QSettings store;
    const auto settings = loadSettings();
    ThemeController theme;
    theme.setChoice(line.theme.value_or(settings.theme));
    theme.setTextScale(settings.textScale);
    theme.apply(application);
    QObject::connect(&theme, &ThemeController::changed, &theme, [&] { theme.apply(application); });
    Session session;
    session.setOperatorName(settings.operatorName);
    MainWindow window(session, theme, store, SessionLinks::real());
    window.resize(line.size);
    Startup startup(line, session, window);
    window.show();
    startup.begin();
    return startup.finish(QApplication::exec());
}
