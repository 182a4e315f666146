// SPDX-License-Identifier: BSD-3-Clause
#include "host/record.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/sys.hpp"

namespace iommufd::host {

std::string record_path(pci::Bdf bdf, const Roots& roots) { return fmt::format("{}/{}", roots.state, bdf.str()); }

std::optional<Record> read_record(pci::Bdf bdf, const Roots& roots) {
  Record record;
  for (const auto& row : read_table(record_path(bdf, roots))) {
    if (row.size() != 2) continue;  // a name without a value: it is empty
    if (row[0] == "driver") record.driver = row[1];
    if (row[0] == "driver_override") record.driver_override = row[1];
    if (row[0] == "wrote") record.wrote = row[1];
  }
  if (record.wrote.empty()) return std::nullopt;
  return record;
}

// Written beside it and renamed: whoever is interrupted leaves a whole record, or none.
Result<void> write_record(pci::Bdf bdf, const Record& record, const Roots& roots) {
  if (::mkdir(roots.state.c_str(), 0755) != 0 && errno != EEXIST) return Err(sys::last_errno());
  const std::string path = record_path(bdf, roots), part = path + ".part";
  {
    const Fd file(IOMMUFD_TRY(sys::check(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644))));
    IOMMUFD_TRY(sys::write_all(file.get(), fmt::format("driver {}\ndriver_override {}\nwrote {}\n", record.driver,
                                                       record.driver_override, record.wrote)));
  }
  return sys::ok(::rename(part.c_str(), path.c_str()));
}

void remove_record(pci::Bdf bdf, const Roots& roots) { static_cast<void>(::unlink(record_path(bdf, roots).c_str())); }

}  // namespace iommufd::host
