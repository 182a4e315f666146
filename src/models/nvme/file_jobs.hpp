// SPDX-License-Identifier: BSD-3-Clause
// One job, done before the call returns.
#pragma once

#include "models/nvme/store.hpp"

namespace iommufd::models::nvme {

// From byte `done` on. Errors: those of the host's calls; kIo when the file ends early.
Result<void> run_on_file(int fd, const Job& job, u64 done = 0);

}  // namespace iommufd::models::nvme
