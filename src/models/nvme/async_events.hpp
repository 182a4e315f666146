// SPDX-License-Identifier: BSD-3-Clause
// Asynchronous event requests that wait, and events that wait for one (NVMe 1.4, 5.2; spec nvme 5). After an event of a type is
// reported, further ones of that type are held until its log page is read.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "base/types.hpp"

namespace iommufd::models::nvme {

inline constexpr u32 kMostAers = 4;  // AERL + 1

// The DW0 of its completion: type in 2:0, information in 15:8, log page in 23:16.
enum class Event : u32 {
  kUnusedDoorbell = 0x01'00'00,
  kBadDoorbellValue = 0x01'01'00,
  kTemperature = 0x02'01'01,
};

class AsyncEvents {
 public:
  // False: there are as many as there may be.
  bool add(u16 cid);
  // True: it waited, and does no more.
  bool abort(u16 cid);
  void raise(Event event);
  // Only worth an event while somebody waits.
  void raise_if_awaited(Event event) {
    if (!waiting_.empty()) raise(event);
  }
  struct Report {
    u16 cid;
    u32 result;
  };
  // An event and the request that it completes, if there are both.
  std::optional<Report> take();
  void log_page_read(u8 page);
  void clear() { *this = {}; }

 private:
  static constexpr unsigned type_of(Event event) { return static_cast<u32>(event) & 7; }
  static constexpr u8 page_of(Event event) { return static_cast<u8>(static_cast<u32>(event) >> 16); }

  std::vector<u16> waiting_;
  std::vector<Event> events_;  // each at most once
  std::array<u8, 8> held_{};   // by type: the log page that must be read first; 0: none
};

}  // namespace iommufd::models::nvme
