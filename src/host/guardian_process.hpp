// SPDX-License-Identifier: BSD-3-Clause
// The guardian: a small process that outlives the server, however that ends, and then makes real functions harmless before the pages
// that they reach are anybody else's: it ends who still has their registers mapped, clears bus mastering, resets them, and only
// then lets go of the pins. Of a function that cannot be reset it keeps the pages until `iommufd-user release` (guardian.hpp).
//
// It is nobody's child, has a session of its own, and neither the server's stderr nor its files: what it has to say goes to the
// kernel's log. What the server tells it comes before the server's end, because both come through one socket.
#pragma once

#include <memory>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "mem/pin_keeper.hpp"
#include "pci/bdf.hpp"

namespace iommufd::host {

enum class Reset : u8 { kImpossible, kPossible };

// The server's end.
class Guardian final : public mem::PinKeeper {
 public:
  // Starts the process. Pre: there is one thread. Errors: those of socketpair and fork.
  static Result<std::unique_ptr<Guardian>> start();

  // A function that will be used; the guardian holds `claim` (claim.hpp), too, until it has done its work.
  Result<void> add(pci::Bdf bdf, Reset reset, int claim);
  // Bus mastering is on from now on, or off. On: said before it is. Errors: the guardian is gone.
  Result<void> set_live(pci::Bdf bdf, bool live);
  // It was left without a reset: no page that is pinned now may be given back.
  void keep_pages(pci::Bdf bdf);
  Result<void> hold(int descriptor) override;

 private:
  explicit Guardian(Fd socket) : socket_(std::move(socket)) {}
  const Fd socket_;
};

}  // namespace iommufd::host
