// SPDX-License-Identifier: BSD-3-Clause
#include "run/dump_message.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstring>

#include "base/sys.hpp"

namespace iommufd::run {
namespace {

void put(std::string& out, u64 value) {
  std::array<char, sizeof(value)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(value));
  out.append(bytes.data(), bytes.size());
}

Result<u64> take_number(std::string_view& bytes) {
  u64 value = 0;
  if (bytes.size() < sizeof(value)) return Err(Errno::kInval);
  std::memcpy(&value, bytes.data(), sizeof(value));
  bytes.remove_prefix(sizeof(value));
  return value;
}

Result<std::string> take_text(std::string_view& bytes, u64 size) {
  if (bytes.size() < size) return Err(Errno::kInval);
  std::string text(bytes.substr(0, size));
  bytes.remove_prefix(size);
  return text;
}

}  // namespace

Result<SocketName> dump_socket_name(pid_t pid) {
  const std::string space = IOMMUFD_TRY(sys::read_link("/proc/self/ns/pid"));
  const std::string text = fmt::format("iommufd-user/dump/{}/{}", space, pid);
  SocketName name;
  name.address.sun_family = AF_UNIX;
  if (text.size() + 1 > sizeof(name.address.sun_path)) return Err(Errno::kNameTooLong);
  std::memcpy(name.address.sun_path + 1, text.data(), text.size());  // the zero in front makes it abstract
  name.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

std::string pack(const std::vector<dump::OutputFile>& files) {
  std::string out;
  for (const dump::OutputFile& file : files) {
    put(out, file.name.size());
    put(out, file.bytes.size());
    out += file.name;
    out += file.bytes;
  }
  return out;
}

Result<std::vector<dump::OutputFile>> unpack(std::string_view bytes) {
  std::vector<dump::OutputFile> files;
  while (!bytes.empty()) {
    const u64 name = IOMMUFD_TRY(take_number(bytes));
    const u64 size = IOMMUFD_TRY(take_number(bytes));
    dump::OutputFile& file = files.emplace_back();
    file.name = IOMMUFD_TRY(take_text(bytes, name));
    file.bytes = IOMMUFD_TRY(take_text(bytes, size));
  }
  return files;
}

}  // namespace iommufd::run
