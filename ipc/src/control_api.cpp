// SPDX-License-Identifier: Apache-2.0
#include "telehelm/ipc/control_api.h"

#include <iterator>

namespace telehelm::ipc {

Result<std::vector<SeriesInfo>> listAllSeries(ControlApi& api, const AttemptKey& key, const std::string& glob) {
    constexpr std::uint32_t kPage = 10'000; // about half a megabyte
    std::vector<SeriesInfo> all;
    SeriesListQuery query{key, glob, {}, kPage};
    do {
        auto page = api.listSeries(query);
        if (!page)
            return tl::unexpected(page.error());
        all.insert(all.end(), std::make_move_iterator(page->series.begin()), std::make_move_iterator(page->series.end()));
        query.after = page->next;
    } while (!query.after.empty());
    return all;
}

} // namespace telehelm::ipc
