// SPDX-License-Identifier: BSD-3-Clause
// The state behind one open of /dev/iommu: its objects and their ids (spec iommufd-core 1.6 to 1.11).
//
// Invariants
// * Ids are handed out lowest first. A reserved id is invisible until publish(); abort() frees it.
// * The context lives as long as its file, its bound devices, or a call in flight refers to it.
//
// Locks: mu_ (kObjectTable) guards the table and is held briefly; nothing is called with it held.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "base/explain.hpp"
#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/sync.hpp"
#include "core/object.hpp"
#include "core/snapshot.hpp"
#include "iommu/platform.hpp"
#include "mem/pages.hpp"

namespace iommufd::core {

class Context;
class Group;
class Ioas;

// An object under construction: it has an id, nobody sees it. Dies unpublished: torn down and the id freed.
template <class T>
class NewObject {
 public:
  NewObject(Ref<Context> ctx, Ref<T> object) : ctx_(std::move(ctx)), object_(std::move(object)) {}
  NewObject(NewObject&&) noexcept = default;
  NewObject& operator=(NewObject&&) = delete;
  ~NewObject();
  [[nodiscard]] ObjectId id() const { return object_->id(); }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_.get(); }
  // Never fails.
  Ref<T> publish();

 private:
  Ref<Context> ctx_;
  Ref<T> object_;
};

enum class LimitMode : u8 { kUser, kProcess };  // IOMMU_OPTION_RLIMIT_MODE

enum class ContainerKind : u8 { kType1, kNoiommu };

class Context final : public RefCounted {
 public:
  Context(iommu::Platform& platform, LimitMode mode);

  [[nodiscard]] iommu::Platform& platform() const { return platform_; }

  // Pre: nobody else has the context yet.
  void set_watcher(ContextWatcher* watcher) { watcher_ = watcher; }
  [[nodiscard]] ContextWatcher* watcher() const { return watcher_; }  // may be null
  // What there is now. Errors: kBusy (a call held a lock until the deadline).
  Result<ContextSnapshot> snapshot(Deadline deadline) IOMMUFD_EXCLUDES(mu_);

  // Reserves the lowest free id for `object`. Errors: kBusy (ids used up), kNoMem.
  Result<void> reserve(Object& object) IOMMUFD_EXCLUDES(mu_);
  void publish(Ref<Object> object) IOMMUFD_EXCLUDES(mu_);
  // Tears down an object that was never published and frees its id.
  void abort(const Ref<Object>& object) IOMMUFD_EXCLUDES(mu_);

  // The object `id` of type T, as a user. Errors: kNoEnt.
  template <class T>
  Result<Use<T>> get(ObjectId id) {
    Use<Object> any = IOMMUFD_TRY(get_any(id));
    if (any->type() != T::kType) return Err(Errno::kNoEnt);
    return std::move(any).template downcast<T>();
  }
  Result<Use<Object>> get_any(ObjectId id) IOMMUFD_EXCLUDES(mu_);

  // IOMMU_DESTROY. Errors: kNoEnt, kBusy (somebody uses it).
  Result<void> destroy(ObjectId id) IOMMUFD_EXCLUDES(mu_);
  // Ends an object whose owner outside (a driver) gives it up: waits for calls in flight, then removes it.
  // Pre: the caller has dropped its own use.
  void remove_when_idle(Object& object) IOMMUFD_EXCLUDES(mu_);
  // Errors: kBusy while any id is taken (spec 3.9).
  Result<void> set_limit_mode(LimitMode mode) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] LimitMode limit_mode() IOMMUFD_EXCLUDES(mu_);
  // IOMMU_IOAS_CHANGE_PROCESS (spec 3.10): `process` is charged for every mapping from now on. All or nothing; mappings that
  // other calls make meanwhile are as if made before or after. Errors: kInval (a mapping that is not of a file), kNoMem (limit).
  Result<void> change_process(const Ref<mem::Process>& process) IOMMUFD_EXCLUDES(mu_);
  // How a mapping that `caller` makes now is charged (spec 4.4).
  [[nodiscard]] mem::ChargeMode charge_mode(mem::Caller& caller);

  // This context as the container of a VFIO group (spec 6.1). A group behind an IOMMU makes the compat IOAS unless there is
  // one; a group without one enters noiommu mode, which is never left. Errors: kInval (the context is of the other kind),
  // kNoMem, kBusy (ids used up).
  Result<void> enter_container(ContainerKind kind) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] bool is_noiommu_container() IOMMUFD_EXCLUDES(mu_);

  // The compat IOAS (spec 3.11); it does not count as a user.
  void set_compat_ioas(ObjectId id) IOMMUFD_EXCLUDES(mu_);
  [[nodiscard]] ObjectId compat_ioas() IOMMUFD_EXCLUDES(mu_);  // ObjectId{0}: none

  // The group `id` of `instance` in this context, made when there is none.
  Ref<Group> join_group(iommu::Instance& instance, u32 id) IOMMUFD_EXCLUDES(mu_);
  // Drops a group that nobody else refers to.
  void leave_group(const Ref<Group>& group) IOMMUFD_EXCLUDES(mu_);

 private:
  struct Slot {
    Ref<Object> object;  // null while reserved
    bool taken = false;
  };

  // Destroys every object that nobody uses, again and again until none is left: leaves before what they depend on.
  ~Context() override;
  void free_id_locked(ObjectId id) IOMMUFD_REQUIRES(mu_);

  // Tells the watcher when `id` is a HWPT.
  void announce_destroy(ObjectId id) IOMMUFD_EXCLUDES(mu_);

  iommu::Platform& platform_;
  ContextWatcher* watcher_ = nullptr;
  Mutex mu_{LockRank::kObjectTable};
  std::vector<Slot> slots_ IOMMUFD_GUARDED_BY(mu_);  // index = id - 1
  std::vector<u32> free_ IOMMUFD_GUARDED_BY(mu_);    // min-heap of free indexes below slots_.size()
  LimitMode limit_mode_ IOMMUFD_GUARDED_BY(mu_);
  ObjectId compat_ioas_ IOMMUFD_GUARDED_BY(mu_){};
  bool noiommu_container_ IOMMUFD_GUARDED_BY(mu_) = false;
  std::map<std::pair<iommu::Instance*, u32>, Ref<Group>> groups_ IOMMUFD_GUARDED_BY(mu_);
};

template <class T>
NewObject<T>::~NewObject() {
  if (object_) ctx_->abort(object_);
}

template <class T>
Ref<T> NewObject<T>::publish() {
  Ref<T> object = std::exchange(object_, nullptr);
  ctx_->publish(object);
  return object;
}

// Makes a T with a reserved id. T's constructor must not fail.
template <class T, class... Args>
Result<NewObject<T>> make_object(Context& ctx, Args&&... args) {
  Ref<T> object = make_ref<T>(std::forward<Args>(args)...);
  IOMMUFD_TRY(ctx.reserve(*object));
  return NewObject<T>(Ref<Context>(ctx), std::move(object));
}

}  // namespace iommufd::core
