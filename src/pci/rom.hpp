// SPDX-License-Identifier: BSD-3-Clause
// What an expansion ROM holds (PCI Firmware 3.0, 5.1).
#pragma once

#include <span>

#include "base/types.hpp"

namespace iommufd::pci {

// Length of the images at its begin, one behind the other; 0: there is none.
u64 rom_image_size(std::span<const u8> rom);

}  // namespace iommufd::pci
