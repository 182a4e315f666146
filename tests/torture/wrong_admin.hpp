// SPDX-License-Identifier: BSD-3-Clause
// Admin commands, right and wrong, with the status that the sheet gives them. None of them changes anything.
#pragma once

#include "tests/torture/wrong_io.hpp"

namespace torture {

// Where they may point, and what exists.
struct AdminScene {
  u64 page = 0;         // of ours, mapped
  u64 page_behind = 0;  // the next
  std::optional<u64> hole;
  u16 queues = 0;   // pairs that the controller allows
  u32 vectors = 0;  // of MSI-X
  u16 live = 0;     // a pair that exists, with a CQ that is used
  u16 absent = 0;   // a number within `queues` without a pair
  u32 namespaces = 1;
};

struct AdminCase {
  const char* what;
  u16 status;
  bool needs_hole;
  nvme::Sqe (*make)(const AdminScene& scene, Random& random);
};
std::span<const AdminCase> admin_cases();

}  // namespace torture
