// SPDX-License-Identifier: BSD-3-Clause
// IOMMU_OPTION and IOMMU_DESTROY (spec iommufd-core 3.9, 1.9).
#include <cstddef>

#include "base/explain.hpp"
#include "core/ioas.hpp"
#include "ioctl/iommu_commands.hpp"

namespace iommufd::ioctl {
namespace {

Err bad_op(u16 op) { return reject(Errno::kOpNotSupp, {"op", op, "must be SET or GET", "iommufd-core 3.9"}); }
Err bad_value(u64 value) { return reject(Errno::kInval, {"val64", value, "must be 0 or 1", "iommufd-core 3.9"}); }

Result<void> limit_mode(core::Context& ctx, Call& call, abi::Option& cmd) {
  if (cmd.object_id != 0)
    return reject(Errno::kOpNotSupp,
                  {"object_id", cmd.object_id, "must be 0: the option is the context's", "iommufd-core 3.9"});
  if (cmd.op == abi::Option::kOpGet) {
    cmd.val64 = ctx.limit_mode() == core::LimitMode::kProcess ? 1 : 0;
    return {};
  }
  if (cmd.op != abi::Option::kOpSet) return bad_op(cmd.op);
  if (!call.capable(mem::Capability::kSysResource))
    return reject(Errno::kPerm, {"capability", static_cast<u64>(mem::Capability::kSysResource),
                                 "needs CAP_SYS_RESOURCE (see --caps)", "iommufd-core 3.9"});
  // Busy is reported before a bad value.
  IOMMUFD_TRY(ctx.set_limit_mode(cmd.val64 == 1   ? core::LimitMode::kProcess
                                 : cmd.val64 == 0 ? core::LimitMode::kUser
                                                  : ctx.limit_mode()));
  if (cmd.val64 > 1) return bad_value(cmd.val64);
  return {};
}

Result<void> huge_pages(core::Context& ctx, abi::Option& cmd) {
  const Result<core::Use<core::Ioas>> ioas = ctx.get<core::Ioas>(ObjectId{cmd.object_id});
  if (!ioas) return reject(Errno::kNoEnt, {"object_id", cmd.object_id, "must be an IOAS", "iommufd-core 3.9"});
  if (cmd.op == abi::Option::kOpGet) {
    cmd.val64 = (*ioas)->huge_pages() ? 1 : 0;
    return {};
  }
  if (cmd.op != abi::Option::kOpSet) return bad_op(cmd.op);
  if (cmd.val64 > 1) return bad_value(cmd.val64);
  return (*ioas)->set_huge_pages(cmd.val64 == 1);
}

}  // namespace

Result<void> option(core::Context& ctx, Arguments<abi::Option>& a) {
  if (a.cmd.reserved != 0)
    return reject(Errno::kOpNotSupp, {"__reserved", a.cmd.reserved, "must be 0", "iommufd-core 3.9 row 1"});
  switch (a.cmd.option_id) {
    case abi::Option::kRlimitMode: IOMMUFD_TRY(limit_mode(ctx, a.call(), a.cmd)); break;
    case abi::Option::kHugePages: IOMMUFD_TRY(huge_pages(ctx, a.cmd)); break;
    default:
      return reject(Errno::kOpNotSupp, {"option_id", a.cmd.option_id, "unknown option", "iommufd-core 3.9 row 2"});
  }
  return a.reply_field(offsetof(abi::Option, val64), sizeof a.cmd.val64);
}

Result<void> destroy(core::Context& ctx, Arguments<abi::Destroy>& a) { return ctx.destroy(ObjectId{a.cmd.id}); }

}  // namespace iommufd::ioctl
