// SPDX-License-Identifier: BSD-3-Clause
// A small assembler for classic BPF as seccomp runs it: forward jumps to labels, of any distance.
//
// Why our own: docs/adr/0003-own-bpf.md. A program reads 32-bit words of struct seccomp_data and ends in a verdict;
// only the instructions that seccomp's constant-allow analysis understands are offered for what leads to a plain
// "allow", so that the kernel skips the filter for system calls that are always allowed.
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <vector>

#include "base/types.hpp"

namespace iommufd::run {

// A place in the program that jumps may name before it exists.
struct Label {
  u32 id = 0;
};

class Bpf {
 public:
  Label make_label();
  // `label` is here. Once for each label.
  void place(Label label);

  // A = the 32-bit word at byte `offset` of struct seccomp_data.
  void load(u32 offset);
  void bit_and(u32 mask);
  void jump(Label to);
  // Jumps when the comparison with A holds, and goes on with the next instruction otherwise.
  void jump_if_equal(u32 value, Label to) { jump_if(BPF_JEQ, value, to); }
  void jump_if_at_least(u32 value, Label to) { jump_if(BPF_JGE, value, to); }
  void verdict(u32 seccomp_return);

  // Resolves the labels. Pre: each label used was placed, behind its uses.
  [[nodiscard]] std::vector<sock_filter> finish() const;

 private:
  void jump_if(u16 condition, u32 value, Label to);
  struct Fixup {
    std::size_t at;  // index of a BPF_JA whose distance is to be filled in
    u32 label;
  };
  std::vector<sock_filter> code_;
  std::vector<std::size_t> labels_;
  std::vector<Fixup> fixups_;
};

}  // namespace iommufd::run
