// SPDX-License-Identifier: BSD-3-Clause
// Moving the charges of a context to another process (spec iommufd-core 3.10).
//
// The new owner is charged for everything first, so that the limit decides before anything moves; then each pages object
// moves by itself, which cannot fail.
#include <algorithm>

#include "base/rollback.hpp"
#include "core/context.hpp"
#include "core/ioas.hpp"

namespace iommufd::core {
namespace {

struct Move {
  Ref<mem::Pages> pages;
  u64 prepaid = 0;
};

Result<void> prepay(mem::Account& account, u64 pages, mem::Process& process) {
  if (pages == 0) return {};
  return account.charge(pages, IOMMUFD_TRY(process.memlock_limit()));
}

}  // namespace

Result<void> Context::change_process(const Ref<mem::Process>& process) {
  std::vector<Ref<Ioas>> ioases;
  {
    const MutexLock lock(mu_);
    for (const Slot& slot : slots_)
      if (slot.object && slot.object->type() == ObjectType::kIoas)
        ioases.emplace_back(static_cast<Ioas&>(*slot.object));
  }
  std::vector<Ref<mem::Pages>> all;
  for (const Ref<Ioas>& ioas : ioases) IOMMUFD_TRY(ioas->collect_file_pages(all));
  std::ranges::sort(all, {}, &Ref<mem::Pages>::get);
  all.erase(std::ranges::unique(all, {}, &Ref<mem::Pages>::get).begin(), all.end());

  std::vector<Move> moves;
  moves.reserve(all.size());
  u64 user = 0;
  u64 own = 0;
  for (const Ref<mem::Pages>& pages : all) {
    const u64 n = pages->charge_for(*process);
    (pages->mode() == mem::ChargeMode::kUser ? user : own) += n;
    moves.push_back({pages, n});
  }
  IOMMUFD_TRY(prepay(process->user_locked(), user, *process));
  Rollback repay{[&] { process->user_locked().uncharge(user); }};
  IOMMUFD_TRY(prepay(process->vm_locked(), own, *process));
  repay.commit();
  for (const Move& move : moves) move.pages->change_process(process, move.prepaid);
  return {};
}

}  // namespace iommufd::core
