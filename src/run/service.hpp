// SPDX-License-Identifier: BSD-3-Clause
// What the runner serves: the tree of paths and the files behind its device nodes. The composition of the machine
// implements it; tests/transport serves an echo file instead.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/ref.hpp"
#include "base/result.hpp"
#include "dump/files.hpp"
#include "ioctl/file.hpp"
#include "mem/pin_keeper.hpp"
#include "run/fault_plans.hpp"
#include "run/live_tree.hpp"
#include "vfio/file_memory.hpp"

namespace iommufd::run {

class Service {
 public:
  virtual ~Service() = default;

  // The description of /dev and /sys.
  virtual LiveTree& tree() = 0;

  // open(2) of the character device whose Node::opener() is `opener`. `memory` is the memory behind this open: keep it
  // when the file can be mapped, let it go otherwise (that is noticed and saves a descriptor). Called without locks
  // held, possibly in parallel. Errors: the errno of open.
  virtual Result<Ref<ioctl::File>> open(u32 opener, ioctl::Call& call, std::unique_ptr<vfio::FileMemory> memory) = 0;

  // The client process exists: threads may be started now, not before.
  virtual void start() {}

  // The physical addresses of `frames.size()` pages of the client from `page` on, all of which are there; devices may use them from
  // now on. Errors: kNoSys (no physical memory here), kFault, kNoMem.
  virtual Result<void> publish(mem::AddressSpace& /*memory*/, UserVa /*page*/, std::span<PhysAddr> /*frames*/) {
    return Err(Errno::kNoSys);
  }

  // Who has to know of real pins; null: nobody.
  virtual mem::PinKeeper* pin_keeper() { return nullptr; }

  // What the client asked to fail; null when it cannot ask.
  virtual FaultPlans* faults() { return nullptr; }

  // What `iommufd-user dump` asks for; called by a thread of its own. Errors: kBusy; kNoSys when there are no tables.
  virtual Result<std::vector<dump::OutputFile>> dump(dump::Form /*form*/) { return Err(Errno::kNoSys); }
  // PROGRAM has ended, and what it had open is closed. Processes that it left behind may go on.
  virtual void program_ended() {}

  // A request of the client arrived; a poller of doorbells may take a look (it costs every request: be quick).
  virtual void activity() {}
};

// Makes the service in the server process, before the client exists. Must start no thread. A failure has been reported
// on stderr by the time it is returned.
using MakeService = std::function<Result<std::unique_ptr<Service>>()>;

}  // namespace iommufd::run
