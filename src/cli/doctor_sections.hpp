// SPDX-License-Identifier: BSD-3-Clause
// The parts of the doctor's report.
#pragma once

#include "cli/doctor.hpp"

namespace iommufd::cli {

Section system_section();  // kernel, architecture, limits, who we are
Section calls_section();   // system calls in: seccomp and what identifies descriptors
Section memory_section();  // the client's memory: reading, pinning, limits
Section paths_section();   // the mount view and the private tree
Section host_section();    // real functions without an IOMMU
Section kernel_section();  // the kernel's own iommufd, VFIO and noiommu

}  // namespace iommufd::cli
