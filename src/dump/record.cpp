// SPDX-License-Identifier: BSD-3-Clause
#include "dump/record.hpp"

#include <utility>

namespace iommufd::dump {

void ContextRecord::merge(core::ContextSnapshot snapshot) {
  ioases.insert(snapshot.ioases.begin(), snapshot.ioases.end());
  for (core::DeviceSnapshot& device : snapshot.devices) devices.insert_or_assign(device.id, std::move(device));
  for (core::HwptSnapshot& hwpt : snapshot.hwpts) {
    const auto old = hwpts.find(hwpt.id);
    if (old != hwpts.end() && !old->second.ended && hwpt.devices.empty())
      hwpt.devices = std::move(old->second.hwpt.devices);
    ioases.insert(hwpt.ioas);
    const u32 id = hwpt.id;
    hwpts.insert_or_assign(id, HwptRecord{std::move(hwpt), false});
  }
}

}  // namespace iommufd::dump
