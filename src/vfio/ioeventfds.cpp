// SPDX-License-Identifier: BSD-3-Clause
#include "vfio/ioeventfds.hpp"

#include <algorithm>
#include <utility>

#include "base/explain.hpp"

namespace iommufd::vfio {
namespace {

Err bad(const char* field, u64 value, const char* rule) {
  return reject(Errno::kInval, {field, value, rule, "vfio-device 15"});
}

}  // namespace

Result<void> Ioeventfds::set(IoeventfdRequest request) {
  if (request.bar >= pci::kBarCount) return bad("offset", request.bar, "must be in a BAR");
  const u64 size = function_.spec().bars[request.bar].size;
  if (request.offset > size || request.width > size - request.offset) {
    return bad("offset", request.offset, "must be inside the BAR");
  }
  if (function_.touches_msix_table(request.bar, request.offset, request.width)) {
    return bad("offset", request.offset, "must not be in the table of MSI-X");
  }
  if (request.width == 8) return bad("flags", request.width, "8 bytes are not supported");

  const MutexLock lock(mu_);
  const auto same = [&](const Entry& e) {
    return e.bar == request.bar && e.offset == request.offset && e.width == request.width && e.data == request.data;
  };
  const auto it = std::ranges::find_if(entries_, same);
  const bool removing = request.event.number < 0;
  if (it != entries_.end()) {
    if (!removing) {
      return reject(Errno::kExist, {"offset", request.offset, "the same one exists", "vfio-device 15"});
    }
    watcher_.remove(it->watch);
    entries_.erase(it);
    return {};
  }
  if (removing) return reject(Errno::kNoDev, {"offset", request.offset, "there is no such one", "vfio-device 15"});
  if (entries_.size() >= kLimit) return reject(Errno::kNoSpc, {"fd", 0, "1000 exist already", "vfio-device 15"});

  Eventfd event = IOMMUFD_TRY(std::move(request.event.event));
  const auto write = [this, bar = request.bar, offset = request.offset, width = request.width, data = request.data] {
    // With decoding off the write goes nowhere.
    [[maybe_unused]] const Result<void> written =
        function_.bar_write(bar, offset, std::as_bytes(std::span(&data, 1)).first(width));
  };
  entries_.reserve(entries_.size() + 1);
  const auto watch = IOMMUFD_TRY(watcher_.add(std::move(event).release(), write));
  entries_.push_back({request.bar, request.offset, request.width, request.data, watch});
  return {};
}

void Ioeventfds::teardown() {
  const MutexLock lock(mu_);
  for (const Entry& entry : entries_) watcher_.remove(entry.watch);
  entries_.clear();
}

}  // namespace iommufd::vfio
