// SPDX-License-Identifier: BSD-3-Clause
// A context as a dump shows it: one snapshot, or what several in a row saw, each HWPT as it was last.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "core/snapshot.hpp"

namespace iommufd::dump {

struct HwptRecord {
  core::HwptSnapshot hwpt;
  bool ended = false;  // its id may belong to another one by now
};

struct ContextRecord {
  u32 number = 0;  // 1, 2, ... in the order of opens
  std::set<u32> ioases;
  std::map<u32, core::DeviceSnapshot> devices;
  std::map<u32, HwptRecord> hwpts;

  // A later snapshot. A HWPT that devices have left keeps the list of those that it had.
  void merge(core::ContextSnapshot snapshot);
};

}  // namespace iommufd::dump
