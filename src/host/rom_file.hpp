// SPDX-License-Identifier: BSD-3-Clause
// The expansion ROM of a function of this machine, through its sysfs file `rom`: it is read once, before anybody uses the function, as
// some decode the ROM and a BAR with the same comparator.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "host/binding.hpp"
#include "host/config_file.hpp"

namespace iommufd::host {

// What the ROM's BAR of `size` bytes shows: its images, then ones; ones alone where the kernel finds no image. Null: `size` is 0, or the
// kernel has no such file. `directory` is the function's in sysfs, `config` its config space, which is as it was afterwards.
std::shared_ptr<const std::vector<u8>> read_rom(const std::string& directory, u64 size, ConfigFile& config,
                                                const WriteAttribute& write = write_attribute);

}  // namespace iommufd::host
