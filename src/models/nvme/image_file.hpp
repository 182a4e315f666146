// SPDX-License-Identifier: BSD-3-Clause
// Opening the file behind a controller.
#pragma once

#include <optional>
#include <string>

#include "base/fd.hpp"
#include "models/parameters.hpp"

namespace iommufd::models::nvme {

enum class Protection : u8 { kWritable, kReadOnly };

struct ImageRequest {
  std::string path;
  std::optional<u64> namespace_size{};  // not given: what the file holds
  u32 namespaces = 1;
  u32 block = 512;
  Protection protection = Protection::kWritable;
};

struct Image {
  Fd file;
  u64 namespace_size = 0;
};

// Opens and locks the file, and extends one that is too short. Errors: sentences for the user.
Configured<Image> open_image(const ImageRequest& request);

}  // namespace iommufd::models::nvme
