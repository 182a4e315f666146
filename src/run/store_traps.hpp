// SPDX-License-Identifier: BSD-3-Clause
// Stores into mapped BARs, trapped (BarSpec::stores): the client maps the BAR and loads from it natively, and each of its stores is
// an access of the device, done before the next instruction.
//
// Its mapping is made as it asked, and then without write permission: a store faults, and a Tracer sees the fault first. The instruction
// is decoded (store_instruction.hpp), the File is given the store, and the thread goes on behind it; the client sees no signal. An
// instruction that is not decoded is done by the processor, with the mapping writable for that one instruction, and the device
// looks at its memory afterwards, as it does when it is polled: what other threads store in that moment is found by that look or
// the next one, too.
//
// What is mapped where is asked for at each fault, so munmap, mremap, fork and a second mapping need no book-keeping. A mapping that the
// client makes writable itself (mprotect), and one of a process that cannot be traced, work as polled ones.
//
// No state but the Tracer's. Thread-safe; faults are handled on the tracer's thread.
#pragma once

#include <atomic>

#include "run/call_scope.hpp"
#include "run/open_file.hpp"
#include "run/store_instruction.hpp"
#include "run/tracer.hpp"

namespace iommufd::run {

class StoreTraps {
 public:
  StoreTraps(FileTable& files, HostFeatures host)
      : files_(files), tracer_(host, [this](const Tracer::Thread& thread) { return on_fault(thread); }) {}

  // The call of `scope`, an mmap of process `tgid` for writing that is allowed: lets it go on, and traps the stores into what it maps.
  // When the process cannot be traced its stores are polled, which is said once.
  void map(CallScope& scope, pid_t tgid);

  // Some process is or was traced.
  [[nodiscard]] bool tracing() const { return tracer_.started(); }
  // What the main thread does not hear of children that are traced.
  std::vector<Tracer::ChildEvent> take_child_events() { return tracer_.take_events(); }

 private:
  Tracer::Fault on_fault(const Tracer::Thread& thread);
  static Tracer::Fault emulate(pid_t tid, user_regs_struct& registers, const StoreInstruction& store, const Vma& vma,
                               ioctl::File& file);
  static Tracer::Fault step_over(pid_t tid, const VmaReader& memory, const Vma& vma, ioctl::File& file);

  FileTable& files_;
  std::atomic<bool> said_polled_{false};
  Tracer tracer_;  // last: its thread uses the rest
};

}  // namespace iommufd::run
