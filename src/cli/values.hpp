// SPDX-License-Identifier: BSD-3-Clause
// The values that options of `run` take, parsed. Pure functions; the error is a sentence for the user that names the value
// and what would be right, without the name of the option.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "machine/spec.hpp"
#include "run/options.hpp"

namespace iommufd::cli {

template <class T>
using Parsed = std::expected<T, std::string>;

// MODEL[,addr=DDDD:BB:DD.F][,iommu=NAME][,group=NAME][,KEY=VALUE...]. Keys and values are checked with the model; an IOMMU is
// one of `iommus`, or a kind.
Parsed<machine::DeviceSpec> parse_device(std::string_view text, const std::vector<machine::IommuSpec>& iommus = {});

// Decimal or 0x....
Parsed<u64> parse_number(std::string_view text);

// A number of bytes: decimal or 0x..., with K, M, G or T for powers of 1024 ("64M", also "64MiB").
Parsed<u64> parse_size(std::string_view text);

// all | none | real | NAME[,NAME...], names as capabilities(7) has them, in either case, with or without "CAP_".
Parsed<run::CapsPolicy> parse_caps(std::string_view text);
// real | unlimited | SIZE
Parsed<run::MemlockPolicy> parse_memlock(std::string_view text);
// fragmented[:SEED] | contiguous[,base=ADDRESS][,size=SIZE]
Parsed<machine::PhysSpec> parse_phys(std::string_view text);
// real | emulate[,size=SIZE]
Parsed<run::HugetlbPolicy> parse_hugetlb(std::string_view text);
// auto | real
Parsed<run::PinPolicy> parse_pin(std::string_view text);
// auto | intercept | mount
Parsed<run::PathsPolicy> parse_paths(std::string_view text);
// native | iommufd
Parsed<machine::ContainerKind> parse_container(std::string_view text);

// all | floor (for tests: as on the oldest supported kernel)
Parsed<run::HostFeatures> parse_host(std::string_view text);

}  // namespace iommufd::cli
