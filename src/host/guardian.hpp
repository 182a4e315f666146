// SPDX-License-Identifier: BSD-3-Clause
// The guardian of a function keeps the pages that the function may still reach by DMA, after the program that mapped them.
// It listens on a stream socket in the abstract namespace. A peer says "release\n" and is answered with one line:
// "ok ..." when the pages were given back, anything else when not.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <expected>
#include <string>

#include "pci/bdf.hpp"

namespace iommufd::host {

// "@iommufd-user/guardian/DDDD:BB:DD.F"
struct GuardianAddress {
  sockaddr_un address{};
  socklen_t size = 0;
};
GuardianAddress guardian_address(pci::Bdf bdf);

bool has_guardian(pci::Bdf bdf);
// The guardian's line, without "ok "; the error is a sentence for the user.
std::expected<std::string, std::string> request_release(pci::Bdf bdf);

}  // namespace iommufd::host
