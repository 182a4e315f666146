// SPDX-License-Identifier: BSD-3-Clause
// Taking a function from its driver, and giving it back.
//
// `bind` writes driver_override before it unbinds, so that no driver takes the function in between, and remembers what it found
// before it changes anything. A record counts as long as driver_override is what was written with it: a function that was
// unplugged, or that somebody else has prepared since, starts anew.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "host/sysfs.hpp"
#include "pci/bdf.hpp"

namespace iommufd::host {

// Tests have a kernel of their own behind it.
using WriteAttribute = std::function<Result<void>(const std::string& path, std::string_view text)>;
Result<void> write_attribute(const std::string& path, std::string_view text);

// What was done, or why not: sentences for the user.
using Outcome = std::expected<std::string, std::string>;

// With a name, this driver has the function then; with an empty one, no driver takes it any more. With nothing: the driver through which
// its interrupts come best, of those that this kernel has: vfio-pci where it makes groups without an IOMMU; uio_pci_generic for a function that
// has a line and no messages; else none.
Outcome bind(pci::Bdf bdf, const std::optional<std::string>& driver, const Roots& roots = {},
             const WriteAttribute& write = write_attribute);
// As before bind().
Outcome unbind(pci::Bdf bdf, const Roots& roots = {}, const WriteAttribute& write = write_attribute);

}  // namespace iommufd::host
