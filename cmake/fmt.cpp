// SPDX-License-Identifier: BSD-3-Clause
// {fmt} for the command, which is linked statically: Debian has the library as a shared object only, and its whole code in
// the headers.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl(locale_ref) -> char;
}  // namespace detail
FMT_END_NAMESPACE
