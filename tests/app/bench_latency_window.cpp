// SPDX-License-Identifier: GPL-3.0-or-later
// How old a point is when the window knows it and when it can be seen: TrainerLink::emit → telehelmd → Session → LiveCurves, and on to
// the end of the frame that shows it, in the real main window on its Live page (1600 × 1000). Two JSON lines; latencies in
// milliseconds. Usage: bench_latency_window [steps] [steps per second]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <QApplication>
#include <QSettings>
#include <QTemporaryDir>
#include <QTimer>

#include "latency_rig.h"
#include "main_window/live_area.h"
#include "main_window/main_window.h"
#include "pages/live_page.h"
#include "plots/plot_stack.h"

namespace {

using namespace telehelm::app;
using namespace telehelm::bench;
namespace ipc = telehelm::ipc;

constexpr std::int64_t kWarmUpSteps = 20;

/// Stamps the steps of train/loss: when the curves have one, and when a painted frame holds it.
class Watch : public QObject {
public:
    Watch(Session& session, LivePage& page, std::int64_t steps) : m_page(page), m_stack(*page.stack()), m_steps(steps) {
        // After the page's own connections, so its curves have the news already.
        connect(&session, &Session::newsArrived, this, &Watch::takeNews);
        connect(&m_stack, &plots::PlotStack::replotted, this, [this] { m_drawn = newestInPlot(); });
        m_stack.canvas()->installEventFilter(this);
    }
    std::vector<double> toModel, toFrame; // ms

protected:
    bool eventFilter(QObject* object, QEvent* event) override {
        if (event->type() == QEvent::Paint) // the whole window is painted and flushed before the event loop comes round
            QTimer::singleShot(0, this, [this, step = m_drawn] { framePainted(step); });
        return QObject::eventFilter(object, event);
    }

private:
    void takeNews(const std::vector<ipc::News>& news) {
        const qint64 now = ipc::nowUs();
        const ipc::Point* newest = m_page.curves().latest(m_page.run(), ipc::series::kTrainLoss);
        for (const auto& item : news)
            for (const auto& block : item.batch.series)
                for (const auto& point : block.points)
                    if (block.name == ipc::series::kTrainLoss && point.step > kWarmUpSteps && newest != nullptr && newest->step >= point.step) {
                        toModel.push_back(static_cast<double>(now - point.wallUs) / 1000);
                        m_waiting[point.step] = point.wallUs;
                    }
    }

    std::int64_t newestInPlot() const {
        std::int64_t newest = 0;
        for (const auto& value : m_stack.valuesAt(0, plots::kNoCursor))
            newest = std::max(newest, static_cast<std::int64_t>(value.x));
        return newest;
    }

    void framePainted(std::int64_t step) {
        const qint64 now = ipc::nowUs();
        const auto end = m_waiting.upper_bound(step);
        for (auto it = m_waiting.begin(); it != end; it = m_waiting.erase(it))
            toFrame.push_back(static_cast<double>(now - it->second) / 1000);
        if (step >= m_steps)
            QCoreApplication::quit();
    }

    LivePage& m_page;
    plots::PlotStack& m_stack;
    const std::int64_t m_steps;
    std::int64_t m_drawn = 0;
    std::map<std::int64_t, std::int64_t> m_waiting; // step → when it was emitted
};

void print(const char* path, std::vector<double> ms, double perSecond) {
    std::sort(ms.begin(), ms.end());
    std::printf("{\"bench\":\"latency\",\"path\":\"%s\",\"points\":%zu,\"steps_per_s\":%g,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
                path, ms.size(), perSecond, percentile(ms, 0.5), percentile(ms, 0.99), ms.back());
}

void bench(std::int64_t steps, double perSecond) {
    if (steps < 100 || perSecond <= 0)
        give("usage: bench_latency_window [steps, at least 100] [steps per second]");
    const DaemonRig daemon(steps, perSecond);
    const QTemporaryDir folder;
    QSettings settings(folder.filePath(QStringLiteral("settings.ini")), QSettings::IniFormat);
    ThemeController theme;
    theme.apply(*qApp);
    Session session;
    MainWindow window(session, theme, settings, SessionLinks::real());
    LivePage& page = *window.live()->page();
    Watch watch(session, page, steps);
    window.resize(1600, 1000);
    window.show();
    QObject::connect(&session, &Session::runStarted, &window, [&](JobId, const ipc::RunInfo& run) {
        session.setFocusedRun(QString::fromStdString(run.run));
        window.showPage(Page::Live);
    });
    QString failure;
    QObject::connect(&session, &Session::jobFailed, &window, [&](JobId, const telehelm::Error& error) {
        failure = QString::fromStdString(error.text());
        QCoreApplication::quit();
    });
    bool asked = false;
    const auto startWhenUp = [&] {
        if (session.controlLink().state == LinkState::Up && session.liveLink().state == LinkState::Up && !std::exchange(asked, true))
            session.startRun(daemon.request());
    };
    QObject::connect(&session, &Session::controlLinkChanged, &window, startWhenUp);
    QObject::connect(&session, &Session::liveLinkChanged, &window, startWhenUp);
    session.open(QString::fromStdString(daemon.control()));
    QTimer::singleShot(static_cast<int>(1000 * (static_cast<double>(steps) / perSecond + 40)), qApp, &QCoreApplication::quit);
    QApplication::exec();
    if (!failure.isEmpty())
        give(failure.toStdString());
    const auto expected = static_cast<std::size_t>(steps - kWarmUpSteps);
    if (watch.toFrame.size() < expected)
        give("only " + std::to_string(watch.toFrame.size()) + " of " + std::to_string(expected) + " points were painted");
    print("emit-daemon-model", watch.toModel, perSecond);
    print("emit-daemon-model-frame", watch.toFrame, perSecond);
}

} // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (isTrainer(words))
            return train(words);
        if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM"))
            qputenv("QT_QPA_PLATFORM", "offscreen");
        QApplication application(argc, argv);
        bench(words.empty() ? 600 : std::atoll(words[0].c_str()), words.size() < 2 ? 20 : std::atof(words[1].c_str()));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_latency_window: %s\n", error.what());
        return 1;
    }
}
