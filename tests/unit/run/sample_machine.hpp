// SPDX-License-Identifier: BSD-3-Clause
// Three functions for tests of paths: behind an IOMMU, without one, and one whose probe was refused.
#pragma once

#include <string>

#include "run/sysfs.hpp"

namespace iommufd::run {

struct SampleMachine {
  std::string config = std::string(256, '\0');
  u32 resets = 0;
  bool noiommu = true;
  std::string driver_override;
  std::string written;  // to bind and its like: "FILE=TEXT"
  MachineInfo info;

  SampleMachine() {
    PciDeviceInfo d;
    d.bdf = {.domain = 1, .bus = 1};
    d.vendor = 0x1234;
    d.device = 0x11e8;
    d.subsystem_vendor = 0x1af4;
    d.subsystem_device = 0x1100;
    d.class_code = 0x00ff00;
    d.revision = 0x10;
    d.resources[0] = {0xfe000000, 0xfe0fffff, 0x40200};
    d.irq = 11;
    d.config = [this] { return config; };
    d.write_config = [this](u32 offset, std::string_view bytes) { config.replace(offset, bytes.size(), bytes); };
    d.reset = [this] { ++resets; };
    d.driver_override = [this] { return driver_override; };
    d.set_driver_override = take("driver_override");
    d.driver = "vfio-pci";
    d.iommu_group = 5;
    d.iommu = "ivhd0";
    d.driver = "vfio-pci";
    d.vfio = VfioNode{"vfio0", {{kVfioDeviceMajor, 0}, 11}};
    info.devices.push_back(d);
    d.bdf.bus = 2;
    d.iommu_group.reset();
    d.iommu.clear();
    d.vfio = VfioNode{"noiommu-vfio1", {{kVfioDeviceMajor, 1}, 12}};
    info.devices.push_back(d);
    d.bdf.bus = 3;
    d.vfio.reset();
    d.driver.clear();
    info.devices.push_back(d);
    info.drivers.push_back({"vfio-pci",
                            "vfio_pci",
                            take("bind"),
                            take("unbind"),
                            take("new_id"),
                            take("remove_id"),
                            {{"ids", "1234:11e8\n"}}});
    info.probing.probe = take("drivers_probe");
    info.iommufd = {{kMiscMajor, kIommufdMinor}, 10};
    info.iommus.push_back({"ivhd0", {{"amd-iommu/cap", "0\n"}, {"amd-iommu/features", "0\n"}}});
    info.groups.push_back({5, "", "DMA", {{{0xfee00000, 0xfeefffff}, iommu::ReservedType::kMsi}}});
    info.noiommu.get = [this] { return noiommu; };
    info.noiommu.set = [this](bool on) { noiommu = on; };
  }
  WriteContent take(std::string file) {
    return [this, file](const Write& w) -> Result<u64> {
      written = file + "=" + std::string(w.data);
      return w.data.size();
    };
  }
  SampleMachine(const SampleMachine&) = delete;
  SampleMachine& operator=(const SampleMachine&) = delete;
};

}  // namespace iommufd::run
