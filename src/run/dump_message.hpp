// SPDX-License-Identifier: BSD-3-Clause
// What `dump` and the server tell each other: request and reply, one packet each, and the bytes of the memfd.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/types.hpp"
#include "dump/files.hpp"

namespace iommufd::run {

struct DumpRequest {
  static constexpr u32 kMagic = 0x504d4449, kProtocol = 1;
  u32 magic = kMagic;
  u32 protocol = kProtocol;
  u32 form = 0;  // dump::Form
};

struct DumpReply {
  u32 magic = DumpRequest::kMagic;
  u32 error = 0;  // an errno; 0: a memfd comes along
  u64 bytes = 0;  // of the memfd
};

struct SocketName {
  sockaddr_un address{};
  socklen_t size = 0;
};
// Of the server whose own number, or whose front's, is `pid`. Errors: the PID namespace is not known.
Result<SocketName> dump_socket_name(pid_t pid);

// Files one after the other: lengths of name and bytes, name, bytes.
std::string pack(const std::vector<dump::OutputFile>& files);
// Errors: kInval (not what pack() made).
Result<std::vector<dump::OutputFile>> unpack(std::string_view bytes);

}  // namespace iommufd::run
