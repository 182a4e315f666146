// SPDX-License-Identifier: BSD-3-Clause
#include "dump/files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include "dump/json.hpp"

namespace iommufd::dump {
namespace {

using Layout = Json::Layout;

std::string_view name_of(Access access) {
  constexpr std::array<std::string_view, 4> kNames{"--", "r-", "-w", "rw"};
  return kNames[static_cast<std::size_t>(access)];
}

std::string_view name_of(iommu::DirtyTracking tracking) {
  switch (tracking) {
    case iommu::DirtyTracking::kUnsupported: return "unsupported";
    case iommu::DirtyTracking::kOff: return "off";
    case iommu::DirtyTracking::kOn: return "on";
  }
  return "?";
}

// "4K", "2M", "512G".
std::string size_name(unsigned lg2) {
  constexpr std::string_view kUnits = " KMGTPE";
  const unsigned unit = lg2 / 10;
  std::string name = fmt::format("{}", u64{1} << (lg2 % 10));
  if (unit != 0) name += kUnits[unit];
  return name;
}

std::string size_names(u64 bitmap) {
  std::string names;
  for (unsigned lg2 = 0; lg2 < 64; ++lg2)
    if ((bitmap >> lg2 & 1) != 0) names += (names.empty() ? "" : " ") + size_name(lg2);
  return names;
}

std::string owner_name(const core::HwptSnapshot& hwpt) {
  return hwpt.kind == iommu::Kind::kNone ? "none (noiommu)"
                                         : fmt::format("{} ({})", iommu::kind_name(hwpt.kind), hwpt.iommu);
}

class Tree final : public pt::SnapshotReader::Visitor {
 public:
  using Place = pt::SnapshotReader::Place;

  void table(const pt::TablePage& page, const Place& from) override {
    if (from.page == nullptr) {
      text += fmt::format("root: table {:#x}, level {}\n", page.address.raw(), page.level);
      return;
    }
    text += fmt::format("{} {:#x}: table {:#x}, level {}\n", slot(from, 1), from.iova, page.address.raw(), page.level);
  }

  void run(const Place& first, unsigned items, const pt::MappedRun& run) override {
    text += fmt::format("{} {:#x}..{:#x} -> {:#x}..{:#x} {} {}{}{}\n", slot(first, items), run.iova,
                        run.iova + (run.length - 1), run.pa, run.pa + (run.length - 1), name_of(run.access),
                        size_name(run.size_lg2), run.accessed ? " accessed" : "", run.dirty ? " dirty" : "");
  }

  void damaged(const Place& at, u64 item, const char* why) override {
    text += fmt::format("{} {:#x}: damaged: {:#018x} {}\n", slot(at, 1), at.iova, item, why);
  }

  std::string text;

 private:
  static std::string slot(const Place& at, unsigned items) {
    const std::string indent(2 * (at.depth + std::size_t{1}), ' ');
    if (items == 1) return fmt::format("{}[{}]", indent, at.index);
    return fmt::format("{}[{}..{}]", indent, at.index, at.index + items - 1);
  }
};

void put_devices(Json& json, const core::HwptSnapshot& hwpt) {
  json.begin_list("devices");
  for (const core::AttachedDevice& device : hwpt.devices) {
    json.begin_object({}, Layout::kOneLine)
        .number("id", device.id)
        .text("bdf", device.name)
        .number("pasid", device.pasid);
    if (device.iotlb)
      json.begin_object("iotlb", Layout::kOneLine)
          .number("hits", device.iotlb->hits)
          .number("misses", device.iotlb->misses)
          .number("walks", device.iotlb->walks)
          .number("invalidated", device.iotlb->invalidated)
          .end_object();
    json.end_object();
  }
  json.end_list();
}

void put_properties(Json& json, const core::HwptSnapshot& hwpt) {
  const pt::Snapshot& table = hwpt.table;
  json.number("hwpt", hwpt.id).number("ioas", hwpt.ioas).text("origin", hwpt.automatic ? "automatic" : "manual");
  json.text("iommu", iommu::kind_name(hwpt.kind)).text("iommu_name", hwpt.iommu);
  json.text("format", table.table.format->name).address("root", table.top.root.raw());
  json.number("top_level", table.top.level)
      .number("hardware_depth", table.table.format->hardware_depth(table.top.level));
  json.number("va_bits", table.table.va_bits);
}

void put_index_entry(Json& json, const ContextRecord& context) {
  json.number("context", context.number);
  json.begin_list("ioases", Layout::kOneLine);
  for (const u32 id : context.ioases) json.number({}, id);
  json.end_list();
  json.begin_list("devices");
  for (const auto& [id, device] : context.devices)
    json.begin_object({}, Layout::kOneLine)
        .number("id", id)
        .text("bdf", device.name)
        .text("iommu", iommu::kind_name(device.kind))
        .text("iommu_name", device.iommu)
        .end_object();
  json.end_list();
}

std::string stem_of(const ContextRecord& context, u32 hwpt) {
  return fmt::format("context{}/hwpt{}", context.number, hwpt);
}

template <class T>
void put_bytes(std::string& out, const T& value) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(T));
  out.append(bytes.data(), bytes.size());
}

}  // namespace

std::string text_of(const core::HwptSnapshot& hwpt) {
  const pt::Snapshot& table = hwpt.table;
  std::string text = fmt::format("hwpt {}: ioas {}, {}, iommu {}\n", hwpt.id, hwpt.ioas,
                                 hwpt.automatic ? "automatic" : "manual", owner_name(hwpt));
  for (const core::AttachedDevice& device : hwpt.devices) {
    text += fmt::format("device {}: {}", device.id, device.name);
    if (device.pasid != 0) text += fmt::format(" pasid {}", device.pasid);
    if (device.iotlb)
      text += fmt::format(", IOTLB {} hits, {} misses, {} walks, {} invalidated", device.iotlb->hits,
                          device.iotlb->misses, device.iotlb->walks, device.iotlb->invalidated);
    text += "\n";
  }
  text += fmt::format("format: {}, hardware depth {}, {} tables\n", table.table.format->name,
                      table.table.format->hardware_depth(table.top.level), table.pages.size());
  text += fmt::format("iova: {:#x}..{:#x}, entries of {}\n", hwpt.aperture.start, hwpt.aperture.last,
                      size_names(table.pgsize_bitmap));
  text += fmt::format("dirty tracking: {}\n", name_of(hwpt.tracking));
  Tree tree;
  pt::SnapshotReader(table).read(tree);
  return text + tree.text;
}

std::string json_of(const core::HwptSnapshot& hwpt) {
  const pt::Snapshot& table = hwpt.table;
  Json json;
  json.begin_object().number("version", kVersion);
  put_properties(json, hwpt);
  json.begin_list("page_sizes", Layout::kOneLine);
  for (unsigned lg2 = 0; lg2 < 64; ++lg2)
    if ((table.pgsize_bitmap >> lg2 & 1) != 0) json.address({}, u64{1} << lg2);
  json.end_list();
  json.begin_object("aperture", Layout::kOneLine)
      .address("first", hwpt.aperture.start)
      .address("last", hwpt.aperture.last)
      .end_object();
  json.text("dirty_tracking", name_of(hwpt.tracking));
  put_devices(json, hwpt);
  json.begin_list("tables");
  for (const pt::TablePage& page : table.pages)
    json.begin_object({}, Layout::kOneLine)
        .address("address", page.address.raw())
        .number("level", page.level)
        .address("iova", page.iova)
        .end_object();
  json.end_list();
  json.begin_list("runs");
  for (const pt::MappedRun& run : pt::runs_of(table)) {
    json.begin_object({}, Layout::kOneLine)
        .address("iova", run.iova)
        .address("last", run.iova + (run.length - 1))
        .address("pa", run.pa)
        .text("access", name_of(run.access))
        .address("entry_size", u64{1} << run.size_lg2);
    if (table.table.format->tracks_dirty) json.flag("accessed", run.accessed).flag("dirty", run.dirty);
    json.end_object();
  }
  json.end_list().end_object();
  return std::move(json).take();
}

// docs/dump.md, "hwptN.pages".
std::string pages_of(const pt::Snapshot& table) {
  constexpr std::array<char, 8> kMagic{'I', 'O', 'M', 'M', 'U', 'P', 'T', '\0'};
  constexpr std::size_t kNameBytes = 24, kHeaderBytes = 64;
  std::string out;
  out.reserve(kHeaderBytes + table.pages.size() * (16 + kPageSize));
  put_bytes(out, kMagic);
  put_bytes(out, u32{kVersion});
  put_bytes(out, static_cast<u32>(kPageSize));
  put_bytes(out, table.top.root.raw());
  put_bytes(out, u32{table.top.level});
  put_bytes(out, u32{table.table.va_bits});
  put_bytes(out, u64{table.pages.size()});
  std::array<char, kNameBytes> name{};
  table.table.format->name.copy(name.data(), name.size() - 1);
  put_bytes(out, name);
  for (const pt::TablePage& page : table.pages) {
    put_bytes(out, page.address.raw());
    put_bytes(out, u32{page.level});
    put_bytes(out, u32{0});
    put_bytes(out, page.items);
  }
  return out;
}

std::vector<OutputFile> files_of(const ContextRecord& context) {
  std::vector<OutputFile> files;
  for (const auto& [id, record] : context.hwpts) {
    const std::string stem = stem_of(context, id);
    files.push_back({stem + ".txt", text_of(record.hwpt)});
    files.push_back({stem + ".json", json_of(record.hwpt)});
    files.push_back({stem + ".pages", pages_of(record.hwpt.table)});
  }
  return files;
}

std::string index_entry(const ContextRecord& context) {
  Json json;
  json.begin_object();
  put_index_entry(json, context);
  json.begin_list("hwpts");
  for (const auto& [id, record] : context.hwpts) {
    const std::string stem = stem_of(context, id);
    json.begin_object();
    put_properties(json, record.hwpt);
    put_devices(json, record.hwpt);
    json.text("text", stem + ".txt").text("json", stem + ".json").text("pages", stem + ".pages").end_object();
  }
  json.end_list().end_object();
  return std::move(json).take();
}

OutputFile index_file(std::span<const std::string> entries) {
  Json json;
  json.begin_object().number("version", kVersion).begin_list("contexts");
  for (const std::string& entry : entries) json.raw({}, entry);
  json.end_list().end_object();
  return {"index.json", std::move(json).take()};
}

std::string text_of(std::span<const ContextRecord> contexts) {
  std::string text;
  for (const ContextRecord& context : contexts) {
    if (context.hwpts.empty()) text += fmt::format("context {}: no hwpt\n", context.number);
    for (const auto& [id, record] : context.hwpts)
      text += fmt::format("context {}, {}", context.number, text_of(record.hwpt));
  }
  if (contexts.empty()) text = "no context: nobody has /dev/iommu open\n";
  return text;
}

std::vector<OutputFile> render(Form form, std::span<const ContextRecord> contexts) {
  switch (form) {
    case Form::kText: return {{"", text_of(contexts)}};
    case Form::kJson: return {{"", json_of(contexts)}};
    case Form::kFiles: break;
  }
  std::vector<OutputFile> files;
  std::vector<std::string> entries;
  for (const ContextRecord& context : contexts) {
    std::ranges::move(files_of(context), std::back_inserter(files));
    entries.push_back(index_entry(context));
  }
  files.push_back(index_file(entries));
  return files;
}

std::string json_of(std::span<const ContextRecord> contexts) {
  Json json;
  json.begin_object().number("version", kVersion).begin_list("contexts");
  for (const ContextRecord& context : contexts) {
    json.begin_object();
    put_index_entry(json, context);
    json.begin_list("hwpts");
    for (const auto& [id, record] : context.hwpts) json.raw({}, json_of(record.hwpt));
    json.end_list().end_object();
  }
  json.end_list().end_object();
  return std::move(json).take();
}

}  // namespace iommufd::dump
