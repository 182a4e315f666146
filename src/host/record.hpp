// SPDX-License-Identifier: BSD-3-Clause
// What `bind` remembers of a function, in a file of its own below /run, which a reboot empties.
#pragma once

#include <optional>
#include <string>

#include "base/result.hpp"
#include "host/sysfs.hpp"
#include "pci/bdf.hpp"

namespace iommufd::host {

struct Record {
  std::string driver;           // what was bound; empty: nothing
  std::string driver_override;  // empty: there was none
  std::string wrote;            // driver_override since then
};

std::string record_path(pci::Bdf bdf, const Roots& roots);
std::optional<Record> read_record(pci::Bdf bdf, const Roots& roots);
// Errors: those of mkdir, open, write, rename.
Result<void> write_record(pci::Bdf bdf, const Record& record, const Roots& roots);
void remove_record(pci::Bdf bdf, const Roots& roots);

}  // namespace iommufd::host
