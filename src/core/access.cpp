// SPDX-License-Identifier: BSD-3-Clause
#include "core/access.hpp"

#include "base/assert.hpp"
#include "base/explain.hpp"
#include "core/ioas.hpp"

namespace iommufd::core {
namespace {

constexpr const char* kSection = "iommufd-core 4.6";

Result<Use<Ioas>> find_ioas(Context& ctx, ObjectId id) {
  Result<Use<Ioas>> ioas = ctx.get<Ioas>(id);
  if (!ioas) return reject(Errno::kNoEnt, {"ioas_id", std::to_underlying(id), "must be an IOAS", kSection});
  return ioas;
}

Err not_attached() { return reject(Errno::kNoEnt, {"access", 0, "is not attached to an IOAS", kSection}); }

}  // namespace

class IoasAccess::Call {
 public:
  explicit Call(IoasAccess& access) : access_(access) {
    const MutexLock lock(access.mu_);
    if (access.state_ != State::kAttached) return;
    ++access.calls_;
    ioas_ = access.ioas_.get();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    if (ioas_ == nullptr) return;
    const MutexLock lock(access_.mu_);
    if (--access_.calls_ == 0) access_.idle_.notify_all();
  }
  // Null: the access is not attached.
  [[nodiscard]] Ioas* ioas() const { return ioas_; }

 private:
  IoasAccess& access_;
  Ioas* ioas_ = nullptr;
};

IoasAccess::IoasAccess(Ref<Context> ctx, Pinning pinning, AccessDriver& driver)
    : Object(kType), ctx_(std::move(ctx)), pinning_(pinning), driver_(driver) {}

IoasAccess::~IoasAccess() = default;

Result<Ref<IoasAccess>> IoasAccess::create(const Ref<Context>& ctx, Pinning pinning, AccessDriver& driver) {
  const Ref<IoasAccess> self = Ref<IoasAccess>::adopt(new IoasAccess(ctx, pinning, driver));
  IOMMUFD_TRY(ctx->reserve(*self));
  NewObject<IoasAccess> pending(ctx, self);
  self->creator_ = Use<IoasAccess>::try_acquire(*self);
  return pending.publish();
}

void IoasAccess::destroy() {
  const Ref<IoasAccess> self(*this);
  const Ref<Context> ctx = ctx_;
  detach();
  creator_ = {};
  ctx->remove_when_idle(*this);
}

Result<void> IoasAccess::attach(ObjectId id) {
  Use<Ioas> ioas;  // dropped without the lock
  const auto attached = [&] { return reject(Errno::kInval, {"access", 0, "is attached already", kSection}); };
  {
    const MutexLock lock(mu_);
    if (state_ != State::kDetached) return attached();
  }
  ioas = IOMMUFD_TRY(find_ioas(*ctx_, id));
  const MutexLock lock(mu_);
  if (state_ != State::kDetached) return attached();
  IOMMUFD_TRY(ioas->add_access(*this));
  std::swap(ioas_, ioas);
  state_ = State::kAttached;
  return {};
}

// New pins and copies find nothing attached; those that run end.
void IoasAccess::begin_leaving_locked() {
  state_ = State::kLeaving;
  while (calls_ != 0) idle_.wait(mu_);
}

void IoasAccess::leave(Ioas& from) {
  driver_.unmap(0, ~u64{0});
  from.remove_access(*this);
}

Result<void> IoasAccess::replace(ObjectId id) {
  {
    const MutexLock lock(mu_);
    if (state_ == State::kDetached) return not_attached();
  }
  Use<Ioas> ioas = IOMMUFD_TRY(find_ioas(*ctx_, id));
  Ioas* from = nullptr;
  {
    const MutexLock lock(mu_);
    if (state_ == State::kDetached) return not_attached();
    if (state_ == State::kLeaving)
      return reject(Errno::kBusy, {"access", 0, "another call detaches or moves it", kSection});
    if (ioas_.get() == ioas.get()) return {};
    IOMMUFD_TRY(ioas->add_access(*this));
    begin_leaving_locked();
    from = ioas_.get();
  }
  leave(*from);
  const MutexLock lock(mu_);
  std::swap(ioas_, ioas);
  state_ = State::kAttached;
  return {};
}

void IoasAccess::detach() {
  Use<Ioas> ioas;
  Ioas* from = nullptr;
  {
    const MutexLock lock(mu_);
    if (state_ != State::kAttached) return;
    begin_leaving_locked();
    from = ioas_.get();
  }
  leave(*from);
  const MutexLock lock(mu_);
  std::swap(ioas_, ioas);
  state_ = State::kDetached;
}

Result<void> IoasAccess::pin(u64 iova, u64 length, Access want, std::vector<PhysAddr>& frames) {
  IOMMUFD_ASSERT(pinning_ == Pinning::kAllowed);
  const u64 last = IOMMUFD_TRY(Ioas::check_access_range(iova, length));
  const Call call(*this);
  if (call.ioas() == nullptr) return not_attached();
  return call.ioas()->pin_access(iova, last, want, frames);
}

void IoasAccess::unpin(u64 iova, u64 length) {
  Ioas* ioas = nullptr;
  {
    const MutexLock lock(mu_);
    ioas = ioas_.get();
  }
  IOMMUFD_ASSERT(ioas != nullptr);  // it cannot leave while something is pinned
  ioas->unpin_access(iova, iova + (length - 1));
}

u64 IoasAccess::nth_iova(u32 nth, u64 offset) {
  const Call call(*this);
  if (call.ioas() == nullptr) return 0;
  const std::optional<u64> start = call.ioas()->nth_area(nth);
  return start ? *start + offset : 0;
}

Result<void> IoasAccess::read(u64 iova, std::span<std::byte> buf, mem::AddressSpace* caller) {
  if (const Result<u64> last = Ioas::check_access_range(iova, buf.size()); !last) return Err(last.error());
  const Call call(*this);
  if (call.ioas() == nullptr) return not_attached();
  return call.ioas()->read(iova, buf, caller);
}

Result<void> IoasAccess::write(u64 iova, std::span<const std::byte> buf, mem::AddressSpace* caller) {
  if (const Result<u64> last = Ioas::check_access_range(iova, buf.size()); !last) return Err(last.error());
  const Call call(*this);
  if (call.ioas() == nullptr) return not_attached();
  return call.ioas()->write(iova, buf, caller);
}

}  // namespace iommufd::core
