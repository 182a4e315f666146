// SPDX-License-Identifier: BSD-3-Clause
// The oracle of model_fuzz: what one context holds, by the rules of the sheets (spec iommufd-core unless another is named)
// and without their mechanisms. Everything that can be counted is counted anew each time and kept nowhere: the alignment,
// the users of an object, what is pinned and who is charged. No I/O, no locks, one thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/fuzz/sandbox.hpp"

namespace iommufd::fuzz {

enum class ChargeTo : u8 { kNobody, kUser, kProcess };  // 4.4; VmPin counts always

// The backing of one MAP or MAP_FILE (4.1); COPY and splits share it.
struct Pages {
  u64 serial = 0;
  bool writable = false;
  int file = -1;  // number of the descriptor; -1: memory of the client
  u64 start = 0;  // first byte
  u64 count = 0;  // of pages
  std::size_t process = 0;
  ChargeTo charge = ChargeTo::kUser;
};

struct Area {
  u64 last = 0;
  u64 va = 0;  // of the first byte; of a file: its offset
  Access access = Access::kNone;
  std::shared_ptr<Pages> pages;
};
using Areas = std::map<u64, Area>;  // by first IOVA
[[nodiscard]] inline u64 length_of(const Areas::value_type& a) { return a.second.last - a.first + 1; }

struct Ioas {
  Areas areas;
  std::vector<IovaRange> allowed;
  std::vector<std::pair<IovaRange, u32>> reserved;  // and the object that wants it; 0: test code, for ever
  std::vector<u32> hwpts;                           // in creation order
  std::vector<u32> domains;                         // the same; [0] is the storage domain (noiommu 11)
  bool huge_pages = true;
};

struct Hwpt {
  u32 ioas = 0;
  Manager manager = Manager::kNone;
  bool automatic = false;
  bool can_track = false;
  bool tracking = false;
  std::set<u64> large;  // IOVAs of its entries of 2 MiB; all others are pages
  std::set<u64> dirty;  // IOVAs of entries that a device has written
};

// A software user of an IOAS (4.6, selftest-abi 3.6).
struct SoftwareAccess {
  u32 fd = 0;
  u32 ioas = 0;
  bool pins = false;
  std::map<u32, IovaRange> items;  // what it has pinned
  u32 next_item = 0;
};

struct BoundDevice {
  u32 id = 0;    // 0: not bound
  u32 hwpt = 0;  // 0: not attached
};

// A page that must be pinned, and through which backing.
struct PinnedPage {
  const Pages* pages = nullptr;
  u64 page = 0;  // address or file offset / 4096
  friend bool operator==(const PinnedPage&, const PinnedPage&) = default;
  friend bool operator<(const PinnedPage& a, const PinnedPage& b) {
    return std::pair(a.pages->serial, a.page) < std::pair(b.pages->serial, b.page);
  }
};
using PinnedPages = std::set<PinnedPage>;

class Model {
 public:
  static constexpr std::size_t kProcesses = 2;
  static constexpr IovaRange kMsiWindow{0xfee0'0000, 0xfeef'ffff};             // 5.5
  static constexpr IovaRange kHyperTransport{0xfd'0000'0000, 0xff'ffff'ffff};  // beside it, of AMD's IOMMUs
  static constexpr u64 kVtdLast = (u64{1} << 48) - 1;                          // aperture of a VT-d domain
  static constexpr u64 kMax = ~u64{0};

  std::map<u32, Ioas> ioases;
  std::map<u32, Hwpt> hwpts;
  std::map<u32, SoftwareAccess> accesses;
  std::array<BoundDevice, Machine::kDevices> devices;
  u32 compat_ioas = 0;
  bool process_mode = false;
  std::array<u64, kProcesses> limits{mem::kUnlimitedPages, mem::kUnlimitedPages};

  // ---- objects (1.6 to 1.9) ----------------------------------------------------------------------------------------
  [[nodiscard]] bool exists(u32 id) const;
  [[nodiscard]] bool is_empty() const;
  [[nodiscard]] u32 free_id() const;  // the lowest
  [[nodiscard]] u32 users_of_hwpt(u32 id) const;
  Answer destroy(u32 id);

  // ---- ranges and placement (3.4, 3.5, 4.5, 4.8) -------------------------------------------------------------------
  [[nodiscard]] u64 alignment(u32 ioas) const;
  [[nodiscard]] Answer can_align(const Ioas& s, u64 alignment, u64 now) const;
  [[nodiscard]] static Answer can_reserve(const Ioas& s, const IovaRange& range);
  [[nodiscard]] static bool is_reserved(const Ioas& s, u64 start, u64 last);
  [[nodiscard]] static std::vector<IovaRange> usable(const Ioas& s);  // what IOVA_RANGES reports
  [[nodiscard]] Result<u64> allocate(u32 ioas, u64 length, u64 hint) const;
  // Rows 8 and 9 of MAP. `fixed`: where; nothing: anywhere.
  [[nodiscard]] Result<u64> place(u32 ioas, std::optional<u64> fixed, u64 length, u64 hint) const;
  [[nodiscard]] static Areas::const_iterator area_at(const Ioas& s, u64 iova);  // or the end
  [[nodiscard]] static bool overlaps(const Ioas& s, u64 start, u64 last);

  // ---- pins and charges (4.2, 4.4) ---------------------------------------------------------------------------------
  [[nodiscard]] PinnedPages pinned() const;
  struct Charges {
    u64 user = 0;
    std::array<u64, kProcesses> pinned{}, locked{};
  };
  [[nodiscard]] static Charges charges(const PinnedPages& pages);
  // Pins [start, last] of an area beside `held`, for a domain or an access: all or nothing.
  Answer pin(PinnedPages& held, u64 start, const Area& area, u64 from, u64 last, bool for_domain) const;
  // A domain comes, or areas do where domains are: each in turn (3.4 row 11).
  [[nodiscard]] Answer can_fill(const Areas& areas) const;
  Answer change_process(std::size_t to);

  // ---- areas -------------------------------------------------------------------------------------------------------
  void add_areas(u32 ioas, Areas made);
  // The loop of 3.8: `bytes` is what went, also before an error.
  Answer unmap(u32 ioas, u64 start, u64 last, u64& bytes);
  Answer cut_after(u32 ioas, u64 last);  // 4.7
  Answer set_huge_pages(u32 ioas, bool on);
  void drop_items(u32 ioas, u64 start, u64 last);

  // ---- domains and devices (4.9, 5.4 to 5.8; noiommu 9 to 11) ------------------------------------------------------
  Answer add_hwpt(u32 ioas, u32 id, Manager manager, bool automatic, bool can_track);
  void remove_hwpt(u32 id);
  Result<u32> attach(std::size_t device, u32 pt_id);  // or replace
  void detach(std::size_t device);
  void unbind(std::size_t device);

  // A device wrote through a domain that records it (iommufd-hwpt 6, 7).
  static void record_write(Hwpt& h, u64 iova);
  // The entries that [start, last] reports; a read that clears makes them clean.
  std::vector<IovaRange> read_dirty(Hwpt& h, u64 start, u64 last, bool clears) const;

 private:
  [[nodiscard]] static std::vector<IovaRange> holes(std::vector<IovaRange> used, u64 start, u64 last);
  [[nodiscard]] std::vector<std::size_t> attached_of_group(std::size_t device) const;
  Answer attach_to(std::size_t device, u32 hwpt);
  Answer replace_by(std::size_t device, u32 hwpt);
  static Answer can_reserve_for(std::size_t device, const Ioas& s);
  Answer reserve_for(std::size_t device, u32 ioas);
  void unreserve(u32 ioas, u32 owner);
  void leave(u32 hwpt);  // an automatic one ends with its last user
  static void fill_entries(const Ioas& s, Hwpt& h, const Areas& areas);
  void forget_entries(const Ioas& s, u64 start, u64 last);
};

}  // namespace iommufd::fuzz
