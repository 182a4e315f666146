// SPDX-License-Identifier: BSD-3-Clause
// Devices and HWPTs (spec iommufd-core 5, A.1, A.5; noiommu 7 to 11).
#include "tests/fuzz/session.hpp"

namespace iommufd::fuzz {

using abi::IommuCommand;

void Session::bind(std::size_t device) {
  const u32 id = model_.free_id();
  Result<Ref<core::Device>> got = core::Device::bind(file_->context(), machine_.device(device));
  FUZZ_CHECK(got.has_value() && std::to_underlying((*got)->id()) == id);
  devices_[device] = std::move(*got);
  model_.devices[device] = {.id = id, .hwpt = 0};
}

void Session::bind_or_unbind(Input& input) {
  const std::size_t device = take_device(input);
  if (!devices_[device]) return bind(device);
  if (input.take<u8>() < 0x80) return;
  std::exchange(devices_[device], nullptr)->unbind();
  model_.unbind(device);
}

// To an IOAS or a HWPT; to what is neither.
void Session::attach(Input& input) {
  const std::size_t device = take_device(input);
  const u8 n = input.take<u8>();
  const u32 pt_id = n < 0x60 ? take_hwpt(input) : n < 0xf0 ? take_ioas(input) : n % 16u;
  if (!devices_[device]) return bind(device);
  const Result<u32> want = model_.attach(device, pt_id);
  const auto got = [&]() -> Result<ObjectId> {
    try {
      return devices_[device]->attach_or_replace(core::kRid, ObjectId{pt_id});
    } catch (const std::bad_alloc&) {
      return Err(Errno::kNoMem);  // as the dispatcher of a device file has it
    }
  }();
  expect("attach", got ? Answer{} : got.error(), want ? Answer{} : want.error());
  if (want) FUZZ_CHECK(std::to_underlying(*got) == *want);
}

void Session::detach(Input& input) {
  const std::size_t device = take_device(input);
  if (!devices_[device]) return;
  devices_[device]->detach(core::kRid);
  model_.detach(device);
}

// A.1, in its order.
void Session::alloc_hwpt(Input& input) {
  const std::size_t device = take_device(input);
  const u8 n = input.take<u8>();
  abi::HwptAlloc cmd{};
  cmd.size = sizeof(cmd);
  cmd.flags = n < 0x60 ? 0u : n < 0xe0 ? abi::HwptAlloc::kDirtyTracking : n & 31u;
  cmd.dev_id = n == 0xf8 ? 99 : device_id(device);
  cmd.pt_id = n < 0xf0 ? take_ioas(input) : take_hwpt(input);
  const u8 odd = input.take<u8>();
  cmd.reserved = odd == 0xff ? 1 : 0;
  cmd.data_type = odd >= 0xfa ? odd & 1u : 0;
  cmd.data_len = odd >= 0xfa ? odd >> 1 & 1u : 0;
  cmd.reserved2 = odd;  // nobody looks at it (Q12)
  if (model_.hwpts.size() >= 6) return;
  const Manager manager = Machine::kManagers[device];
  const bool tracks = (cmd.flags & abi::HwptAlloc::kDirtyTracking) != 0;
  const u32 id = model_.free_id();
  const auto want = [&]() -> Answer {
    if (cmd.reserved != 0) return Errno::kOpNotSupp;
    if ((cmd.data_type == 0) != (cmd.data_len == 0)) return Errno::kInval;
    if (cmd.dev_id == 0 || cmd.dev_id == 99) return Errno::kNoEnt;
    if (!model_.exists(cmd.pt_id)) return Errno::kInval;
    if (model_.hwpts.contains(cmd.pt_id)) return Errno::kOpNotSupp;  // no nesting here
    if (find_ioas(cmd.pt_id) == nullptr) return Errno::kInval;
    constexpr u32 kPossible = abi::HwptAlloc::kDirtyTracking | abi::HwptAlloc::kFaultIdValid;
    if ((cmd.flags & ~kPossible) != 0 || cmd.data_len != 0) return Errno::kOpNotSupp;
    if (tracks && manager == Manager::kNone) return Errno::kOpNotSupp;
    if (const Answer no = model_.add_hwpt(cmd.pt_id, id, manager, false, tracks)) return no;
    if ((cmd.flags & abi::HwptAlloc::kFaultIdValid) == 0) return {};
    model_.remove_hwpt(id);
    return Errno::kNoEnt;  // there are no fault queues
  }();
  expect("HWPT_ALLOC", send(IommuCommand::kHwptAlloc, cmd), want);
  if (!want) FUZZ_CHECK(cmd.out_hwpt_id == id);
}

void Session::hw_info(Input& input) {
  const std::size_t device = take_device(input);
  const u8 n = input.take<u8>();
  abi::HwInfo cmd{};
  cmd.size = sizeof(cmd);
  cmd.flags = n == 0xff ? 2 : 0;
  cmd.dev_id = n == 0xfe ? 99 : device_id(device);
  const Answer want = cmd.flags != 0                                 ? Errno::kOpNotSupp
                      : cmd.dev_id == 0 || cmd.dev_id == 99          ? Errno::kNoEnt
                      : Machine::kManagers[device] == Manager::kNone ? Errno::kOpNotSupp
                                                                     : Answer{};
  expect("GET_HW_INFO", send(IommuCommand::kGetHwInfo, cmd), want);
  if (!want) FUZZ_CHECK((cmd.out_capabilities & abi::HwInfo::kCapDirtyTracking) != 0);
}

}  // namespace iommufd::fuzz
