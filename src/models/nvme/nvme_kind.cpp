// SPDX-License-Identifier: BSD-3-Clause
#include "models/nvme/nvme_kind.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>

#include "models/nvme/controller.hpp"
#include "models/nvme/file_store.hpp"
#include "models/nvme/identify.hpp"
#include "models/nvme/ram_store.hpp"

namespace iommufd::models::nvme {
namespace {

constexpr std::array kKeys{
    Key{"size", "BYTES", "64M",
        "size of each namespace, as in 64M or 1G; with a file and no size, the size of the file"},
    Key{"file", "PATH", "", "keep the blocks in this raw file; without it they are in memory and gone with the run"},
    Key{"readonly", "on|off", "off", "the namespaces are write protected, and the file is not changed"},
    Key{"bs", "512|4096", "512", "bytes of a block"},
    Key{"ns", "N", "1", "namespaces, of equal size; in a file one after the other"},
    Key{"queues", "N", "64", "I/O queue pairs, 1 to 255; there is one MSI-X vector more"},
    Key{"mmap", "on|off", "on",
        "let clients map BAR 0, as all drivers do; its registers are polled then; off: every access is trapped and "
        "exact"},
    Key{"sgl", "on|off", "on", "I/O commands may point to their data by scatter-gather lists"},
    Key{"dbbuf", "on|off", "off", "offer shadow doorbells (Doorbell Buffer Config)"},
    Key{"aio", "uring|sync", "uring", "how a file is read and written: beside the controller, or one after another"},
    Key{"serial", "TEXT", "",
        "serial number, up to 20 characters; without it a number that differs from device to device"},
};
constexpr std::array<std::string_view, 2> kBlockSizes{"512", "4096"}, kEngines{"uring", "sync"};
constexpr u64 kSmallest = 64 << 10, kLargest = u64{1} << 46;
constexpr u64 kMostNamespaces = 256;

// What the keys say, and what was taken of the host for it.
struct Plan {
  NvmeConfig config;
  ImageRequest image;  // no path: memory
  Engine engine = Engine::kUring;
  Fd file;
  sys::Mapping memory;
};

// spec nvme 1
pci::FunctionSpec function_spec(const NvmeConfig& config, pci::Mappable mappable) {
  pci::FunctionSpec spec{.vendor = kPciVendor,
                         .device = kPciDevice,
                         .revision = 0x02,
                         .class_code = 0x010802,
                         .subsystem_vendor = kPciSubsystemVendor,
                         .subsystem_device = kPciSubsystem,
                         .interrupt_pin = 1,
                         .msix = pci::MsixSpec{.vectors = config.vectors(),
                                               .table_bar = 0,
                                               .table_offset = kMsixTable,
                                               .pending_bar = 0,
                                               .pending_offset = kMsixPending,
                                               .at = 0x40},
                         .pm = pci::PmSpec{.state = pci::StateInD3::kKept, .at = 0x60},
                         .pcie = pci::PcieSpec{.at = 0x80},
                         .reset = pci::ResetKind::kFunction};
  spec.bars[0] = {.kind = pci::BarKind::kMemory64, .size = kBarSize, .mappable = mappable};
  return spec;
}

std::string next_serial() {
  static std::atomic<u32> made{0};
  return fmt::format("IOMMUFD{:04}", ++made);
}

Configured<void> acquire(Plan& plan) {
  if (plan.config.serial.empty()) plan.config.serial = next_serial();
  if (plan.image.path.empty()) {
    Result<sys::Mapping> memory = sys::Mapping::anonymous(plan.config.namespace_size * plan.config.namespaces);
    if (!memory) {
      return std::unexpected(
          ConfigError{fmt::format("nvme: size={} and ns={}: the host has no room for that much memory ({})",
                                  plan.config.namespace_size, plan.config.namespaces, errno_name(memory.error()))});
    }
    plan.memory = std::move(*memory);
    return {};
  }
  auto image = open_image(plan.image);
  if (!image) return std::unexpected(image.error());
  plan.file = std::move(image->file);
  plan.config.namespace_size = image->namespace_size;
  return {};
}

std::unique_ptr<Store> make_store(Plan& plan, const pci::ModelPorts& ports) {
  if (plan.file.valid()) return std::make_unique<FileStore>(std::move(plan.file), plan.engine, ports.note);
  return std::make_unique<RamStore>(std::move(plan.memory));
}

Configured<void> read_plan(const Parameters& keys, Plan& plan) {
  const auto size = keys.bytes("size", kSmallest, kLargest);
  if (!size) return std::unexpected(size.error());
  const auto read_only = keys.flag("readonly");
  if (!read_only) return std::unexpected(read_only.error());
  const auto block = keys.choice("bs", kBlockSizes);
  if (!block) return std::unexpected(block.error());
  const auto namespaces = keys.number("ns", 1, kMostNamespaces);
  if (!namespaces) return std::unexpected(namespaces.error());
  const auto queues = keys.number("queues", 1, kMaxIoQueues);
  if (!queues) return std::unexpected(queues.error());
  const auto sgl = keys.flag("sgl");
  if (!sgl) return std::unexpected(sgl.error());
  const auto doorbell_buffer = keys.flag("dbbuf");
  if (!doorbell_buffer) return std::unexpected(doorbell_buffer.error());
  const auto engine = keys.choice("aio", kEngines);
  if (!engine) return std::unexpected(engine.error());

  const std::string& serial = keys.text("serial");
  if (serial.size() > 20)
    return std::unexpected(ConfigError{fmt::format("nvme: serial={} is longer than 20 characters", serial)});
  const u32 block_size = *block == 0 ? 512 : 4096;
  if (*size % block_size != 0) {
    return std::unexpected(
        ConfigError{fmt::format("nvme: size={} is not a multiple of the block, {} bytes", *size, block_size)});
  }
  const auto protection = *read_only ? Protection::kReadOnly : Protection::kWritable;
  plan.config = {.io_queues = static_cast<u32>(*queues),
                 .block_lg2 = *block == 0 ? 9u : 12u,
                 .namespaces = static_cast<u32>(*namespaces),
                 .namespace_size = *size,
                 .protection = protection,
                 .sgl = *sgl,
                 .doorbell_buffer = *doorbell_buffer,
                 .serial = serial};
  plan.image = {.path = keys.text("file"),
                .namespace_size = keys.given("size") ? std::optional(*size) : std::nullopt,
                .namespaces = static_cast<u32>(*namespaces),
                .block = block_size,
                .protection = protection};
  plan.engine = *engine == 0 ? Engine::kUring : Engine::kSync;
  return {};
}

Configured<Blueprint> configure(const KeyValues& given, Poller& poller) {
  const auto keys = Parameters::parse("nvme", kKeys, given);
  if (!keys) return std::unexpected(keys.error());
  const auto mmap = keys->flag("mmap");
  if (!mmap) return std::unexpected(mmap.error());
  const auto plan = std::make_shared<Plan>();
  if (const auto read = read_plan(*keys, *plan); !read) return std::unexpected(read.error());
  return Blueprint{.spec = function_spec(plan->config, *mmap ? pci::Mappable::kYes : pci::Mappable::kNo),
                   .make =
                       [plan, &poller](pci::ModelPorts ports) {
                         auto store = make_store(*plan, ports);
                         return std::make_unique<Controller>(plan->config, std::move(store), std::move(ports), poller);
                       },
                   .acquire = [plan] { return acquire(*plan); }};
}

}  // namespace

Kind kind() {
  return {.name = "nvme",
          .summary = "NVMe 1.4 controller 1b36:0010: 64 I/O queue pairs with MSI-X, blocks in memory or in a raw file",
          .keys = kKeys,
          .configure = configure};
}

}  // namespace iommufd::models::nvme
