// SPDX-License-Identifier: BSD-3-Clause
#include "run/filter.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "run/bpf.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::run {
namespace {

constexpr u32 kX32Bit = 0x4000'0000;
constexpr u32 kI386Ioctl = 54;
constexpr u32 kX32Ioctl = kX32Bit + 514;
constexpr u32 kTypeMask = 0xff00;
constexpr u32 kOurType = u32{';'} << 8;

constexpr auto kRules = std::to_array<Rule>({
    {.name = "read", .number = SYS_read, .fd_arg = 0},
    {.name = "write", .number = SYS_write, .fd_arg = 0},
    {.name = "open", .number = SYS_open},
    {.name = "stat", .number = SYS_stat},
    {.name = "fstat", .number = SYS_fstat},
    {.name = "lstat", .number = SYS_lstat},
    {.name = "lseek", .number = SYS_lseek, .fd_arg = 0},
    {.name = "mmap", .number = SYS_mmap, .fd_arg = 4, .offset_arg = 5},
    {.name = "ioctl", .number = SYS_ioctl, .type_arg = 1},
    {.name = "pread64", .number = SYS_pread64, .fd_arg = 0, .offset_arg = 3},
    {.name = "pwrite64", .number = SYS_pwrite64, .fd_arg = 0, .offset_arg = 3},
    {.name = "readv", .number = SYS_readv, .fd_arg = 0},
    {.name = "writev", .number = SYS_writev, .fd_arg = 0},
    {.name = "access", .number = SYS_access},
    {.name = "execve", .number = SYS_execve},  // not to answer it: a new memory is about to replace the old one
    {.name = "ftruncate", .number = SYS_ftruncate, .fd_arg = 0},
    {.name = "getdents", .number = SYS_getdents, .fd_arg = 0},
    {.name = "creat", .number = SYS_creat},
    {.name = "readlink", .number = SYS_readlink},
    {.name = "getxattr", .number = SYS_getxattr},
    {.name = "lgetxattr", .number = SYS_lgetxattr},
    {.name = "listxattr", .number = SYS_listxattr},
    {.name = "llistxattr", .number = SYS_llistxattr},
    {.name = "getdents64", .number = SYS_getdents64, .fd_arg = 0},
    {.name = "openat", .number = SYS_openat},
    {.name = "newfstatat", .number = SYS_newfstatat},
    {.name = "readlinkat", .number = SYS_readlinkat},
    {.name = "faccessat", .number = SYS_faccessat},
    {.name = "fallocate", .number = SYS_fallocate, .fd_arg = 0},
    {.name = "preadv", .number = SYS_preadv, .fd_arg = 0, .offset_arg = 3},
    {.name = "pwritev", .number = SYS_pwritev, .fd_arg = 0, .offset_arg = 3},
    {.name = "execveat", .number = SYS_execveat},
    {.name = "preadv2", .number = SYS_preadv2, .fd_arg = 0, .offset_arg = 3},
    {.name = "pwritev2", .number = SYS_pwritev2, .fd_arg = 0, .offset_arg = 3},
    {.name = "statx", .number = SYS_statx},
    {.name = "openat2", .number = SYS_openat2},
    {.name = "faccessat2", .number = SYS_faccessat2},
});

// What emulated huge pages need beside. mmap: files of the pool have any number; the dynamic linker's maps pass.
constexpr auto kHugeRules = std::to_array<Rule>({
    {.name = "mmap",
     .number = SYS_mmap,
     .fd_arg = 4,
     .offset_arg = 5,
     .flag_arg = 3,
     .flags = MAP_HUGETLB,
     .passing_flags = kPassingMapFlag},
    {.name = "ftruncate", .number = SYS_ftruncate},
    {.name = "fstatfs", .number = SYS_fstatfs},
    {.name = "memfd_create", .number = SYS_memfd_create, .flag_arg = 1, .flags = MFD_HUGETLB},
});

constexpr u32 arg_low(int arg) { return static_cast<u32>(offsetof(seccomp_data, args)) + 8 * static_cast<u32>(arg); }
constexpr u32 arg_high(int arg) { return arg_low(arg) + 4; }

// The dispatch and one block for each distinct kind of rule. A binary search over the numbers keeps the cost of every
// call the same: five or six comparisons, then at most five words of arguments.
class Builder {
 public:
  std::vector<sock_filter> build(std::span<const Rule> rules) {
    const Label other_arch = bpf_.make_label(), x32 = bpf_.make_label();
    bpf_.load(offsetof(seccomp_data, arch));
    const Label native = bpf_.make_label();
    bpf_.jump_if_equal(AUDIT_ARCH_X86_64, native);
    bpf_.jump(other_arch);
    bpf_.place(native);
    bpf_.load(offsetof(seccomp_data, nr));
    bpf_.jump_if_at_least(kX32Bit, x32);
    search(rules);
    for (const Block& b : blocks_) emit(b);
    bpf_.place(notify_);
    bpf_.verdict(SECCOMP_RET_USER_NOTIF);
    bpf_.place(x32);
    foreign(kX32Ioctl);
    bpf_.place(other_arch);
    bpf_.load(offsetof(seccomp_data, nr));
    foreign(kI386Ioctl);
    return bpf_.finish();
  }

 private:
  struct Block {
    Rule rule;
    Label label;
  };

  Label block_of(const Rule& rule) {
    if (rule.always()) return notify_;
    for (const Block& b : blocks_) {
      if (b.rule.fd_arg == rule.fd_arg && b.rule.offset_arg == rule.offset_arg && b.rule.type_arg == rule.type_arg &&
          b.rule.flag_arg == rule.flag_arg && b.rule.flags == rule.flags && b.rule.passing_flags == rule.passing_flags)
        return b.label;
    }
    blocks_.push_back({rule, bpf_.make_label()});
    return blocks_.back().label;
  }

  void search(std::span<const Rule> rules) {
    if (rules.size() == 1) {
      bpf_.jump_if_equal(rules[0].number, block_of(rules[0]));
      bpf_.verdict(SECCOMP_RET_ALLOW);
      return;
    }
    const std::size_t half = rules.size() / 2;
    const Label upper = bpf_.make_label();
    bpf_.jump_if_at_least(rules[half].number, upper);
    search(rules.first(half));
    bpf_.place(upper);
    search(rules.subspan(half));
  }

  void emit(const Block& b) {
    bpf_.place(b.label);
    if (b.rule.type_arg != Rule::kNone) {
      bpf_.load(arg_low(b.rule.type_arg));
      bpf_.bit_and(kTypeMask);
      bpf_.jump_if_equal(kOurType, notify_);
    }
    if (b.rule.flag_arg != Rule::kNone) {
      const Label other = bpf_.make_label();
      bpf_.load(arg_low(b.rule.flag_arg));
      bpf_.bit_and(b.rule.flags);
      bpf_.jump_if_equal(0, other);
      bpf_.jump(notify_);
      bpf_.place(other);
    }
    if (b.rule.offset_arg != Rule::kNone) {
      bpf_.load(arg_high(b.rule.offset_arg));
      bpf_.jump_if_at_least(static_cast<u32>(vfio::kRegionBase >> 32), notify_);
    }
    if (b.rule.fd_arg != Rule::kNone) {
      const Label allow = bpf_.make_label();
      bpf_.load(arg_low(b.rule.fd_arg));
      bpf_.jump_if_at_least(0x8000'0000, allow);
      bpf_.jump_if_at_least(kFirstFd, notify_);
      if (b.rule.passing_flags != 0) {
        bpf_.load(arg_low(b.rule.flag_arg));
        bpf_.bit_and(b.rule.passing_flags);
        bpf_.jump_if_equal(0, notify_);
      }
      bpf_.place(allow);
    }
    bpf_.verdict(SECCOMP_RET_ALLOW);
  }

  // Pre: A holds the number of a call that came through another entry.
  void foreign(u32 ioctl_number) {
    const Label is_ioctl = bpf_.make_label(), refuse = bpf_.make_label();
    bpf_.jump_if_equal(ioctl_number, is_ioctl);
    bpf_.verdict(SECCOMP_RET_ALLOW);
    bpf_.place(is_ioctl);
    bpf_.load(arg_low(1));
    bpf_.bit_and(kTypeMask);
    bpf_.jump_if_equal(kOurType, refuse);
    bpf_.verdict(SECCOMP_RET_ALLOW);
    bpf_.place(refuse);
    bpf_.verdict(SECCOMP_RET_ERRNO | ENOTTY);
  }

  Bpf bpf_;
  std::vector<Block> blocks_;
  Label notify_ = bpf_.make_label();
};

constexpr bool sorted() {
  for (std::size_t i = 1; i < kRules.size(); ++i) {
    if (kRules[i - 1].number >= kRules[i].number) return false;
  }
  return true;
}
static_assert(sorted(), "the binary search needs rising numbers");

}  // namespace

std::vector<Rule> filter_rules(HugetlbPolicy::Kind hugetlb) {
  std::vector<Rule> rules(kRules.begin(), kRules.end());
  if (hugetlb == HugetlbPolicy::Kind::kReal) return rules;
  for (const Rule& rule : kHugeRules) {
    const auto at = std::ranges::lower_bound(rules, rule.number, {}, &Rule::number);
    if (at != rules.end() && at->number == rule.number) {
      *at = rule;
    } else {
      rules.insert(at, rule);
    }
  }
  return rules;
}

std::vector<sock_filter> build_filter(HugetlbPolicy::Kind hugetlb) { return Builder().build(filter_rules(hugetlb)); }

}  // namespace iommufd::run
