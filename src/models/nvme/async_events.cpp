// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/async_events.hpp"

#include <algorithm>

namespace iommufd::models::nvme {

bool AsyncEvents::add(u16 cid) {
  if (waiting_.size() == kMostAers) return false;
  waiting_.push_back(cid);
  return true;
}

bool AsyncEvents::abort(u16 cid) {
  const auto it = std::ranges::find(waiting_, cid);
  if (it == waiting_.end()) return false;
  waiting_.erase(it);
  return true;
}

void AsyncEvents::raise(Event event) {
  if (std::ranges::find(events_, event) == events_.end()) events_.push_back(event);
}

std::optional<AsyncEvents::Report> AsyncEvents::take() {
  if (waiting_.empty()) return std::nullopt;
  const auto it = std::ranges::find_if(events_, [this](Event event) { return held_[type_of(event)] == 0; });
  if (it == events_.end()) return std::nullopt;
  const Event event = *it;
  events_.erase(it);
  held_[type_of(event)] = page_of(event);
  const u16 cid = waiting_.front();
  waiting_.erase(waiting_.begin());
  return Report{cid, static_cast<u32>(event)};
}

void AsyncEvents::log_page_read(u8 page) { std::ranges::replace(held_, page, u8{0}); }

}  // namespace iommufd::models::nvme
