// SPDX-License-Identifier: BSD-3-Clause
#include "core/context.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/assert.hpp"
#include "base/fault_point.hpp"
#include "core/group.hpp"

namespace iommufd::core {
namespace {

constexpr u32 kMaxId = 0x7fff'ffff;

std::size_t index_of(ObjectId id) { return std::to_underlying(id) - 1; }

}  // namespace

Context::Context(iommu::Platform& platform, LimitMode mode) : platform_(platform), limit_mode_(mode) {}

Context::~Context() {
  if (ContextWatcher* watcher = std::exchange(watcher_, nullptr)) watcher->before_end(*this);
  std::size_t count = 0;
  {
    const MutexLock lock(mu_);
    count = slots_.size();
  }
  for (bool progress = true; progress;) {
    progress = false;
    for (u32 id = 1; id <= count; ++id) progress |= destroy(ObjectId{id}).has_value();
  }
  const MutexLock lock(mu_);
  for (const Slot& slot : slots_) IOMMUFD_ASSERT(!slot.taken);
}

Result<void> Context::reserve(Object& object) {
  const MutexLock lock(mu_);
  if (free_.empty()) {
    if (slots_.size() >= kMaxId) return reject(Errno::kBusy, {"id", kMaxId, "all ids are in use", "iommufd-core 1.6"});
    if (slots_.size() == slots_.capacity()) {
      slots_.reserve(std::max(std::size_t{16}, 2 * slots_.size()));
      free_.reserve(slots_.capacity());  // so that freeing an id never allocates
    }
    slots_.emplace_back();
    free_.push_back(static_cast<u32>(slots_.size() - 1));
  }
  std::ranges::pop_heap(free_, std::greater{});
  const u32 index = free_.back();
  free_.pop_back();
  slots_[index].taken = true;
  object.id_ = ObjectId{index + 1};
  return {};
}

void Context::free_id_locked(ObjectId id) {
  Slot& slot = slots_[index_of(id)];
  IOMMUFD_ASSERT(slot.taken && !slot.object);
  slot.taken = false;
  free_.push_back(static_cast<u32>(index_of(id)));
  std::ranges::push_heap(free_, std::greater{});
  if (compat_ioas_ == id) compat_ioas_ = ObjectId{};
}

void Context::publish(Ref<Object> object) {
  const MutexLock lock(mu_);
  Slot& slot = slots_[index_of(object->id())];
  IOMMUFD_ASSERT(slot.taken && !slot.object);
  slot.object = std::move(object);
}

void Context::abort(const Ref<Object>& object) {
  object->teardown();
  const MutexLock lock(mu_);
  free_id_locked(object->id());
}

Result<Use<Object>> Context::get_any(ObjectId id) {
  IOMMUFD_TRY(fault::point(Errno::kNoEnt));
  const MutexLock lock(mu_);
  if (std::to_underlying(id) == 0 || index_of(id) >= slots_.size()) return Err(Errno::kNoEnt);
  const Ref<Object>& object = slots_[index_of(id)].object;
  if (!object) return Err(Errno::kNoEnt);
  Use<Object> use = Use<Object>::try_acquire(*object);
  if (!use) return Err(Errno::kNoEnt);
  return use;
}

void Context::announce_destroy(ObjectId id) {
  {
    const MutexLock lock(mu_);
    if (std::to_underlying(id) == 0 || index_of(id) >= slots_.size()) return;
    const Ref<Object>& object = slots_[index_of(id)].object;
    if (!object || object->type() != ObjectType::kHwptPaging) return;
  }
  watcher_->before_destroy(*this, id);
}

Result<void> Context::destroy(ObjectId id) {
  if (watcher_ != nullptr) announce_destroy(id);
  Ref<Object> object;
  {
    const MutexLock lock(mu_);
    if (std::to_underlying(id) == 0 || index_of(id) >= slots_.size() || !slots_[index_of(id)].object)
      return reject(Errno::kNoEnt, {"id", std::to_underlying(id), "no such object", "iommufd-core 1.9 row 1"});
    Slot& slot = slots_[index_of(id)];
    u32 only_the_table = 1;
    if (!slot.object->users_.compare_exchange_strong(only_the_table, 0, std::memory_order_acq_rel))
      return reject(Errno::kBusy, {"id", std::to_underlying(id),
                                   "the object is in use (attached, or a parent of others)", "iommufd-core 1.9 row 2"});
    object = std::exchange(slot.object, nullptr);
    free_id_locked(id);
  }
  object->teardown();
  return {};
}

void Context::remove_when_idle(Object& object) {
  // Only calls in flight can still use it: they end soon, or with their client.
  constexpr auto kPatience = std::chrono::seconds(60);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  const Ref<Object> self(object);
  for (;;) {
    u32 only_the_table = 1;
    if (object.users_.compare_exchange_strong(only_the_table, 0, std::memory_order_acq_rel)) break;
    if (std::chrono::steady_clock::now() > deadline) return;  // stays until the context goes, as in the kernel
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  {
    const MutexLock lock(mu_);
    Slot& slot = slots_[index_of(object.id())];
    slot.object = nullptr;
    free_id_locked(object.id());
  }
  object.teardown();
}

Result<void> Context::set_limit_mode(LimitMode mode) {
  const MutexLock lock(mu_);
  if (free_.size() != slots_.size())
    return reject(Errno::kBusy,
                  {"val64", std::to_underlying(mode), "only while the context has no objects", "iommufd-core 3.9"});
  limit_mode_ = mode;
  return {};
}

LimitMode Context::limit_mode() {
  const MutexLock lock(mu_);
  return limit_mode_;
}

mem::ChargeMode Context::charge_mode(mem::Caller& caller) {
  if (caller.capable(mem::Capability::kIpcLock)) return mem::ChargeMode::kNone;
  return limit_mode() == LimitMode::kUser ? mem::ChargeMode::kUser : mem::ChargeMode::kProcess;
}

void Context::set_compat_ioas(ObjectId id) {
  const MutexLock lock(mu_);
  compat_ioas_ = id;
}

ObjectId Context::compat_ioas() {
  const MutexLock lock(mu_);
  return compat_ioas_;
}

Ref<Group> Context::join_group(iommu::Instance& instance, u32 id) {
  const MutexLock lock(mu_);
  Ref<Group>& group = groups_[{&instance, id}];
  if (!group) group = make_ref<Group>(&instance, id);
  group->join();
  return group;
}

void Context::leave_group(const Ref<Group>& group) {
  Ref<Group> last;  // freed without the lock
  const MutexLock lock(mu_);
  if (!group->leave()) return;
  const auto it = groups_.find({group->instance(), group->id()});
  IOMMUFD_ASSERT(it != groups_.end() && it->second == group);
  last = std::move(it->second);
  groups_.erase(it);
}

}  // namespace iommufd::core
