// SPDX-License-Identifier: BSD-3-Clause
// Intrusive reference counting: RefCounted keeps memory alive, Ref<T> is the owning pointer (never null unless moved
// from or default-made). What makes IOMMU_DESTROY answer EBUSY is another count (core/object.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "base/types.hpp"

namespace iommufd {

class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  void ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void unref() const {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  // Others than the caller have references. False stays false when nobody can get one but from the caller.
  [[nodiscard]] bool is_shared() const { return refs_.load(std::memory_order_acquire) != 1; }

 protected:
  RefCounted() = default;
  virtual ~RefCounted() = default;

 private:
  mutable std::atomic<u32> refs_{1};
};

template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  // Takes over the count that `new` made.
  static Ref adopt(T* p) {
    Ref r;
    r.p_ = p;
    return r;
  }
  explicit Ref(T& t) : p_(&t) { p_->ref(); }
  Ref(const Ref& o) : p_(o.p_) {
    if (p_ != nullptr) p_->ref();
  }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  Ref(Ref<U> o) : p_(o.leak()) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_ != nullptr) p_->unref();
  }
  [[nodiscard]] T* get() const { return p_; }
  T& operator*() const { return *p_; }
  T* operator->() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }
  [[nodiscard]] T* leak() { return std::exchange(p_, nullptr); }
  friend bool operator==(const Ref& a, const Ref& b) { return a.p_ == b.p_; }

 private:
  T* p_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>::adopt(new T(std::forward<Args>(args)...));
}

}  // namespace iommufd
