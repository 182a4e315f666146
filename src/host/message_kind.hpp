// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "base/types.hpp"

namespace iommufd::host {

enum class MessageKind : u8 { kMsi, kMsix };

}  // namespace iommufd::host
