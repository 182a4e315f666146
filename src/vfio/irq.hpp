// SPDX-License-Identifier: BSD-3-Clause
// The words of VFIO's interrupt interface as types (spec vfio-device 12, 13).
#pragma once

#include <span>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "vfio/eventfd.hpp"

namespace iommufd::vfio {

enum class IrqIndex : u32 { kIntx = 0, kMsi = 1, kMsix = 2, kErr = 3, kReq = 4 };
inline constexpr u32 kIrqIndexes = 5;

struct IrqInfo {
  u32 count = 0;
  bool maskable = false;
  bool automasked = false;
  bool resizable = false;
};

enum class IrqAction : u8 { kMask, kUnmask, kTrigger, kOther };  // kOther: none, or several at once
enum class IrqData : u8 { kNone, kBool, kEventfd };

// One element of DATA_EVENTFD: the number that the client gave and what stands behind it. The descriptors are fetched
// before any lock is taken; an error counts when its element's turn comes.
struct IrqEventfd {
  s32 number = -1;
  Result<Eventfd> event = Err(Errno::kBadf);
};

// A SET_IRQS that has passed the generic checks: the index exists, start and count are inside it, the data is complete.
struct IrqRequest {
  IrqIndex index = IrqIndex::kIntx;
  IrqAction action = IrqAction::kOther;
  IrqData data = IrqData::kNone;
  u32 start = 0;
  u32 count = 0;
  std::vector<u8> bools{};             // count of them with kBool
  std::vector<IrqEventfd> eventfds{};  // count of them with kEventfd
};

}  // namespace iommufd::vfio
