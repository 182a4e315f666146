// SPDX-License-Identifier: BSD-3-Clause
#include "run/store_instruction.hpp"

#include <capstone/capstone.h>

#include <memory>

namespace iommufd::run {
namespace {

using Slot = unsigned long long user_regs_struct::*;
constexpr std::array<Slot, 16> kSlots{
    &user_regs_struct::rax, &user_regs_struct::rcx, &user_regs_struct::rdx, &user_regs_struct::rbx,
    &user_regs_struct::rsp, &user_regs_struct::rbp, &user_regs_struct::rsi, &user_regs_struct::rdi,
    &user_regs_struct::r8,  &user_regs_struct::r9,  &user_regs_struct::r10, &user_regs_struct::r11,
    &user_regs_struct::r12, &user_regs_struct::r13, &user_regs_struct::r14, &user_regs_struct::r15};

constexpr std::array<std::array<x86_reg, 16>, 4> kNames{{
    {X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL, X86_REG_SIL, X86_REG_DIL, X86_REG_R8B,
     X86_REG_R9B, X86_REG_R10B, X86_REG_R11B, X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B},
    {X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP, X86_REG_SI, X86_REG_DI, X86_REG_R8W,
     X86_REG_R9W, X86_REG_R10W, X86_REG_R11W, X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W},
    {X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP, X86_REG_ESI, X86_REG_EDI,
     X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D, X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D},
    {X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI, X86_REG_R8,
     X86_REG_R9, X86_REG_R10, X86_REG_R11, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15},
}};
constexpr std::array kHighBytes{X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH};

constexpr u64 low_bytes(u8 size) { return size == 8 ? ~u64{0} : (u64{1} << (8 * size)) - 1; }

std::optional<RegisterPart> part_of(x86_reg name) {
  for (std::size_t size_lg2 = 0; size_lg2 < kNames.size(); ++size_lg2)
    for (std::size_t number = 0; number < kSlots.size(); ++number)
      if (kNames[size_lg2][number] == name)
        return RegisterPart{static_cast<u8>(number), static_cast<u8>(1U << size_lg2), 0};
  for (std::size_t number = 0; number < kHighBytes.size(); ++number)
    if (kHighBytes[number] == name) return RegisterPart{static_cast<u8>(number), 1, 8};
  return std::nullopt;
}

std::optional<u64> value_of(x86_reg name, const user_regs_struct& registers, u64 next) {
  switch (name) {
    case X86_REG_INVALID:
    case X86_REG_RIZ:
    case X86_REG_EIZ: return 0;
    case X86_REG_RIP: return next;
    case X86_REG_EIP: return next & low_bytes(4);
    default: break;
  }
  const std::optional<RegisterPart> part = part_of(name);
  if (!part) return std::nullopt;
  return part->of(registers);
}

std::optional<u64> address_of(const x86_op_mem& memory, u8 address_size, const user_regs_struct& registers, u64 next) {
  const std::optional<u64> base = value_of(memory.base, registers, next);
  const std::optional<u64> index = value_of(memory.index, registers, next);
  if (!base || !index) return std::nullopt;
  u64 address = *base + *index * static_cast<u64>(memory.scale) + static_cast<u64>(memory.disp);
  address &= low_bytes(address_size);
  if (memory.segment == X86_REG_FS) address += registers.fs_base;
  if (memory.segment == X86_REG_GS) address += registers.gs_base;
  return address;
}

// Capstone's state of one thread, with room for an instruction.
class Decoder {
 public:
  Decoder() {
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle_) != CS_ERR_OK) return;
    cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON);
    instruction_ = cs_malloc(handle_);
  }
  ~Decoder() {
    if (instruction_ != nullptr) cs_free(instruction_, 1);
    if (handle_ != 0) cs_close(&handle_);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Null: no instruction. Good until the next call.
  const cs_insn* decode(std::span<const std::byte> code, u64 at) {
    if (instruction_ == nullptr) return nullptr;
    const auto* bytes = reinterpret_cast<const uint8_t*>(code.data());
    std::size_t left = code.size();
    return cs_disasm_iter(handle_, &bytes, &left, &at, instruction_) ? instruction_ : nullptr;
  }

 private:
  csh handle_ = 0;
  cs_insn* instruction_ = nullptr;
};

}  // namespace

u64 RegisterPart::of(const user_regs_struct& registers) const {
  return registers.*kSlots[number] >> shift & low_bytes(size);
}

void RegisterPart::set(user_regs_struct& registers, u64 value) const {
  const u64 kept = size >= 4 ? 0 : ~(low_bytes(size) << shift);
  registers.*kSlots[number] = (registers.*kSlots[number] & kept) | (value & low_bytes(size)) << shift;
}

std::array<std::byte, 8> StoreInstruction::bytes() const {
  std::array<std::byte, 8> out{};
  for (unsigned i = 0; i < size; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
  return out;
}

std::optional<StoreInstruction> decode_store(std::span<const std::byte> code, const user_regs_struct& registers) {
  thread_local Decoder decoder;
  const cs_insn* instruction = decoder.decode(code, registers.rip);
  if (instruction == nullptr) return std::nullopt;
  const bool exchange = instruction->id == X86_INS_XCHG;
  if (!exchange && instruction->id != X86_INS_MOV && instruction->id != X86_INS_MOVABS &&
      instruction->id != X86_INS_MOVNTI)
    return std::nullopt;
  const cs_x86& x86 = instruction->detail->x86;
  if (x86.op_count != 2) return std::nullopt;
  // XCHG has its operands in either order.
  const bool swapped = exchange && x86.operands[1].type == X86_OP_MEM;
  const cs_x86_op& to = x86.operands[swapped ? 1 : 0];
  const cs_x86_op& from = x86.operands[swapped ? 0 : 1];
  if (to.type != X86_OP_MEM || (to.size != 1 && to.size != 2 && to.size != 4 && to.size != 8)) return std::nullopt;

  StoreInstruction store{.size = to.size, .next = registers.rip + instruction->size};
  const std::optional<u64> address = address_of(to.mem, x86.addr_size, registers, store.next);
  if (!address) return std::nullopt;
  store.address = *address;
  if (from.type == X86_OP_IMM) {
    store.value = static_cast<u64>(from.imm) & low_bytes(to.size);
    return store;
  }
  if (from.type != X86_OP_REG) return std::nullopt;
  const std::optional<RegisterPart> part = part_of(from.reg);
  if (!part || part->size != to.size) return std::nullopt;  // a segment or control register
  store.value = part->of(registers);
  if (exchange) store.exchanged = part;
  return store;
}

}  // namespace iommufd::run
