// SPDX-License-Identifier: BSD-3-Clause
// What the threads of threads_fuzz share in one run: two opens of /dev/iommu, and in them
//
// * three IOASes with a domain that stays: "tracked" (device 0 behind AMD, dirty tracking on) and "noiommu" (device 4; its
//   domain comes first, so GET_PA answers) in the first file, "other" (device 3 behind VT-d) in the second. Each worker has
//   a window of IOVAs in them that is his alone: there he knows every answer.
// * one IOAS "churned" in the first file, whose domains come and go, where everyone maps at IOVAs that it chooses.
// * a scratch file that anyone closes at any time, while others call.
//
// Other HWPTs and devices come and go in all of them (churner.hpp).
#pragma once

#include <mutex>

#include "abi/iommufd.hpp"
#include "abi/iommufd_hwpt.hpp"
#include "abi/iommufd_ioas.hpp"
#include "abi/iommufd_test.hpp"
#include "base/sync.hpp"
#include "tests/fuzz/seeds.hpp"

namespace iommufd::fuzz {

// One thread as a client: its memory, its process, its descriptors.
class Client {
 public:
  static constexpr u64 kArgument = SandboxMemory::kBase;
  static constexpr u64 kBuffer = SandboxMemory::kBase + 8 * kPageSize;  // four pages that are never mapped

  explicit Client(const SandboxFile& file) : call_(memory, process, file) {}

  template <class T>
  Answer send(ioctl::IommuFile& file, u32 command, T& argument) {
    std::memcpy(memory->bytes(kArgument).data(), &argument, sizeof(T));
    const Result<s64> answer = file.ioctl(call_, command, kArgument);
    std::memcpy(&argument, memory->bytes(kArgument).data(), sizeof(T));
    FUZZ_CHECK(lock_check::none_held());
    return answer ? Answer{} : Answer{answer.error()};
  }
  template <class T>
  Answer send(ioctl::IommuFile& file, abi::IommuCommand command, T& argument) {
    return send(file, static_cast<u32>(command), argument);
  }
  template <class T>
  Answer send_test(ioctl::IommuFile& file, abi::TestOp op, u32 id, T& arguments) {
    abi::TestCmd cmd{};
    cmd.size = sizeof cmd;
    cmd.op = static_cast<u32>(op);
    cmd.id = id;
    cmd.put(arguments);
    const Answer answer = send(file, abi::kIommuTestCommand, cmd);
    arguments = cmd.get<T>();
    return answer;
  }
  void close(u32 fd) { call_.close(fd); }
  // Mappings that it makes from now on are charged to `owner`.
  void become(Ref<SandboxProcess> owner) { call_.become(std::move(owner)); }

  const Ref<SandboxMemory> memory = make_ref<SandboxMemory>();
  const Ref<SandboxProcess> process = make_ref<SandboxProcess>();
  const Ref<SandboxProcess> elsewhere = make_ref<SandboxProcess>();  // owns what nobody can count meanwhile

 private:
  SandboxCall call_;
};

class World {
 public:
  World(Machine& machine, Client& client) : machine_(machine) {
    const auto ioas = [&](ioctl::IommuFile& file) {
      abi::IoasAlloc cmd{.size = sizeof cmd, .flags = 0, .out_ioas_id = 0};
      FUZZ_CHECK(!client.send(file, abi::IommuCommand::kIoasAlloc, cmd));
      return cmd.out_ioas_id;
    };
    tracked = ioas(*first);
    noiommu = ioas(*first);
    churned = ioas(*first);
    other = ioas(*second);
    for (const std::size_t device : {0uz, 1uz, 4uz}) bind(device, *first);
    bind(3, *second);

    abi::HwptAlloc alloc{};
    alloc.size = sizeof alloc;
    alloc.flags = abi::HwptAlloc::kDirtyTracking;
    alloc.dev_id = std::to_underlying(bound[0]->id());
    alloc.pt_id = tracked;
    FUZZ_CHECK(!client.send(*first, abi::IommuCommand::kHwptAlloc, alloc));
    hwpt = alloc.out_hwpt_id;
    abi::HwptSetDirtyTracking track{.size = sizeof track, .flags = 1, .hwpt_id = hwpt, .reserved = 0};
    FUZZ_CHECK(!client.send(*first, abi::IommuCommand::kHwptSetDirtyTracking, track));
    attach(0, hwpt);
    attach(4, noiommu);
    attach(3, other);
    // Keeps `churned` from being destroyed.
    abi::TestCreateAccess access{.out_access_fd = 0, .flags = 0};
    FUZZ_CHECK(!client.send_test(*first, abi::TestOp::kCreateAccess, churned, access));
    keeper_ = access.out_access_fd;
  }
  // Pre: the threads are gone. Nothing may be left.
  void close(Client& client) {
    client.close(keeper_);
    for (auto& device : bound)
      if (device) std::exchange(device, nullptr)->unbind();
    for (auto* file : {&first, &second, &scratch_}) std::exchange(*file, nullptr)->release();
    FUZZ_CHECK(machine_.platform().phys().pinned_frames() == 0 && machine_.platform().tables().pages_in_use() == 0);
  }

  void bind(std::size_t device, ioctl::IommuFile& file) {
    Result<Ref<core::Device>> got = core::Device::bind(file.context(), machine_.device(device));
    FUZZ_CHECK(got.has_value());
    bound[device] = std::move(*got);
  }
  iommu::DevicePort& port(std::size_t device) { return machine_.port(device); }

  Ref<ioctl::IommuFile> scratch() {
    const std::lock_guard lock(mu_);
    return scratch_;
  }
  // Closes the scratch file under whoever uses it.
  void renew_scratch() {
    Ref<ioctl::IommuFile> file = open();
    {
      const std::lock_guard lock(mu_);
      std::swap(file, scratch_);
    }
    file->release();
  }

 private:
  void attach(std::size_t device, u32 pt_id) {
    FUZZ_CHECK(bound[device]->attach_or_replace(core::kRid, ObjectId{pt_id}).has_value());
  }
  Ref<ioctl::IommuFile> open() { return make_ref<ioctl::IommuFile>(machine_.platform(), &machine_.test_abi()); }

  Machine& machine_;

 public:
  Ref<ioctl::IommuFile> first = open();
  Ref<ioctl::IommuFile> second = open();
  u32 tracked = 0, noiommu = 0, churned = 0, other = 0;
  u32 hwpt = 0;  // of `tracked`, manual
  // Devices 2 and 5 are the churners', each his own.
  std::array<Ref<core::Device>, Machine::kDevices> bound;

 private:
  std::mutex mu_;
  Ref<ioctl::IommuFile> scratch_ = open();
  u32 keeper_ = 0;
};

}  // namespace iommufd::fuzz
