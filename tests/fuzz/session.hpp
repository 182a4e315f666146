// SPDX-License-Identifier: BSD-3-Clause
// One open of /dev/iommu and the model of it. step() takes a command from the input, works out by the model what must
// happen, does it, and compares: the answer, what is written back, then all of the state (session_compare.cpp). The
// commands are in session_*.cpp, one file per sheet section or two.
#pragma once

#include "abi/iommufd.hpp"
#include "abi/iommufd_hwpt.hpp"
#include "abi/iommufd_ioas.hpp"
#include "abi/iommufd_test.hpp"
#include "base/sync.hpp"
#include "tests/fuzz/model.hpp"

namespace iommufd::fuzz {

class Session {
 public:
  Session(Machine& machine, Input& input);
  // Closes everything: nothing may be left.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void step(Input& input);

 private:
  static constexpr u64 kArgument = SandboxMemory::kBase;                // page of the structs; no mapping reaches it
  static constexpr u64 kBuffer = SandboxMemory::kBase + 8 * kPageSize;  // six writable pages: arrays, bitmaps, bytes
  static constexpr u64 kBufferSize = 6 * kPageSize;

  // ---- calls -------------------------------------------------------------------------------------------------------
  // What a failing call does to its struct.
  enum class OnError : u8 { kUntouched, kMayWrite };
  template <class T>
  Answer send(u32 command, T& argument, OnError on_error = OnError::kUntouched) {
    std::memcpy(memory_->bytes(kArgument).data(), &argument, sizeof(T));
    const Result<s64> answer = file_->ioctl(call_, command, kArgument);
    const bool touched = std::memcmp(memory_->bytes(kArgument).data(), &argument, sizeof(T)) != 0;
    std::memcpy(&argument, memory_->bytes(kArgument).data(), sizeof(T));
    trace(command, std::as_bytes(std::span(&argument, 1)));
    if (answer) return {};
    FUZZ_CHECK(!touched || on_error == OnError::kMayWrite);
    return answer.error();
  }
  template <class T>
  Answer send(abi::IommuCommand command, T& argument, OnError on_error = OnError::kUntouched) {
    return send(static_cast<u32>(command), argument, on_error);
  }
  template <class T>
  Answer send_test(abi::TestOp op, u32 id, T& arguments) {
    abi::TestCmd cmd{};
    cmd.size = sizeof cmd;
    cmd.op = static_cast<u32>(op);
    cmd.id = id;
    cmd.put(arguments);
    const Answer answer = send(abi::kIommuTestCommand, cmd);
    arguments = cmd.get<T>();
    return answer;
  }
  // With FUZZ_TRACE set, every call is printed, so that an input can be read.
  static void trace(u32 command, std::span<const std::byte> argument);
  void expect(const char* what, Answer got, Answer want) const;

  // ---- what inputs choose ------------------------------------------------------------------------------------------
  static u64 take_iova(Input& input);
  static u64 take_length(Input& input);
  static u64 take_va(Input& input, u64 length);
  u32 take_ioas(Input& input) const;  // mostly one that exists
  u32 take_hwpt(Input& input) const;
  static u32 take_flags(Input& input, u32 known) {
    const u8 n = input.take<u8>();
    return n < 0xf8 ? n & known : u32{1} << (n & 31);
  }
  static std::size_t take_device(Input& input) { return input.take<u8>() % Machine::kDevices; }
  [[nodiscard]] u32 device_id(std::size_t device) const { return model_.devices[device].id; }
  // An area to aim at; nothing when the IOAS has none.
  [[nodiscard]] const Areas::value_type* pick_area(u32 ioas, u8 n) const;
  [[nodiscard]] const Ioas* find_ioas(u32 id) const {
    const auto it = model_.ioases.find(id);
    return it == model_.ioases.end() ? nullptr : &it->second;
  }

  // ---- commands: session_map.cpp, session_ioas.cpp -----------------------------------------------------------------
  void map(Input& input);
  void map_file(Input& input);
  void copy(Input& input);
  void unmap(Input& input);
  std::shared_ptr<Pages> make_pages(Access access, int file, u64 va, u64 length);
  // Rows 7 to 11 of MAP. `made` is what is mapped then.
  Answer want_map(u32 ioas, std::optional<u64> fixed, u64 length, Area area, Areas& made) const;
  Answer want_copy(const abi::IoasCopy& cmd, Areas& made) const;
  void alloc_ioas(Input& input);
  void destroy(Input& input);
  void allow_iovas(Input& input);
  void iova_ranges(Input& input);
  void add_reserved(Input& input);
  void option(Input& input);
  void vfio_ioas(Input& input);
  void change_process(Input& input);
  void change_caller(Input& input);

  // ---- session_devices.cpp, session_dirty.cpp ----------------------------------------------------------------------
  void bind_or_unbind(Input& input);
  void bind(std::size_t device);
  void attach(Input& input);
  void detach(Input& input);
  void alloc_hwpt(Input& input);
  void hw_info(Input& input);
  void set_dirty_tracking(Input& input);
  void get_dirty_bitmap(Input& input);
  void device_writes(Input& input);
  void get_pa(Input& input);
  // Reads the bitmap with everything that the struct says and compares it with the model's.
  void check_bitmap(abi::HwptGetDirtyBitmap cmd);

  // ---- session_access.cpp, session_type1.cpp -----------------------------------------------------------------------
  void create_access(Input& input);
  void close_access(Input& input);
  void pin_pages(Input& input);
  void unpin_pages(Input& input);
  void access_rw(Input& input);
  void replace_ioas(Input& input);
  u32 take_access(Input& input) const;  // its descriptor number; mostly one that exists
  std::pair<u64, u64> take_access_range(Input& input, u32 ioas) const;
  SoftwareAccess* access_behind(u32 fd);
  void set_iommu(Input& input);
  void map_dma(Input& input);
  void unmap_dma(Input& input);
  void get_info(Input& input);
  void check_extension(Input& input);

  // ---- session_compare.cpp -----------------------------------------------------------------------------------------
  void compare();
  void compare_areas();
  void compare_charges();
  void compare_dma();
  void compare_physical();
  void compare_dirty();
  void check_area(std::size_t device, const Ioas& s, const Areas::value_type& area);
  [[nodiscard]] std::span<std::byte> bytes_of(const Pages& pages, u64 va);
  // Does the device read (write) at `address`? If so, it must be the byte `va` of `pages` (null: it must not be known).
  bool reads(std::size_t device, u64 address, const Pages* pages = nullptr, u64 va = 0);
  bool writes(std::size_t device, u64 address, const Pages& pages, u64 va);
  Answer physical(u32 ioas, u64 iova, u64& length, u64& phys);

  Machine& machine_;
  const Ref<SandboxMemory> memory_ = machine_.memory();
  const Ref<mem::Account> user_ = make_ref<mem::Account>();
  std::array<Ref<SandboxProcess>, Model::kProcesses> processes_{make_ref<SandboxProcess>(user_),
                                                                make_ref<SandboxProcess>(user_)};
  std::size_t process_ = 0;  // that calls
  SandboxCall call_{memory_, processes_[0], machine_.file()};
  Ref<ioctl::IommuFile> file_;
  std::array<Ref<core::Device>, Machine::kDevices> devices_;
  Model model_;
  u64 next_serial_ = 1;
  u64 counter_ = 0;  // what is written somewhere is written once
};

}  // namespace iommufd::fuzz
