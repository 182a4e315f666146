// SPDX-License-Identifier: BSD-3-Clause
// An instruction that stores to memory, as what it does: for stores that are trapped (store_traps.hpp). Decoded are those that
// compilers make of an assignment to a volatile object, and their relatives: MOV, MOVNTI and XCHG of general registers and
// constants. Whatever else stores (read-modify-write, strings, vectors) is left to the processor.
#pragma once

#include <sys/user.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "base/types.hpp"

namespace iommufd::run {

inline constexpr std::size_t kLongestInstruction = 15;

// A general register or a part of one.
struct RegisterPart {
  u8 number = 0;  // as instructions encode it: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 ...
  u8 size = 0;    // bytes
  u8 shift = 0;   // 8 for ah and its like

  [[nodiscard]] u64 of(const user_regs_struct& registers) const;
  // As the processor does: a write of 4 bytes clears the upper half, smaller ones keep the rest.
  void set(user_regs_struct& registers, u64 value) const;
};

struct StoreInstruction {
  u64 address = 0;
  u8 size = 0;  // bytes: 1, 2, 4, 8
  u64 value = 0;
  std::optional<RegisterPart> exchanged{};  // XCHG: gets what the memory held
  u64 next = 0;                             // the instruction pointer afterwards

  [[nodiscard]] std::array<std::byte, 8> bytes() const;
};

// The instruction at the beginning of `code`, which may be cut off, at registers.rip. Nothing: it is none of those.
std::optional<StoreInstruction> decode_store(std::span<const std::byte> code, const user_regs_struct& registers);

}  // namespace iommufd::run
