// SPDX-License-Identifier: BSD-3-Clause
// A machine of PCI functions with fake models, their VFIO devices, and a client that makes raw ioctls on them.
#pragma once

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>

#include "abi/iommufd.hpp"
#include "abi/vfio.hpp"
#include "ioctl/iommu_file.hpp"
#include "ioctl/vfio_device_file.hpp"
#include "iommu/device_port.hpp"
#include "iommu/platform.hpp"
#include "tests/support/fake_device.hpp"
#include "tests/support/file_memory.hpp"
#include "tests/support/local_call.hpp"

namespace iommufd {

using abi::VfioCommand;

using TestMemory = test::FileMemory;

class Vfio : public testing::Test {
 protected:
  // One function with its VFIO device.
  struct Slot {
    std::unique_ptr<iommu::DevicePort> port;
    core::PhysicalDevice physical;
    test::FakeModel* model = nullptr;
    std::unique_ptr<pci::Function> function;
    vfio::Device* device = nullptr;
  };
  enum class Kind { kAmd, kNone };

  void SetUp() override {
    platform = std::move(*iommu::Platform::create({}));
    amd = std::make_unique<iommu::Instance>(iommu::Kind::kAmd, "ivhd0", platform->tables());
    iommufd = make_ref<ioctl::IommuFile>(*platform);
    caller.iommu = iommufd;
  }
  void TearDown() override {
    for (Ref<ioctl::File>& file : files)
      if (file) file->release();
    files.clear();
    caller.iommu = nullptr;
    iommufd->release();
    iommufd = nullptr;
  }

  static pci::FunctionSpec sample_spec() {
    pci::FunctionSpec spec{.vendor = 0x1234,
                           .device = 1,
                           .interrupt_pin = 1,
                           .msi = pci::MsiSpec{.vectors_lg2 = 1},
                           .reset = pci::ResetKind::kFunction};
    spec.bars[0] = {.kind = pci::BarKind::kMemory32, .size = 0x4000, .mappable = pci::Mappable::kYes};
    spec.bars[1] = {.kind = pci::BarKind::kMemory32, .size = 0x100};
    return spec;
  }
  Slot& add(Kind kind, pci::Bdf bdf, const pci::FunctionSpec& spec = sample_spec(), u32 group = 1,
            vfio::UnsafeNoiommu mode = vfio::UnsafeNoiommu::kOn) {
    auto slot = std::make_unique<Slot>();
    iommu::Instance* manager = kind == Kind::kAmd ? amd.get() : nullptr;
    slot->port = std::make_unique<iommu::DevicePort>(bdf.str(), manager, platform->phys(), nullptr);
    slot->physical = {bdf.str(), manager, slot->port.get(), group, {}};
    slot->function = std::make_unique<pci::Function>(
        pci::Placement{
            .bdf = bdf, .bar_base = {0xfe000000, 0xfe100000, 0, 0, 0, 0}, .irq = 11, .below_bridge = bdf.bus != 0},
        spec, *slot->port, [](std::string_view) {},
        [&slot](pci::ModelPorts ports) {
          auto made = std::make_unique<test::FakeModel>(std::move(ports));
          slot->model = made.get();
          return made;
        });
    const auto added = registry.add(*slot->function, slot->physical, mode, 100 + static_cast<u32>(slots.size()));
    if (added) slot->device = &added->get();
    slots.push_back(std::move(slot));
    return *slots.back();
  }

  // An open of the node: index into `files`.
  ioctl::File& open(Slot& slot) {
    auto memory = std::make_unique<TestMemory>();
    last_memory = memory.get();
    files.push_back(*ioctl::open_vfio_device(caller, *slot.device, std::move(memory)));
    return *files.back();
  }
  ioctl::File& open_and_bind(Slot& slot) {
    ioctl::File& file = open(slot);
    EXPECT_EQ(bind(file), 0);
    return file;
  }
  void close(ioctl::File& file) {
    const auto it = std::ranges::find_if(files, [&](const auto& f) { return f.get() == &file; });
    (*it)->release();
    files.erase(it);
  }

  // 0 (or the value), or the negated errno.
  s64 raw(ioctl::File& file, u32 cmd, const void* arg) {
    const Result<s64> r = file.ioctl(caller, cmd, std::bit_cast<u64>(arg));
    return r ? *r : -static_cast<s64>(r.error());
  }
  template <class T>
  s64 call(ioctl::File& file, VfioCommand command, T& arg) {
    return raw(file, static_cast<u32>(command), &arg);
  }
  s64 bind(ioctl::File& file, u32* id = nullptr) {
    abi::VfioBindIommufd b{sizeof b, 0, caller.iommu_fd, 0, 0};
    const s64 r = call(file, VfioCommand::kBindIommufd, b);
    if (id != nullptr) *id = b.out_devid;
    return r;
  }
  s64 attach(ioctl::File& file, u32 pt, u32* out = nullptr) {
    abi::VfioAttachIommufdPt a{sizeof a, 0, pt, 0};
    const s64 r = call(file, VfioCommand::kAttachIommufdPt, a);
    if (out != nullptr) *out = a.pt_id;
    return r;
  }
  s64 detach(ioctl::File& file) {
    abi::VfioDetachIommufdPt d{sizeof d, 0, 0};
    return call(file, VfioCommand::kDetachIommufdPt, d);
  }
  u32 ioas() {
    abi::IoasAlloc a{sizeof a, 0, 0};
    EXPECT_EQ(raw(*iommufd, static_cast<u32>(abi::IommuCommand::kIoasAlloc), &a), 0);
    return a.out_ioas_id;
  }
  s64 destroy(u32 id) {
    abi::Destroy d{sizeof d, id};
    return raw(*iommufd, static_cast<u32>(abi::IommuCommand::kDestroy), &d);
  }
  s64 read(ioctl::File& file, u64 offset, void* buf, u64 count) {
    const Result<u64> r = file.read(caller, offset, UserVa{std::bit_cast<u64>(buf)}, count);
    return r ? static_cast<s64>(*r) : -static_cast<s64>(r.error());
  }
  s64 write(ioctl::File& file, u64 offset, const void* buf, u64 count) {
    const Result<u64> r = file.write(caller, offset, UserVa{std::bit_cast<u64>(buf)}, count);
    return r ? static_cast<s64>(*r) : -static_cast<s64>(r.error());
  }
  s64 mmap(ioctl::File& file, u64 offset, u64 length, int flags = MAP_SHARED) {
    const Result<void> r = file.mmap(caller, {offset, length, PROT_READ | PROT_WRITE, flags});
    return r ? 0 : -static_cast<s64>(r.error());
  }
  void set_command(ioctl::File& file, u16 value) {
    EXPECT_EQ(write(file, vfio::region_offset(vfio::kConfigRegion) + 4, &value, 2), 2);
  }

  test::LocalCall caller;
  std::unique_ptr<iommu::Platform> platform;
  std::unique_ptr<iommu::Instance> amd;
  vfio::Registry registry;
  std::vector<std::unique_ptr<Slot>> slots;
  Ref<ioctl::IommuFile> iommufd;
  std::vector<Ref<ioctl::File>> files;
  TestMemory* last_memory = nullptr;
};

// Two pages, the second of which cannot be accessed: where structs are cut.
class EdgeOfMemory {
 public:
  EdgeOfMemory() {
    page_ = static_cast<std::byte*>(
        ::mmap(nullptr, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::mprotect(page_ + kPageSize, kPageSize, PROT_NONE);
  }
  ~EdgeOfMemory() { ::munmap(page_, 2 * kPageSize); }
  EdgeOfMemory(const EdgeOfMemory&) = delete;
  EdgeOfMemory& operator=(const EdgeOfMemory&) = delete;
  // The first `bytes` bytes of `value` are accessible, and no more.
  template <class T>
  void* cut(const T& value, std::size_t bytes) {
    std::byte* at = page_ + kPageSize - bytes;
    std::memcpy(at, &value, bytes);
    return at;
  }
  // All of `value`, readable only.
  template <class T>
  void* read_only(const T& value) {
    ::mprotect(page_, kPageSize, PROT_READ | PROT_WRITE);
    std::memcpy(page_, &value, sizeof value);
    ::mprotect(page_, kPageSize, PROT_READ);
    return page_;
  }

 private:
  std::byte* page_;
};

}  // namespace iommufd
