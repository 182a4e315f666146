// SPDX-License-Identifier: BSD-3-Clause
#include "cli/values.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "cli/suggest.hpp"

namespace iommufd::cli {
namespace {

// capabilities(7), by number.
constexpr std::array<std::string_view, 41> kCapabilities{"chown",
                                                         "dac_override",
                                                         "dac_read_search",
                                                         "fowner",
                                                         "fsetid",
                                                         "kill",
                                                         "setgid",
                                                         "setuid",
                                                         "setpcap",
                                                         "linux_immutable",
                                                         "net_bind_service",
                                                         "net_broadcast",
                                                         "net_admin",
                                                         "net_raw",
                                                         "ipc_lock",
                                                         "ipc_owner",
                                                         "sys_module",
                                                         "sys_rawio",
                                                         "sys_chroot",
                                                         "sys_ptrace",
                                                         "sys_pacct",
                                                         "sys_admin",
                                                         "sys_boot",
                                                         "sys_nice",
                                                         "sys_resource",
                                                         "sys_time",
                                                         "sys_tty_config",
                                                         "mknod",
                                                         "lease",
                                                         "audit_write",
                                                         "audit_control",
                                                         "setfcap",
                                                         "mac_override",
                                                         "mac_admin",
                                                         "syslog",
                                                         "wake_alarm",
                                                         "block_suspend",
                                                         "audit_read",
                                                         "perfmon",
                                                         "bpf",
                                                         "checkpoint_restore"};

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// The whole text as a number, decimal or 0x....
std::optional<u64> number(std::string_view text) {
  const int base = text.starts_with("0x") || text.starts_with("0X") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  u64 value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

struct KeyValue {
  std::string_view key;
  std::string_view value;
};

// "KEY=VALUE"; nothing without a key or a '='.
std::optional<KeyValue> key_value(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) return std::nullopt;
  return KeyValue{text.substr(0, equals), text.substr(equals + 1)};
}

template <class T>
Parsed<T> choose(std::string_view text, std::initializer_list<std::pair<std::string_view, T>> choices) {
  std::vector<std::string_view> words;
  for (const auto& [word, value] : choices) {
    if (word == text) return value;
    words.push_back(word);
  }
  return std::unexpected(fmt::format("'{}' is none of {}{}", text, fmt::join(words, ", "), suggestion(text, words)));
}

}  // namespace

Parsed<u64> parse_number(std::string_view text) {
  if (const auto value = number(text)) return *value;
  return std::unexpected(fmt::format("'{}' is not a number; write decimal or 0x...", text));
}

Parsed<u64> parse_size(std::string_view text) {
  std::string_view digits = text;
  if (digits.ends_with("iB")) digits.remove_suffix(2);
  unsigned shift = 0;
  constexpr std::string_view kUnits = "KMGT";
  if (!digits.empty()) {
    if (const std::size_t unit = kUnits.find(digits.back()); unit != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(unit) + 1);
      digits.remove_suffix(1);
    }
  }
  const bool bare_suffix = text.ends_with("iB") && shift == 0;
  const std::optional<u64> value = number(digits);
  if (!value || bare_suffix || *value > ~u64{0} >> shift) {
    return std::unexpected(fmt::format("'{}' is not a size; write bytes, or K, M, G, T: 4096, 0x100000, 64M", text));
  }
  return *value << shift;
}

Parsed<run::CapsPolicy> parse_caps(std::string_view text) {
  using Kind = run::CapsPolicy::Kind;
  if (text == "all") return run::CapsPolicy{Kind::kAll, 0};
  if (text == "none") return run::CapsPolicy{Kind::kNone, 0};
  if (text == "real") return run::CapsPolicy{Kind::kReal, 0};
  run::CapsPolicy policy{Kind::kList, 0};
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string name = lower(text.substr(at, end - at));
    const std::string_view bare = name.starts_with("cap_") ? std::string_view(name).substr(4) : std::string_view(name);
    const auto it = std::ranges::find(kCapabilities, bare);
    if (it == kCapabilities.end()) {
      return std::unexpected(
          fmt::format("'{}' is no capability{}; write all, none, real or names from capabilities(7), e.g. "
                      "sys_rawio,ipc_lock",
                      text.substr(at, end - at), suggestion(bare, kCapabilities)));
    }
    policy.mask |= u64{1} << (it - kCapabilities.begin());
    at = end + 1;
  }
  return policy;
}

Parsed<run::MemlockPolicy> parse_memlock(std::string_view text) {
  using Kind = run::MemlockPolicy::Kind;
  if (text == "real") return run::MemlockPolicy{Kind::kReal, 0};
  if (text == "unlimited") return run::MemlockPolicy{Kind::kUnlimited, 0};
  const Parsed<u64> bytes = parse_size(text);
  if (!bytes) return std::unexpected(bytes.error() + "; or real, unlimited");
  return run::MemlockPolicy{Kind::kSize, *bytes};
}

Parsed<machine::PhysSpec> parse_phys(std::string_view text) {
  using Kind = machine::PhysSpec::Kind;
  constexpr std::string_view kFragmented = "fragmented", kContiguous = "contiguous";
  machine::PhysSpec spec;
  if (text == kFragmented) return spec;
  if (text.starts_with("fragmented:")) {
    spec.seed = number(text.substr(kFragmented.size() + 1));
    if (!spec.seed) return std::unexpected(fmt::format("'{}' is not a seed; write a number: fragmented:7", text));
    return spec;
  }
  if (text != kContiguous && !text.starts_with("contiguous,")) {
    return std::unexpected(
        fmt::format("'{}' is neither fragmented[:SEED] nor contiguous[,base=ADDRESS][,size=SIZE]", text));
  }
  spec.kind = Kind::kContiguous;
  std::string_view rest = text.substr(kContiguous.size());
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(item.size());
    const auto kv = key_value(item);
    std::optional<u64>* field = kv && kv->key == "base" ? &spec.base : kv && kv->key == "size" ? &spec.size : nullptr;
    if (field == nullptr) return std::unexpected(fmt::format("'{}' is neither base=ADDRESS nor size=SIZE", item));
    if (field->has_value()) return std::unexpected(fmt::format("{}= is given twice", kv->key));
    const Parsed<u64> value = parse_size(kv->value);
    if (!value) return std::unexpected(fmt::format("{}={}: {}", kv->key, kv->value, value.error()));
    if (!is_aligned(*value, kPageSize)) {
      return std::unexpected(fmt::format("{}={} is not a multiple of the page size (4096)", kv->key, kv->value));
    }
    *field = *value;
  }
  if (spec.size == u64{0}) return std::unexpected("size=0: a machine without memory cannot do DMA");
  return spec;
}

Parsed<run::HugetlbPolicy> parse_hugetlb(std::string_view text) {
  using Kind = run::HugetlbPolicy::Kind;
  constexpr std::string_view kEmulate = "emulate", kSize = "emulate,size=";
  constexpr u64 kPageBytes = u64{2} << 20;
  run::HugetlbPolicy policy;
  if (text == "real") return policy;
  policy.kind = Kind::kEmulate;
  if (text == kEmulate) return policy;
  if (!text.starts_with(kSize))
    return std::unexpected(fmt::format("'{}' is neither real nor emulate[,size=SIZE]", text));
  const Parsed<u64> bytes = parse_size(text.substr(kSize.size()));
  if (!bytes) return std::unexpected(bytes.error());
  if (*bytes == 0 || !is_aligned(*bytes, kPageBytes)) return std::unexpected("the size is a multiple of 2M, and not 0");
  policy.bytes = *bytes;
  return policy;
}

Parsed<run::PinPolicy> parse_pin(std::string_view text) {
  return choose<run::PinPolicy>(text, {{"auto", run::PinPolicy::kAuto}, {"real", run::PinPolicy::kReal}});
}

Parsed<run::PathsPolicy> parse_paths(std::string_view text) {
  return choose<run::PathsPolicy>(text, {{"auto", run::PathsPolicy::kAuto},
                                         {"intercept", run::PathsPolicy::kIntercept},
                                         {"mount", run::PathsPolicy::kMount}});
}

Parsed<machine::ContainerKind> parse_container(std::string_view text) {
  return choose<machine::ContainerKind>(
      text, {{"native", machine::ContainerKind::kNative}, {"iommufd", machine::ContainerKind::kIommufd}});
}

Parsed<run::HostFeatures> parse_host(std::string_view text) {
  return choose<run::HostFeatures>(text, {{"all", run::HostFeatures::kAll}, {"floor", run::HostFeatures::kFloor}});
}

}  // namespace iommufd::cli
