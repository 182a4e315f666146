// SPDX-License-Identifier: BSD-3-Clause
// Objects of a context and the two counts they have (spec iommufd-core 1.8): references keep the memory, *users* make
// IOMMU_DESTROY answer EBUSY. The table holds one user; every dependent holds one; a call that looked the object up
// holds one while it runs. At zero users the object is being destroyed and cannot be used again.
#pragma once

#include <atomic>
#include <utility>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd::core {

enum class ObjectType : u8 { kDevice, kHwptPaging, kIoas, kAccess, kSelftest };

class Object : public RefCounted {
 public:
  [[nodiscard]] ObjectId id() const { return id_; }
  [[nodiscard]] ObjectType type() const { return type_; }

 protected:
  explicit Object(ObjectType type) : type_(type) {}
  // Ends what the object does; called once, with no lock held, when it has left the table. Never fails.
  virtual void teardown() = 0;

 private:
  friend class Context;
  template <class T>
  friend class Use;

  // False when the object is being destroyed.
  bool try_use() {
    u32 n = users_.load(std::memory_order_relaxed);
    do {
      if (n == 0) return false;
    } while (!users_.compare_exchange_weak(n, n + 1, std::memory_order_acquire, std::memory_order_relaxed));
    return true;
  }
  void end_use() { users_.fetch_sub(1, std::memory_order_release); }

  const ObjectType type_;
  ObjectId id_{};
  std::atomic<u32> users_{1};
};

// A reference that counts as a user.
template <class T>
class Use {
 public:
  Use() = default;
  // Empty when the object is being destroyed.
  static Use try_acquire(T& object) {
    Use use;
    if (static_cast<Object&>(object).try_use()) use.ref_ = Ref<T>(object);
    return use;
  }
  Use(Use&& o) noexcept = default;
  Use& operator=(Use&& o) noexcept {
    std::swap(ref_, o.ref_);
    return *this;
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    if (ref_) static_cast<Object&>(*ref_).end_use();
  }
  [[nodiscard]] T* get() const { return ref_.get(); }
  T& operator*() const { return *ref_; }
  T* operator->() const { return ref_.get(); }
  explicit operator bool() const { return static_cast<bool>(ref_); }
  // The same use under a derived type, whose type() was tested.
  template <class U>
  [[nodiscard]] Use<U> downcast() && {
    Use<U> use;
    use.ref_ = Ref<U>::adopt(static_cast<U*>(ref_.leak()));
    return use;
  }

 private:
  template <class U>
  friend class Use;
  Ref<T> ref_;
};

}  // namespace iommufd::core
