// SPDX-License-Identifier: BSD-3-Clause
// The BARs of a function of this machine: its sysfs files `resourceN`, which are mapped (memory) or read and written (I/O ports).
#pragma once

#include <array>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/sys.hpp"
#include "base/types.hpp"
#include "pci/function_spec.hpp"

namespace iommufd::host {

class Bars {
 public:
  // Opens and maps them all; `directory` is the function's in sysfs. Errors: those of open and mmap (kPerm: the kernel is locked down or
  // keeps I/O memory to drivers).
  static Result<Bars> open(const std::string& directory, const std::array<pci::BarSpec, pci::kBarCount>& specs);

  // An access of 1, 2, 4 or 8 bytes, aligned, inside the BAR, as one of the bus (8 bytes of I/O ports: two).
  [[nodiscard]] u64 read(u32 bar, u64 offset, u32 size) const;
  void write(u32 bar, u64 offset, u32 size, u64 value) const;
  // What a client is to map. -1: there is none.
  [[nodiscard]] int file(u32 bar) const { return bars_[bar].file.get(); }

 private:
  struct Bar {
    Fd file;
    sys::Mapping memory;  // none of I/O ports
  };
  std::array<Bar, pci::kBarCount> bars_;
};

}  // namespace iommufd::host
