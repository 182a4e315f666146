// SPDX-License-Identifier: BSD-3-Clause
// The part of the doctor's report on real functions (`run -d host`).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/doctor_probes.hpp"
#include "cli/doctor_sections.hpp"
#include "host/inventory.hpp"
#include "host/pinned_memory.hpp"
#include "mem/real_frames.hpp"

namespace iommufd::cli {
namespace {

Finding functions() {
  const std::vector<host::HostFunction> all = host::inventory();
  const auto usable = std::ranges::count_if(all, [](const auto& f) { return !host::find_refusal(f); });
  return {.what = "functions that could be used",
          .state = usable == 0 ? State::kNo : State::kYes,
          .detail = fmt::format("{} of {}; `iommufd-user devices --host` lists them", usable, all.size()),
          .need = Need::kUseful};
}

Finding privilege() {
  Finding f{.what = "privilege (CAP_SYS_ADMIN, CAP_SYS_RAWIO)", .need = Need::kUseful};
  if (const auto lack = host::find_lack_of_privilege()) {
    f.state = State::kNo;
    f.detail = "not root";
    f.cost = "-d host is refused";
  }
  return f;
}

Finding frames() {
  Finding f{.what = "physical addresses (pagemap)", .need = Need::kUseful};
  const Result<mem::RealFrames> pagemap = mem::RealFrames::open(::getpid());
  const u64 here = 1;
  PhysAddr at;
  const u64 address = std::bit_cast<u64>(&here);
  const Result<void> read =
      pagemap ? pagemap->read(UserVa{align_down(address, kPageSize)}, std::span(&at, 1)) : Err(pagemap.error());
  if (read) return f;
  f.state = State::kNo;
  f.detail = errno_name(read.error());
  f.cost = "-d host cannot say where memory is";
  return f;
}

constexpr const char* kDrivers = "/sys/bus/pci/drivers/";

Finding vfio_groups() {
  Finding f{.what = "interrupts: VFIO groups without an IOMMU", .need = Need::kUseful};
  const auto mode = host::read_attribute("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
  if (mode == "Y" && host::exists(std::string(kDrivers) + "vfio-pci")) {
    f.detail = "all of a function that vfio-pci has; `bind` gives it that";
    return f;
  }
  f.state = State::kNo;
  f.detail = !mode         ? "this kernel has no enable_unsafe_noiommu_mode, or vfio is not loaded"
             : mode == "Y" ? "vfio-pci is not loaded"
                           : "vfio.enable_unsafe_noiommu_mode is off";
  return f;
}

Finding uio() {
  Finding f{.what = "interrupts: uio_pci_generic",
            .detail = "INTx of a function that it has; `bind` gives it those without messages",
            .need = Need::kUseful};
  if (host::exists(std::string(kDrivers) + "uio_pci_generic")) return f;
  f.state = State::kNo;
  f.detail = "not loaded";
  return f;
}

// A function whose messages have addresses of 32 bits needs a page below 4 GiB, of which a large machine may give us none.
Finding messages() {
  constexpr u64 kLow = u64{1} << 32;
  Finding f{.what = "interrupts: MSI and MSI-X",
            .detail = "else as writes to pinned memory that is looked at",
            .need = Need::kUseful};
  if (const auto page = host::PinnedMemory::create(1, ~u64{0}); !page) {
    f.state = State::kNo;
    f.detail = fmt::format("no page can be pinned: {}", errno_name(page.error()));
    f.cost = "functions with messages are refused";
  } else if (!host::PinnedMemory::create(1, kLow)) {
    f.state = State::kLimited;
    f.cost = "no page below 4 GiB was found just now: functions whose MSI has 32 bits are refused";
  }
  return f;
}

}  // namespace

Section host_section() {
  return {
      "Real functions without an IOMMU (`run -d host`)",
      {functions(),
       privilege(),
       frames(),
       vfio_groups(),
       uio(),
       messages(),
       {.what = "interrupts: INTx", .detail = "else by its status bit, which is looked at", .need = Need::kUseful}}};
}

}  // namespace iommufd::cli
