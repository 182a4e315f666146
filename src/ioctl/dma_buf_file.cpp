// SPDX-License-Identifier: BSD-3-Clause
#include "ioctl/dma_buf_file.hpp"

#include <fcntl.h>

namespace iommufd::ioctl {

Result<int> install_dma_buf(Call& call, Ref<DmaBufFile> file, u32 open_flags) {
  const CloseOnExec close_on_exec = (open_flags & O_CLOEXEC) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo;
  return call.install(std::move(file), "/dmabuf:", close_on_exec);
}

}  // namespace iommufd::ioctl
