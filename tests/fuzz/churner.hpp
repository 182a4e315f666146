// SPDX-License-Identifier: BSD-3-Clause
// The threads of threads_fuzz that know few answers: they make, attach, replace and destroy what everyone shares, and do
// DMA that anyone may cut off. What they may be told is checked; above all it must not disturb the workers.
#pragma once

#include <atomic>

#include "tests/fuzz/world.hpp"

namespace iommufd::fuzz {

class Churner {
 public:
  // Binds and unbinds `device`.
  Churner(World& world, Client& client, u64 seed, u64 number, std::size_t device)
      : world_(world), client_(client), random_(seed * 64 + number), device_(device) {}
  // Until `stop`, and for `steps` steps in any case.
  void run(u64 steps, const std::atomic<bool>& stop);

 private:
  void step();
  u32 take_ioas();
  u32 take_hwpt();
  void bind_or_unbind();
  void attach();
  void attach_sibling();
  void alloc_hwpt();
  void destroy();
  void look();
  void toggle_option();
  void use_scratch();
  static bool is_one_of(Answer answer, std::initializer_list<Errno> allowed);

  World& world_;
  Client& client_;
  Random random_;
  const std::size_t device_;
  std::array<u32, 4> hwpts_{};  // that this thread made; others may have destroyed them
};

// DMA by iova through the devices that churners attach, at bytes of the pages that are nobody else's.
void background_dma(World& world, u64 seed, u64 workers, const std::atomic<bool>& stop);

}  // namespace iommufd::fuzz
