// SPDX-License-Identifier: BSD-3-Clause
// What the parts of the server share while PROGRAM runs. Made by server.cpp, constant then; everything in it is
// thread-safe.
#pragma once

#include "run/calls_in_flight.hpp"
#include "run/client_process.hpp"
#include "run/huge_pool.hpp"
#include "run/listener.hpp"
#include "run/open_file.hpp"
#include "run/options.hpp"
#include "run/path_view.hpp"
#include "run/pinned_file.hpp"
#include "run/service.hpp"
#include "run/store_traps.hpp"

namespace iommufd::run {

struct Runtime {
  const Options& options;
  Service& service;
  const PathView& view;
  Listener& listener;
  CallsInFlight& calls;
  ProcessTable& processes;
  FileTable& files;
  StoreTraps& stores;
  HugePool* huge;                   // null: huge pages are the machine's
  Ref<FilePins> file_pins;          // null: files are not pinned
  ino_t client_user_namespace = 0;  // of PROGRAM when it started
};

}  // namespace iommufd::run
