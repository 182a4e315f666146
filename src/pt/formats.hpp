// SPDX-License-Identifier: BSD-3-Clause
// Makes page tables: one function per format, with the parameters that a driver of that IOMMU chooses (spec
// page-table-formats 12). The arena outlives the table.
#pragma once

#include <memory>

#include "base/result.hpp"
#include "pt/feature.hpp"
#include "pt/table.hpp"

namespace iommufd::pt {

// AMD I/O page tables, "v1". The root grows as addresses need it. Errors: kInval (a number out of range), kNoMem.
struct AmdV1Config {
  unsigned start_level = 2;         // 1..5; level 2 covers 39 bits
  unsigned va_bits = 64;            // 1..64
  unsigned oa_bits = 52;            // 1..52
  u64 page_sizes = ~u64{0};         // sizes that may be used
  TopListener* listener = nullptr;  // told when the root grows; outlives the table
};
Result<std::unique_ptr<Table>> make_amd_v1(TableArena& arena, const AmdV1Config& config = {});

// Intel VT-d second stage. Errors: kInval (a number out of range), kOpNotSupp (level other than 2..4, a level too small
// for va_bits, an unknown feature), kNoMem.
struct VtdConfig {
  unsigned top_level = 3;  // 2, 3 or 4: tables of three, four or five levels
  unsigned va_bits = 48;   // the smaller of the width of the levels and MGAW
  unsigned oa_bits = 52;
  Features features{};       // of kForceCoherence, kForceWriteable, kNonCoherentWalk
  u64 page_sizes = ~u64{0};  // without 1 GiB or 2 MiB where the hardware lacks them
};
Result<std::unique_ptr<Table>> make_vtd_second_stage(TableArena& arena, const VtdConfig& config = {});

// x86-64: AMD "v2" (47 or 56 bits, not sign extended) and VT-d first stage (48 or 57, sign extended). Errors: as for VT-d, and
// top levels 3 and 4.
struct X86Config {
  unsigned top_level = 3;
  unsigned va_bits = 47;
  unsigned oa_bits = 52;
  Features features{};       // of kNonCoherentWalk, kSignExtend
  u64 page_sizes = ~u64{0};  // without 1 GiB where the hardware lacks it
};
Result<std::unique_ptr<Table>> make_x86(TableArena& arena, const X86Config& config = {});

// RISC-V, sign extended. Errors: kInval (a width other than 39, 48 or 57; oa_bits), kNoMem.
struct RiscVConfig {
  unsigned va_bits = 48;
  unsigned oa_bits = 56;  // 1..56
  bool svnapot = true;    // entries of 64 KiB
};
Result<std::unique_ptr<Table>> make_riscv(TableArena& arena, const RiscVConfig& config = {});

// ARM LPAE stage 2, granule 4 KiB, with the contiguous hint. Errors: kInval (a number out of range), kOpNotSupp (a level too
// small for va_bits, an unknown feature), kNoMem.
struct ArmLpaeConfig {
  unsigned top_level = 3;  // 1, 2 or 3: tables of two, three or four levels
  unsigned va_bits = 48;   // IAS
  unsigned oa_bits = 48;   // OAS
  Features features{};     // of kNonCoherentWalk
  u64 page_sizes = ~u64{0};
};
Result<std::unique_ptr<Table>> make_arm_lpae(TableArena& arena, const ArmLpaeConfig& config = {});

// The mock IOMMU's (spec selftest-abi 5.1): every power of two from 2 KiB to 128 GiB, or 4 KiB and 1 MiB only.
enum class MockSizes : u8 { kDefault, kHuge };
Result<std::unique_ptr<Table>> make_mock(TableArena& arena, MockSizes sizes);

}  // namespace iommufd::pt
