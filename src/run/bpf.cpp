// SPDX-License-Identifier: BSD-3-Clause
#include "run/bpf.hpp"

#include "base/assert.hpp"

namespace iommufd::run {
namespace {
constexpr std::size_t kNowhere = ~std::size_t{0};
}

Label Bpf::make_label() {
  labels_.push_back(kNowhere);
  return Label{static_cast<u32>(labels_.size() - 1)};
}

void Bpf::place(Label label) {
  IOMMUFD_ASSERT(labels_[label.id] == kNowhere);
  labels_[label.id] = code_.size();
}

void Bpf::load(u32 offset) { code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
void Bpf::bit_and(u32 mask) { code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask)); }
void Bpf::verdict(u32 seccomp_return) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, seccomp_return)); }

void Bpf::jump(Label to) {
  fixups_.push_back({code_.size(), to.id});
  code_.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0));
}

// Conditional jumps reach 255 instructions only. Each one skips over an unconditional jump, which reaches everywhere;
// the just-in-time compiler of the kernel makes of the pair what one long jump would be.
void Bpf::jump_if(u16 condition, u32 value, Label to) {
  code_.push_back({static_cast<u16>(BPF_JMP | condition | BPF_K), 0, 1, value});
  jump(to);
}

std::vector<sock_filter> Bpf::finish() const {
  std::vector<sock_filter> code = code_;
  for (const Fixup& f : fixups_) {
    const std::size_t target = labels_[f.label];
    IOMMUFD_ASSERT(target != kNowhere && target > f.at);
    code[f.at].k = static_cast<u32>(target - f.at - 1);
  }
  IOMMUFD_ASSERT(code.size() <= BPF_MAXINSNS);
  return code;
}

}  // namespace iommufd::run
