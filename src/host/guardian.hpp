// SPDX-License-Identifier: BSD-3-Clause
// The guardian of a function keeps the pages that the function may still reach by DMA, after the program that mapped them. There is one
// for each program that left some, so a function may have several. Each listens on a stream socket of its own in the abstract
// namespace, under the first number that is free. A peer says "release\n" and is answered with one line: "ok ..." when the pages
// were given back, anything else when not.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <expected>
#include <string>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "pci/bdf.hpp"

namespace iommufd::host {

// "@iommufd-user/guardian/DDDD:BB:DD.F/N"
struct GuardianAddress {
  sockaddr_un address{};
  socklen_t size = 0;
};
GuardianAddress guardian_address(pci::Bdf bdf, unsigned number);
// A socket that listens as one more guardian of the function. Errors: those of socket, bind and listen.
Result<Fd> listen_as_guardian(pci::Bdf bdf);

bool has_guardian(pci::Bdf bdf);
// Asks all of them. What they said, without "ok "; the error is a sentence for the user, when there is none, or not all did it.
std::expected<std::string, std::string> request_release(pci::Bdf bdf);

}  // namespace iommufd::host
