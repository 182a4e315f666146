// SPDX-License-Identifier: BSD-3-Clause
// Who uses a function at the moment: `run`, or a `bind` or `unbind` that is under way. A lock on a file below /run, which ends with its
// holder, however that ends.
#pragma once

#include <expected>
#include <string>

#include "base/fd.hpp"
#include "host/sysfs.hpp"
#include "pci/bdf.hpp"

namespace iommufd::host {

// The claim lasts as long as the descriptor, in this process and in those forked from it. Waits up to two seconds for a user that is
// about to end. The error is a sentence for the user.
std::expected<Fd, std::string> claim(pci::Bdf bdf, const Roots& roots = {});

}  // namespace iommufd::host
