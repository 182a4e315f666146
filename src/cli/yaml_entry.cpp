// SPDX-License-Identifier: BSD-3-Clause
#include "cli/yaml_entry.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.hpp"
#include "cli/device_value.hpp"

namespace iommufd::cli {
namespace {

// yaml-cpp counts from 0, and has -1 where it knows no place.
std::string place(const std::string& file, const YAML::Mark& mark) {
  return fmt::format("{}:{}:{}", file, std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1);
}

std::string describe(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar: return fmt::format("'{}'", node.Scalar());
    case YAML::NodeType::Sequence: return "a list";
    case YAML::NodeType::Map: return "a map";
    default: return "empty";
  }
}

}  // namespace

Parsed<YamlEntry> YamlEntry::load(const std::string& text, const std::string& name) {
  std::vector<YAML::Node> documents;
  try {
    documents = YAML::LoadAll(text);
  } catch (const YAML::Exception& e) {
    return std::unexpected(fmt::format("{}: not YAML or JSON: {}; check the indentation, brackets and quotes before it",
                                       place(name, e.mark), e.msg));
  }
  if (documents.size() > 1)
    return std::unexpected(fmt::format("{}: a second document begins; a machine is one: remove the line '---'",
                                       place(name, documents[1].Mark())));
  if (documents.empty() || documents[0].IsNull())
    return std::unexpected(fmt::format("{}:1:1: the file is empty; write at least 'devices: []'", name));
  return YamlEntry(documents[0], documents[0].Mark(), {}, std::make_shared<const std::string>(name));
}

std::string YamlEntry::mistake(std::string_view what) const {
  const std::string at = place(*file_, mark_);
  return path_.empty() ? fmt::format("{}: {}", at, what) : fmt::format("{}: {}: {}", at, path_, what);
}

std::unexpected<std::string> YamlEntry::wrong_type(std::string_view what) const {
  return wrong(fmt::format("must be {}, and is {}", what, describe(node_)));
}

Parsed<std::string> YamlEntry::text(std::string_view what) const {
  if (!node_.IsScalar()) return wrong_type(what);
  return node_.Scalar();
}

Parsed<bool> YamlEntry::truth() const {
  if (node_.IsScalar() && node_.Scalar() == "true") return true;
  if (node_.IsScalar() && node_.Scalar() == "false") return false;
  return wrong_type("true or false");
}

Parsed<std::vector<YamlEntry>> YamlEntry::list(std::string_view what) const {
  if (!node_.IsSequence()) return wrong_type(what);
  std::vector<YamlEntry> out;
  for (const YAML::Node& item : node_)
    out.push_back({item, item.Mark(), fmt::format("{}[{}]", path_, out.size()), file_});
  return out;
}

Parsed<YamlMap> YamlEntry::map(std::string_view what) const {
  if (!node_.IsMap()) return wrong_type(what);
  YamlMap out(*this);
  for (const auto& item : node_) {
    if (!item.first.IsScalar())
      return YamlEntry(item.first, item.first.Mark(), path_, file_)
          .wrong(fmt::format("a key must be a word, and is {}", describe(item.first)));
    const std::string& name = item.first.Scalar();
    const std::string path = path_.empty() ? name : fmt::format("{}.{}", path_, name);
    // yaml-cpp does not know where a value that is missing would stand.
    const YAML::Mark key = item.first.Mark(), value = item.second.IsNull() ? key : item.second.Mark();
    YamlMap::Member member{name, {item.first, key, path, file_}, {item.second, value, path, file_}};
    const auto before = std::ranges::find(out.members_, name, &YamlMap::Member::name);
    if (before != out.members_.end())
      return member.key.wrong(fmt::format("is given twice, first in line {}; remove one of them", before->key.line()));
    out.members_.push_back(std::move(member));
  }
  return out;
}

Parsed<void> YamlMap::only(std::span<const std::string_view> known, std::string_view owner) const {
  for (const Member& member : members_)
    if (std::ranges::find(known, member.name) == known.end())
      return member.key.wrong(unknown_key(member.name, {known.begin(), known.end()}, owner));
  return {};
}

const YamlEntry* YamlMap::find(std::string_view name) const {
  const auto member = std::ranges::find(members_, name, &Member::name);
  return member == members_.end() ? nullptr : &member->value;
}

Parsed<YamlEntry> YamlMap::require(std::string_view name, std::string_view hint) const {
  if (const YamlEntry* entry = find(name)) return *entry;
  return self_.wrong(fmt::format("has no '{}'; {}", name, hint));
}

}  // namespace iommufd::cli
