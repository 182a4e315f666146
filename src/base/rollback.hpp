// SPDX-License-Identifier: BSD-3-Clause
// Undo on the way out: Rollback r{[&] { ... }}; ... r.commit();
#pragma once

#include <utility>

namespace iommufd {

template <class F>
class [[nodiscard]] Rollback {
 public:
  explicit Rollback(F undo) : undo_(std::move(undo)) {}
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() {
    if (armed_) undo_();
  }
  void commit() { armed_ = false; }

 private:
  F undo_;
  bool armed_ = true;
};

}  // namespace iommufd
