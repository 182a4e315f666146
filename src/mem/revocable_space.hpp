// SPDX-License-Identifier: BSD-3-Clause
// Memory that its owner can take back while it is mapped (dma-buf, spec iommufd-core 3.6): what was mapped until then is
// void for ever, what is mapped afterwards is not.
//
// Who maps pages of it is registered; revoke() first makes all that exists void (generation()), then asks each of them to
// remove it. So whoever enters a mapping either finds it void or is asked.
//
// Lock: mu_ (kLeaf) guards the register; nobody is asked with it held.
#pragma once

#include <atomic>
#include <map>

#include "base/ref.hpp"
#include "base/sync.hpp"
#include "mem/address_space.hpp"

namespace iommufd::mem {

class RevocableSpace : public AddressSpace {
 public:
  class Mapper {
   public:
    // Removes every translation to void pages of `space`. Called with no lock held. Never fails.
    virtual void revoke(const RevocableSpace& space) = 0;

   protected:
    ~Mapper() = default;
  };

  // One more mapping by `mapper`, which `keep` keeps alive. May throw std::bad_alloc, then nothing has changed.
  void add_mapper(Mapper& mapper, Ref<RefCounted> keep) IOMMUFD_EXCLUDES(mu_);
  void remove_mapper(Mapper& mapper) IOMMUFD_EXCLUDES(mu_);

  // Makes every mapping that exists void and removes it, whatever `now` is.
  enum class Revoked : u8 { kNo, kYes };
  void revoke(Revoked now) IOMMUFD_EXCLUDES(mu_);
  // Nothing new may be mapped at present.
  [[nodiscard]] bool is_revoked() const { return revoked_.load(std::memory_order_acquire) == Revoked::kYes; }

  [[nodiscard]] Backing backing() const override { return Backing::kDmaBuf; }
  [[nodiscard]] u64 generation() const override { return generation_.load(std::memory_order_acquire); }
  RevocableSpace* as_revocable() override { return this; }

 private:
  struct Entry {
    Ref<RefCounted> keep;
    u64 mappings = 0;
  };
  std::atomic<Revoked> revoked_{Revoked::kNo};
  std::atomic<u64> generation_{1};
  Mutex mu_{LockRank::kLeaf};
  std::map<Mapper*, Entry> mappers_ IOMMUFD_GUARDED_BY(mu_);
};

}  // namespace iommufd::mem
