// SPDX-License-Identifier: BSD-3-Clause
// The system call filter, run by an interpreter of classic BPF: what is notified, what is refused, what passes; and how
// many instructions a call costs.
#include "run/filter.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "vfio/file_memory.hpp"

namespace iommufd::run {
namespace {

constexpr u64 kRegion = vfio::kRegionBase;

struct Verdict {
  u32 value = 0;
  unsigned steps = 0;
};

// The instructions that bpf.hpp makes; anything else is a failure of the test.
Verdict interpret(const std::vector<sock_filter>& code, const seccomp_data& data) {
  u32 a = 0;
  Verdict v;
  for (std::size_t pc = 0;; ++pc) {
    if (pc >= code.size()) {
      ADD_FAILURE() << "ran off the end";
      return v;
    }
    ++v.steps;
    const sock_filter& i = code[pc];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        EXPECT_LE(i.k + 4, sizeof(data));
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, sizeof(a));
        break;
      case BPF_ALU | BPF_AND | BPF_K: a &= i.k; break;
      case BPF_JMP | BPF_JA: pc += i.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: pc += a == i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: pc += a >= i.k ? i.jt : i.jf; break;
      case BPF_RET | BPF_K: v.value = i.k; return v;
      default: ADD_FAILURE() << "instruction " << i.code; return v;
    }
  }
}

class FilterTest : public testing::Test {
 protected:
  [[nodiscard]] Verdict run(u32 arch, int nr, std::initializer_list<u64> args) const {
    seccomp_data data{};
    data.nr = nr;
    data.arch = arch;
    std::copy(args.begin(), args.end(), std::begin(data.args));
    return interpret(code_, data);
  }
  [[nodiscard]] bool notified(long nr, std::initializer_list<u64> args) const {
    const Verdict v = run(AUDIT_ARCH_X86_64, static_cast<int>(nr), args);
    EXPECT_TRUE(v.value == SECCOMP_RET_USER_NOTIF || v.value == SECCOMP_RET_ALLOW) << v.value;
    return v.value == SECCOMP_RET_USER_NOTIF;
  }
  std::vector<sock_filter> code_ = build_filter();
};

class HugeFilterTest : public FilterTest {
 protected:
  HugeFilterTest() { code_ = build_filter(HugetlbPolicy::Kind::kEmulate); }
};

TEST_F(HugeFilterTest, huge_memory_and_mappings_of_files_are_notified) {
  EXPECT_TRUE(notified(SYS_memfd_create, {0, 4}));
  EXPECT_FALSE(notified(SYS_memfd_create, {0, 3}));
  EXPECT_TRUE(notified(SYS_ftruncate, {3, 0}));
  EXPECT_TRUE(notified(SYS_fstatfs, {3, 0}));
  EXPECT_TRUE(notified(SYS_mmap, {0, 4096, 3, 0x40022, ~u64{0}, 0}));
  EXPECT_FALSE(notified(SYS_mmap, {0, 4096, 3, 0x22, ~u64{0}, 0}));
  EXPECT_TRUE(notified(SYS_mmap, {0, 4096, 3, 1, 3, 0}));
  EXPECT_FALSE(notified(SYS_mmap, {0, 4096, 3, 2 | kPassingMapFlag, 3, 0}));
  EXPECT_TRUE(notified(SYS_mmap, {0, 4096, 3, 1 | kPassingMapFlag, 512, 0}));  // ours, perhaps
  EXPECT_TRUE(notified(SYS_mmap, {0, 4096, 3, 1 | kPassingMapFlag, 3, kRegion}));
}

TEST_F(FilterTest, huge_memory_is_the_kernels_business) {
  EXPECT_FALSE(notified(SYS_memfd_create, {0, 4}));
  EXPECT_FALSE(notified(SYS_mmap, {0, 4096, 3, 0x40022, ~u64{0}, 0}));
  EXPECT_FALSE(notified(SYS_fstatfs, {3, 0}));
}

TEST_F(FilterTest, ioctls_of_our_type_are_notified_on_every_descriptor) {
  for (const u64 fd : {0ul, 511ul, 512ul, 0xffff'fffful}) {
    EXPECT_TRUE(notified(SYS_ioctl, {fd, 0x3b85}));
    EXPECT_TRUE(notified(SYS_ioctl, {fd, 0xdead'beef'c0ff'3b00}));  // the kernel takes the low half only
    EXPECT_FALSE(notified(SYS_ioctl, {fd, 0x5401}));
    EXPECT_FALSE(notified(SYS_ioctl, {fd, 0x3b}));
    EXPECT_FALSE(notified(SYS_ioctl, {fd, 0x3b'0000}));
  }
}

TEST_F(FilterTest, calls_by_descriptor_are_notified_from_512_to_the_largest) {
  for (const long nr :
       {SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_lseek, SYS_ftruncate, SYS_fallocate, SYS_getdents,
        SYS_getdents64, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2}) {
    EXPECT_FALSE(notified(nr, {511})) << nr;
    EXPECT_TRUE(notified(nr, {512})) << nr;
    EXPECT_TRUE(notified(nr, {0x7fff'ffff})) << nr;
    EXPECT_FALSE(notified(nr, {0x8000'0000})) << nr;
    EXPECT_FALSE(notified(nr, {0xffff'ffff})) << nr;
    EXPECT_TRUE(notified(nr, {0xffff'ffff'0000'0200})) << nr;
  }
  EXPECT_FALSE(notified(SYS_mmap, {0, 4096, 1, 2, 511, 0}));
  EXPECT_TRUE(notified(SYS_mmap, {0, 4096, 1, 2, 512, 0}));
  EXPECT_FALSE(notified(SYS_mmap, {0, 4096, 3, 0x22, ~u64{0}, 0}));  // anonymous
}

TEST_F(FilterTest, calls_by_offset_are_notified_from_the_first_region_on) {
  for (const long nr : {SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2}) {
    EXPECT_FALSE(notified(nr, {3, 0, 0, kRegion - 1})) << nr;
    EXPECT_TRUE(notified(nr, {3, 0, 0, kRegion})) << nr;
    EXPECT_TRUE(notified(nr, {3, 0, 0, ~u64{0}})) << nr;
  }
  EXPECT_FALSE(notified(SYS_mmap, {0, 4096, 1, 1, 3, kRegion - 4096}));
  EXPECT_TRUE(notified(SYS_mmap, {0, 4096, 1, 1, 3, kRegion}));
}

TEST_F(FilterTest, path_calls_and_exec_are_always_notified) {
  for (const long nr :
       {SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_fstat,
        SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat, SYS_execve, SYS_execveat})
    EXPECT_TRUE(notified(nr, {})) << nr;
}

// A call that no rule names is allowed whatever its arguments are, so that the kernel need not run the filter for it.
TEST_F(FilterTest, every_other_call_is_allowed_without_a_look_at_its_arguments) {
  const std::vector<Rule> rules = filter_rules();
  for (int nr = 0; nr < 600; ++nr) {
    if (std::ranges::find(rules, static_cast<u32>(nr), &Rule::number) != rules.end()) continue;
    EXPECT_FALSE(notified(nr, {~u64{0}, ~u64{0}, ~u64{0}, ~u64{0}, ~u64{0}, ~u64{0}})) << nr;
    EXPECT_FALSE(notified(nr, {512, 0x3b85, 512, kRegion, 512, kRegion})) << nr;
  }
}

TEST_F(FilterTest, i386_and_x32_get_enotty_for_our_ioctls_and_nothing_else) {
  constexpr u32 kNoTty = SECCOMP_RET_ERRNO | ENOTTY;
  EXPECT_EQ(run(AUDIT_ARCH_I386, 54, {512, 0x3b85}).value, kNoTty);
  EXPECT_EQ(run(AUDIT_ARCH_I386, 54, {512, 0x5401}).value, u32{SECCOMP_RET_ALLOW});
  EXPECT_EQ(run(AUDIT_ARCH_X86_64, 0x4000'0000 + 514, {512, 0x3b85}).value, kNoTty);
  EXPECT_EQ(run(AUDIT_ARCH_X86_64, 0x4000'0000 + 514, {512, 0x5401}).value, u32{SECCOMP_RET_ALLOW});
  for (int nr = 0; nr < 600; ++nr) {
    if (nr != 54) {
      EXPECT_EQ(run(AUDIT_ARCH_I386, nr, {512, 0x3b85}).value, u32{SECCOMP_RET_ALLOW}) << nr;
    }
    if (nr != 514) {
      EXPECT_EQ(run(AUDIT_ARCH_X86_64, 0x4000'0000 + nr, {512, 0x3b85}).value, u32{SECCOMP_RET_ALLOW}) << nr;
    }
  }
}

// What a call costs: a few more instructions than a bare comparison of its number.
TEST_F(FilterTest, the_way_to_a_verdict_is_short) {
  unsigned longest = 0;
  for (int nr = 0; nr < 600; ++nr)
    longest = std::max(longest, run(AUDIT_ARCH_X86_64, nr, {511, 0, 0, kRegion - 1, 511, kRegion - 4096}).steps);
  EXPECT_LE(longest, 32u);
  EXPECT_LE(code_.size(), 400u);
}

}  // namespace
}  // namespace iommufd::run
