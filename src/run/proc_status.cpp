// SPDX-License-Identifier: BSD-3-Clause
#include "run/proc_status.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

// Takes "NAME/" or the whole rest from the front.
std::string_view take_name(std::string_view& path) {
  const std::size_t slash = path.find('/');
  const std::string_view name = path.substr(0, slash);
  path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  return name;
}

bool parse_id(std::string_view name, std::string_view self, pid_t& id) {
  if (name == self) return true;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  return error == std::errc{} && end == name.data() + name.size() && id > 0;
}

// Where the value of "\nKEY:\tVALUE" starts; npos without such a line.
std::size_t value_of(std::string_view text, std::string_view key) {
  const std::string line = fmt::format("\n{}:\t", key);
  const std::size_t at = text.find(line);
  return at == std::string_view::npos ? at : at + line.size();
}

// "VmPin:\t       0 kB\n": replaces the number by what `change` makes of it.
template <class Change>
void change_line(std::string& text, std::string_view key, Change&& change) {
  const std::size_t from = value_of(text, key);
  if (from == std::string::npos) return;  // a kernel thread, or a process that has ended
  const std::size_t digit = text.find_first_not_of(' ', from);
  const std::size_t end = text.find(" kB", from);
  u64 value = 0;
  if (digit == std::string::npos || end == std::string::npos ||
      std::from_chars(text.data() + digit, text.data() + end, value).ec != std::errc{})
    return;
  text.replace(from, end - from, fmt::format("{:8}", change(value)));
}

}  // namespace

Result<pid_t> status_id(pid_t tid, std::string_view key) {
  const std::string text = IOMMUFD_TRY(sys::read_file(fmt::format("/proc/{}/status", tid)));
  const std::size_t at = value_of(text, key);
  pid_t id = 0;
  if (at != std::string::npos) std::from_chars(text.data() + at, text.data() + text.size(), id);
  if (id <= 0) return Err(Errno::kSrch);
  return id;
}

std::optional<ProcPath> parse_proc_path(std::string_view path, std::string_view name) {
  constexpr std::string_view kProc = "/proc/";
  if (!path.starts_with(kProc)) return {};
  path.remove_prefix(kProc.size());
  ProcPath found;
  const std::string_view process = take_name(path);
  if (process == "thread-self") {
    found.of_thread = true;
  } else if (!parse_id(process, "self", found.process)) {
    return {};
  }
  if (path.starts_with("task/")) {
    take_name(path);
    found.of_thread = true;
    if (!parse_id(take_name(path), {}, found.thread)) return {};
  }
  if (path != name) return {};
  return found;
}

std::string add_pins(std::string text, mem::Process& process, PinPolicy pin) {
  constexpr u64 kPageKib = kPageSize / 1024;
  const u64 pinned = process.vm_pinned().pages() * kPageKib;
  const u64 locked = process.vm_locked().pages() * kPageKib;
  change_line(text, "VmLck", [&](u64 kib) { return kib + locked; });
  change_line(text, "VmPin", [&](u64 kib) { return pin == PinPolicy::kReal ? std::max(kib, pinned) : kib + pinned; });
  return text;
}

}  // namespace iommufd::run
