// SPDX-License-Identifier: BSD-3-Clause
// Where `iommufd-user dump` reaches a running server: sockets in the abstract namespace, named by the number of the front
// and of the server and by their PID namespace. They are no file and no descriptor of a client's, and they end with the server.
//
// A peer must be the server's user, or root. It asks with one packet and is answered with one, which carries a memfd with
// the files of the dump. One peer at a time, by a thread that exists from the first one on.
#pragma once

#include <array>
#include <expected>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "dump/files.hpp"
#include "run/service.hpp"

namespace iommufd::run {

class DumpSocket {
 public:
  // Without a socket when there can be none: then nobody can ask. Pre: in the server; the client does not inherit them.
  DumpSocket(Service& service, pid_t front);
  ~DumpSocket();
  DumpSocket(const DumpSocket&) = delete;
  DumpSocket& operator=(const DumpSocket&) = delete;

  static constexpr std::size_t kListeners = 2;
  // To wait for the first peer with; -1 when there is nothing to wait for.
  [[nodiscard]] int wait_fd(std::size_t n) const { return thread_.joinable() ? -1 : listeners_[n].get(); }
  // Somebody came.
  void start();

 private:
  void serve();
  void answer(const Fd& peer);

  Service& service_;
  std::array<Fd, kListeners> listeners_;
  Fd stop_;  // an eventfd
  std::thread thread_;
};

// Asks the server of `pid`, which is a front, its PROGRAM, or anything below. The error is a sentence for the user.
std::expected<std::vector<dump::OutputFile>, std::string> request_dump(pid_t pid, dump::Form form);

}  // namespace iommufd::run
