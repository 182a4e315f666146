// SPDX-License-Identifier: BSD-3-Clause
// The files of a dump (docs/dump.md), as names and bytes. Pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dump/record.hpp"

namespace iommufd::dump {

inline constexpr unsigned kVersion = 1;  // of the formats

struct OutputFile {
  std::string name;  // relative; may have one directory in it
  std::string bytes;
};

// A table as a tree for people, as JSON, and as raw pages.
std::string text_of(const core::HwptSnapshot& hwpt);
std::string json_of(const core::HwptSnapshot& hwpt);
std::string pages_of(const pt::Snapshot& table);

// hwptN.txt, hwptN.json and hwptN.pages of every HWPT, in contextN/.
std::vector<OutputFile> files_of(const ContextRecord& context);
// One object of the list "contexts" of index.json.
std::string index_entry(const ContextRecord& context);
// index.json, of entries.
OutputFile index_file(std::span<const std::string> entries);

// What somebody may ask for: text or JSON in one file without a name, or all files with the index.
enum class Form : u32 { kText, kJson, kFiles };
std::vector<OutputFile> render(Form form, std::span<const ContextRecord> contexts);

// All trees as one text; all tables and the index as one JSON document.
std::string text_of(std::span<const ContextRecord> contexts);
std::string json_of(std::span<const ContextRecord> contexts);

}  // namespace iommufd::dump
