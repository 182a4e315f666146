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

// A table whose depth does not change. Errors: kInval (a number out of range), kOpNotSupp (a top level that is too small for
// va_bits, an unknown feature), kNoMem; of a top level that the format does not have, F::kBadLevel: kOpNotSupp, LPAE kInval.
template <unsigned VaBits, unsigned OaBits>
struct FixedDepthConfig {
  unsigned top_level = 3;  // 3: a table of four levels
  unsigned va_bits = VaBits;
  unsigned oa_bits = OaBits;
  Features features{};
  u64 page_sizes = ~u64{0};  // without those that the hardware lacks
};

// Intel VT-d second stage, top levels 2, 3 and 4. `va_bits` is the smaller of the width of the levels and MGAW. Features:
// kForceCoherence, kForceWriteable, kNonCoherentWalk. Hardware may lack 1 GiB and 2 MiB.
using VtdConfig = FixedDepthConfig<48, 52>;
Result<std::unique_ptr<Table>> make_vtd_second_stage(TableArena& arena, const VtdConfig& config = {});

// x86-64, top levels 3 and 4: AMD "v2" (47 or 56 bits, not sign extended) and VT-d first stage (48 or 57, sign extended).
// Features: kNonCoherentWalk, kSignExtend. Hardware may lack 1 GiB.
using X86Config = FixedDepthConfig<47, 52>;
Result<std::unique_ptr<Table>> make_x86(TableArena& arena, const X86Config& config = {});

// RISC-V, sign extended. Errors: kInval (a width other than 39, 48 or 57; oa_bits), kNoMem.
struct RiscVConfig {
  unsigned va_bits = 48;
  unsigned oa_bits = 56;  // 1..56
  bool svnapot = true;    // entries of 64 KiB
};
Result<std::unique_ptr<Table>> make_riscv(TableArena& arena, const RiscVConfig& config = {});

// ARM LPAE stage 2, granule 4 KiB, with the contiguous hint; top levels 1, 2 and 3, IAS and OAS. Features: kNonCoherentWalk.
using ArmLpaeConfig = FixedDepthConfig<48, 48>;
Result<std::unique_ptr<Table>> make_arm_lpae(TableArena& arena, const ArmLpaeConfig& config = {});

// The mock IOMMU's (spec selftest-abi 5.1): every power of two from 2 KiB to 128 GiB, or 4 KiB and 1 MiB only.
enum class MockSizes : u8 { kDefault, kHuge };
Result<std::unique_ptr<Table>> make_mock(TableArena& arena, MockSizes sizes);

}  // namespace iommufd::pt
