// SPDX-License-Identifier: BSD-3-Clause
// Raw bytes as ioctls of one open of /dev/iommu, with devices that come, attach, do DMA and go in between.
// Whatever the bytes are: nothing crashes, no lock stays held, and after the close nothing is pinned or charged.
#include "abi/iommufd.hpp"
#include "abi/iommufd_test.hpp"
#include "base/sync.hpp"
#include "tests/fuzz/sandbox.hpp"

namespace iommufd::fuzz {
namespace {

class Session {
 public:
  explicit Session(Machine& machine)
      : machine_(machine), file_(make_ref<ioctl::IommuFile>(machine.platform(), &machine.test_abi())) {
    memory_->clear_small_pages();
  }

  ~Session() {
    for (std::size_t slot = 0; slot < SandboxCall::kFiles; ++slot) call_.close(slot);
    file_->release();
    for (std::size_t i = 0; i < Machine::kDevices; ++i) unbind(i);
    file_ = nullptr;
    FUZZ_CHECK(machine_.platform().phys().pinned_frames() == 0 && machine_.platform().tables().pages_in_use() == 0);
    FUZZ_CHECK(process_->vm_pinned().pages() == 0);
    FUZZ_CHECK(process_->vm_locked().pages() == 0);
    FUZZ_CHECK(process_->user_locked().pages() == 0);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void step(Input& input) {
    const u8 op = input.take<u8>();
    if (op < 0x60)
      command(input, 0x3b80u | (op & 31));
    else if (op < 0x80)
      container(input, 0x3b64u + (op & 15));
    else if (op < 0xb0)
      test_command(input, op & 31);
    else if (op < 0xb8)
      call_.close(op & 7);
    else if (op < 0xc0)
      map(input, op & 7);
    else if (op < 0xc4)
      command(input, input.take<u32>());
    else if (op < 0xf0)
      device(input, op);
    else
      process_->limit_pages = op == 0xf0 ? mem::kUnlimitedPages : op - 0xf0u;
    FUZZ_CHECK(lock_check::none_held());
  }

 private:
  // A number, a length, an address of the client, or an IOVA of a mock domain.
  static u64 value(Input& input) {
    const u8 pick = input.take<u8>();
    const u64 n = pick & 63;
    constexpr u64 kHalfPage = kPageSize / 2;
    switch (pick >> 6) {
      case 0: return n;
      case 1: return n * kHalfPage;
      case 2: return SandboxMemory::kBase + n * kHalfPage;
      default: return 0x100'0000 + n * kHalfPage;
    }
  }
  template <class T>
  void send(u32 cmd, const T& arguments) {
    std::memcpy(memory_->bytes(SandboxMemory::kBase).data(), &arguments, sizeof arguments);
    const Result<s64> answer = file_->ioctl(call_, cmd, SandboxMemory::kBase);
    FUZZ_CHECK(!answer || *answer >= 0);
  }
  void test_command(Input& input, u32 op) {
    abi::TestCmd cmd{};
    cmd.size = sizeof cmd;
    cmd.op = op;
    cmd.id = input.take<u8>() & 15u;
    std::array<u64, sizeof cmd.args / sizeof(u64)> words{};
    for (u64& word : words) word = value(input);
    // Some arguments are pairs.
    if (const u8 half = input.take<u8>(); half < words.size()) words[half] |= u64{input.take<u8>()} << 32;
    std::memcpy(cmd.args.data(), words.data(), sizeof words);
    send(abi::kIommuTestCommand, cmd);
  }
  void map(Input& input, u32 ioas) {
    abi::IoasMap cmd{};
    cmd.size = sizeof cmd;
    cmd.flags = input.take<u8>() & 7u;
    cmd.ioas_id = ioas;
    cmd.user_va = value(input);
    cmd.length = value(input);
    cmd.iova = value(input);
    send(static_cast<u32>(abi::IommuCommand::kIoasMap), cmd);
  }

  // The struct lies at the start of a page, at its end, or across it; its first field says a size that mostly fits.
  void command(Input& input, u32 cmd) {
    std::array<std::byte, 72> bytes{};
    const u8 shape = input.take<u8>();
    const u32 length = std::min<u32>(shape & 0x7f, bytes.size());
    input.fill(std::span(bytes).first(length));
    if ((shape & 0x80) == 0) std::memcpy(bytes.data(), &length, sizeof(length));
    const u8 place = input.take<u8>();
    u64 at = SandboxMemory::kBase + (place % 16) * kPageSize;
    if ((place & 0xc0) == 0x40) at += kPageSize - length;
    if ((place & 0xc0) == 0x80) at += kPageSize - length / 2;
    for (u32 i = 0; i < length; ++i)
      if (SandboxMemory::access(at + i) != Access::kNone) memory_->bytes(at + i)[0] = bytes[i];
    const Result<s64> answer = file_->ioctl(call_, cmd, at);
    FUZZ_CHECK(!answer || *answer >= 0);
  }

  // The commands of a VFIO container; two of them take a number.
  void container(Input& input, u32 cmd) {
    if (cmd != 0x3b65 && cmd != 0x3b66) return command(input, cmd);
    const Result<s64> answer = file_->ioctl(call_, cmd, input.take<u8>() & 15);
    FUZZ_CHECK(!answer || *answer >= 0);
  }

  void device(Input& input, u8 op) {
    const std::size_t which = op % Machine::kDevices;
    Ref<core::Device>& bound = bound_[which];
    const u8 action = input.take<u8>();
    if (!bound) {
      if (Result<Ref<core::Device>> got = core::Device::bind(file_->context(), machine_.device(which)); got)
        bound = std::move(*got);
    } else if (action < 0x60) {
      (void)bound->attach_or_replace(core::kRid, ObjectId{action & 15u});
    } else if (action < 0x80) {
      bound->detach(core::kRid);
    } else if (action < 0x90) {
      unbind(which);
    } else {
      std::array<std::byte, 64> data{};
      const u64 address = input.take<u64>();
      const auto part = std::span(data).first(action & 63);
      (void)(action < 0xc8 ? machine_.port(which).read(address, part) : machine_.port(which).write(address, part));
    }
  }

  void unbind(std::size_t which) {
    if (bound_[which]) std::exchange(bound_[which], nullptr)->unbind();
  }

  Machine& machine_;
  const Ref<SandboxMemory> memory_ = machine_.memory();
  Ref<SandboxProcess> process_ = make_ref<SandboxProcess>();
  SandboxCall call_{memory_, process_, machine_.file()};
  Ref<ioctl::IommuFile> file_;
  std::array<Ref<core::Device>, Machine::kDevices> bound_;
};

}  // namespace
}  // namespace iommufd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace iommufd::fuzz;
  static Machine machine;
  Session session(machine);
  Input input(data, size);
  while (!input.empty()) session.step(input);
  return 0;
}
