// SPDX-License-Identifier: BSD-3-Clause
// How wire structs are pinned: every field offset that a compiler could move, the size, and no hidden
// padding. A wire struct has plain fields only (no bit-fields, no `packed`); bytes become structs by memcpy
// or bit_cast.
#pragma once

#include <cstddef>
#include <type_traits>

#define IOMMUFD_OFFSET(type, field, offset) \
  static_assert(offsetof(type, field) == (offset), #type "." #field " must be at byte " #offset)

// Size, layout and uniqueness: what a struct needs before its bytes may be copied from or to a client.
#define IOMMUFD_WIRE_STRUCT(type, bytes)                                                \
  static_assert(sizeof(type) == (bytes), #type " must be " #bytes " bytes");            \
  static_assert(std::is_standard_layout_v<type> && std::is_trivially_copyable_v<type>); \
  static_assert(std::has_unique_object_representations_v<type>, #type " has hidden padding")
