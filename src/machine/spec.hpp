// SPDX-License-Identifier: BSD-3-Clause
// What a machine is to be made of, as plain data: the command line is parsed into it and the composition builds from it.
// Nothing here knows which models exist or what their keys mean.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "iommu/kind.hpp"
#include "pci/bdf.hpp"

namespace iommufd::machine {

// One `-d MODEL[,addr=...][,iommu=...][,KEY=VALUE...]`.
struct DeviceSpec {
  std::string model;
  std::optional<pci::Bdf> address;                        // assign_addresses() gives the ones that are missing
  iommu::Kind iommu = iommu::Kind::kAmd;                  // what translates its DMA
  std::vector<std::pair<std::string, std::string>> keys;  // in the order given; known to the model, values unchecked
};

// --phys: how client pages become frames of the simulated physical memory.
struct PhysSpec {
  enum class Kind : u8 { kFragmented, kContiguous };
  Kind kind = Kind::kFragmented;
  std::optional<u64> seed;  // kFragmented
  std::optional<u64> base;  // kContiguous, bytes: where RAM begins
  std::optional<u64> size;  // kContiguous, bytes: how much there is
};

// --enable-unsafe-noiommu-mode: without it the probe of a device with iommu::Kind::kNone fails, as in the kernel.
enum class NoiommuMode : u8 { kOff, kOn };

// --selftest: the test ABI of the kernel's iommufd selftests.
enum class Selftest : u8 { kOff, kOn };

// --container: what /dev/vfio/vfio is.
enum class ContainerKind : u8 {
  kNative,   // VFIO's own containers, with type1 and noiommu
  kIommufd,  // an iommufd (CONFIG_IOMMUFD_VFIO_CONTAINER)
};

// Everything that the machine is made of.
struct MachineSpec {
  std::vector<DeviceSpec> devices;  // every one with an address
  NoiommuMode noiommu = NoiommuMode::kOff;
  PhysSpec phys;
  Selftest selftest = Selftest::kOff;
  ContainerKind container = ContainerKind::kNative;
  // Hidden option --seed-dma-fault=N, for tests of clients: the N-th write (from 1) that each device does by DMA has one
  // bit flipped.
  std::optional<u64> seed_dma_fault;
};

// Gives each device without an address the next free one of 0000:01:00.0, 0000:02:00.0, ... 0000:ff:00.0, then
// 0001:00:00.0 on. Returns the first address that is said twice, or nothing when all differ.
std::optional<pci::Bdf> assign_addresses(std::vector<DeviceSpec>& devices);

}  // namespace iommufd::machine
