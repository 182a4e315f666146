// SPDX-License-Identifier: BSD-3-Clause
// What of this machine would stop if a function left its driver. Every network interface and every block device is followed up to
// the function that it comes from, whatever lies between (virtio, SCSI, USB, the controllers of an NVMe subsystem), and what is
// built on a disk (partitions, dm, md) is followed down to what uses it.
#pragma once

#include <string>
#include <vector>

#include "host/sysfs.hpp"

namespace iommufd::host {

// Sentences without a verb: "the network interface eth0, which is up", "the file system on / (nvme0n1p2)", "swap on dm-0 (of
// nvme0n1)". `folder` is the function's in sysfs, without links.
std::vector<std::string> find_dependents(const std::string& folder, const Roots& roots);

}  // namespace iommufd::host
