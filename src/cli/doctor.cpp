// SPDX-License-Identifier: BSD-3-Clause
#include "cli/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "cli/doctor_sections.hpp"

namespace iommufd::cli {
namespace {

struct Word {
  const char* text;
  const char* colour;
};

Word word(const Finding& f) {
  switch (f.state) {
    case State::kYes: return {"yes", "\033[32m"};
    case State::kLimited: return {"limited", "\033[33m"};
    case State::kNo: return f.need == Need::kRequired ? Word{"NO", "\033[31m"} : Word{"no", "\033[33m"};
  }
  return {"?", ""};
}

constexpr std::size_t kStateWidth = 7;  // "limited"

}  // namespace

std::vector<Section> examine_machine() {
  return {system_section(), calls_section(), memory_section(), paths_section(), host_section(), kernel_section()};
}

std::string render(std::span<const Section> sections, Colour colour) {
  std::size_t width = 0;
  for (const Section& s : sections) {
    for (const Finding& f : s.findings) width = std::max(width, f.what.size());
  }
  std::string out;
  const auto to = std::back_inserter(out);
  for (const Section& s : sections) {
    fmt::format_to(to, "{}\n", s.title);
    for (const Finding& f : s.findings) {
      const Word w = word(f);
      const bool paint = colour == Colour::kOn;
      fmt::format_to(to, "  {:{}}  {}{:{}}{}", f.what, width, paint ? w.colour : "", w.text,
                     f.detail.empty() ? 0 : kStateWidth, paint ? "\033[0m" : "");
      if (!f.detail.empty()) fmt::format_to(to, "  {}", f.detail);
      out += '\n';
      if (!f.cost.empty()) fmt::format_to(to, "  {:{}}  -> {}\n", "", width, f.cost);
    }
    out += '\n';
  }
  fmt::format_to(to, "{}\n",
                 verdict(sections) == 0 ? "`iommufd-user run` can work here."
                                        : "`iommufd-user run` cannot work here: see NO above.");
  return out;
}

int verdict(std::span<const Section> sections) {
  const auto is_missing = [](const Finding& f) { return f.need == Need::kRequired && f.state == State::kNo; };
  return std::ranges::any_of(sections, [&](const Section& s) { return std::ranges::any_of(s.findings, is_missing); })
             ? 1
             : 0;
}

}  // namespace iommufd::cli
