// SPDX-License-Identifier: BSD-3-Clause
#include "run/store_instruction.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace iommufd::run {
namespace {

// Instructions as the assembler makes them; never run.
#define INSTRUCTION(name, text)                                                           \
  extern "C" const std::byte name##_begin[], name##_end[];                                \
  __asm__(".pushsection .rodata\n" #name "_begin: " text "\n" #name "_end: .popsection"); \
  const std::span<const std::byte> name(name##_begin, static_cast<std::size_t>(name##_end - name##_begin))

INSTRUCTION(i_movb, "movb %cl, (%rax)");
INSTRUCTION(i_movb_high, "movb %ch, (%rax)");
INSTRUCTION(i_movb_sil, "movb %sil, (%rax)");
INSTRUCTION(i_movw, "movw %r9w, 2(%rax)");
INSTRUCTION(i_movl, "movl %ecx, -4(%rbx,%rdx,4)");
INSTRUCTION(i_movq, "movq %r15, (%rsp)");
INSTRUCTION(i_movq_r13, "movq %rcx, 0x1000(%r13,%r12,8)");
INSTRUCTION(i_movb_const, "movb $0xfe, (%rax)");
INSTRUCTION(i_movw_const, "movw $0xfedc, (%rax)");
INSTRUCTION(i_movl_const, "movl $0x80000001, (%rax)");
INSTRUCTION(i_movq_const, "movq $-2, (%rax)");
INSTRUCTION(i_relative, "movl %ecx, 0x100(%rip)");
INSTRUCTION(i_relative_const, "movl $7, 0x100(%rip)");
INSTRUCTION(i_absolute, "movabs %eax, 0x123456789abcdef0");
INSTRUCTION(i_thread, "movl %ecx, %fs:8(%rax)");
INSTRUCTION(i_short_address, "movl %ecx, (%eax,%edx)");
INSTRUCTION(i_movnti, "movnti %rcx, (%rax)");
INSTRUCTION(i_xchg, "xchg %ecx, (%rax)");
INSTRUCTION(i_xchg_byte, "xchg %ch, (%rax)");
INSTRUCTION(i_load, "movl (%rax), %ecx");
INSTRUCTION(i_segment, "movw %ds, (%rax)");
INSTRUCTION(i_or, "lock orl %ecx, (%rax)");
INSTRUCTION(i_add, "addl %ecx, (%rax)");
INSTRUCTION(i_string, "rep movsb");
INSTRUCTION(i_stos, "stosl");
INSTRUCTION(i_vector, "movdqu %xmm0, (%rax)");
INSTRUCTION(i_push, "pushq %rcx");
INSTRUCTION(i_registers, "movl %ecx, %eax");

user_regs_struct registers() {
  user_regs_struct r{};
  r.rax = 0x0000'7000'0000'1000;
  r.rbx = 0x0000'7000'0000'2000;
  r.rcx = 0x1122'3344'5566'7788;
  r.rdx = 0x10;
  r.rsi = 0xa1a2'a3a4'a5a6'a7a8;
  r.rsp = 0x0000'7fff'0000'0000;
  r.r9 = 0x9999'9999'9999'1234;
  r.r12 = 3;
  r.r13 = 0x0000'7000'0000'3000;
  r.r15 = 0x1515'1515'1515'1515;
  r.rip = 0x0000'5555'0000'0000;
  r.fs_base = 0x0000'1000'0000'0000;
  return r;
}

void expect_store(std::span<const std::byte> code, u64 address, unsigned size, u64 value) {
  const user_regs_struct r = registers();
  const auto store = decode_store(code, r);
  ASSERT_TRUE(store);
  EXPECT_EQ(store->address, address);
  EXPECT_EQ(store->size, size);
  EXPECT_EQ(store->value, value);
  EXPECT_EQ(store->next, r.rip + code.size());
  // Neither what follows it nor its being the last of a page matters.
  std::vector<std::byte> longer(code.begin(), code.end());
  longer.resize(kLongestInstruction, std::byte{0x90});
  EXPECT_EQ(decode_store(longer, r)->next, store->next);
  EXPECT_FALSE(decode_store(code.first(code.size() - 1), r));
}

TEST(StoreInstruction, registers_are_stored_in_their_size) {
  expect_store(i_movb, 0x7000'0000'1000, 1, 0x88);
  expect_store(i_movb_high, 0x7000'0000'1000, 1, 0x77);
  expect_store(i_movb_sil, 0x7000'0000'1000, 1, 0xa8);
  expect_store(i_movw, 0x7000'0000'1002, 2, 0x1234);
  expect_store(i_movl, 0x7000'0000'203c, 4, 0x5566'7788);
  expect_store(i_movq, 0x7fff'0000'0000, 8, 0x1515'1515'1515'1515);
  expect_store(i_movq_r13, 0x7000'0000'4018, 8, 0x1122'3344'5566'7788);
  expect_store(i_movnti, 0x7000'0000'1000, 8, 0x1122'3344'5566'7788);
}

TEST(StoreInstruction, constants_are_extended_to_the_size_of_the_store) {
  expect_store(i_movb_const, 0x7000'0000'1000, 1, 0xfe);
  expect_store(i_movw_const, 0x7000'0000'1000, 2, 0xfedc);
  expect_store(i_movl_const, 0x7000'0000'1000, 4, 0x8000'0001);
  expect_store(i_movq_const, 0x7000'0000'1000, 8, ~u64{1});
}

TEST(StoreInstruction, addresses_of_every_kind) {
  expect_store(i_relative, registers().rip + i_relative.size() + 0x100, 4, 0x5566'7788);
  expect_store(i_relative_const, registers().rip + i_relative_const.size() + 0x100, 4, 7);
  expect_store(i_absolute, 0x1234'5678'9abc'def0, 4, 0x1000);
  expect_store(i_thread, 0x8000'0000'1008, 4, 0x5566'7788);
  expect_store(i_short_address, 0x1010, 4, 0x5566'7788);
}

TEST(StoreInstruction, an_exchange_gives_the_register_what_memory_held) {
  user_regs_struct r = registers();
  const auto store = decode_store(i_xchg, r);
  ASSERT_TRUE(store && store->exchanged);
  EXPECT_EQ(store->value, 0x5566'7788);
  store->exchanged->set(r, 0xdead'beef);
  EXPECT_EQ(r.rcx, 0xdead'beef);  // the upper half is cleared

  r = registers();
  const auto byte = decode_store(i_xchg_byte, r);
  ASSERT_TRUE(byte && byte->exchanged);
  EXPECT_EQ(byte->value, 0x77);
  byte->exchanged->set(r, 0xab);
  EXPECT_EQ(r.rcx, 0x1122'3344'5566'ab88);
}

TEST(StoreInstruction, what_is_no_plain_store_is_left_to_the_processor) {
  for (const auto code : {i_load, i_segment, i_or, i_add, i_string, i_stos, i_vector, i_push, i_registers})
    EXPECT_FALSE(decode_store(code, registers()));
  EXPECT_FALSE(decode_store({}, registers()));
  constexpr std::array kNonsense{std::byte{0x06}, std::byte{0x07}, std::byte{0x0e}};
  EXPECT_FALSE(decode_store(kNonsense, registers()));
}

TEST(StoreInstruction, bytes_are_little_endian) {
  const StoreInstruction store{.size = 4, .value = 0x0403'0201};
  EXPECT_EQ(store.bytes(), (std::array{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{0},
                                       std::byte{0}, std::byte{0}, std::byte{0}}));
}

}  // namespace
}  // namespace iommufd::run
