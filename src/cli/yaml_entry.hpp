// SPDX-License-Identifier: BSD-3-Clause
// A YAML file, read value by value. Each value knows where it stands and the way to it, so that every mistake is
// "FILE:LINE:COLUMN: devices[2].iommu: what is wrong". JSON is YAML.
#pragma once

#include <yaml-cpp/yaml.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/values.hpp"

namespace iommufd::cli {

class YamlMap;

class YamlEntry {
 public:
  // The value of the file `name`, whose content is `text`. Errors: not YAML, nothing in it, more than one document.
  static Parsed<YamlEntry> load(const std::string& text, const std::string& name);

  // A mistake in this value.
  [[nodiscard]] std::string mistake(std::string_view what) const;
  [[nodiscard]] std::unexpected<std::string> wrong(std::string_view what) const {
    return std::unexpected(mistake(what));
  }
  [[nodiscard]] int line() const { return mark_.line + 1; }
  // "devices[2].iommu"; empty: the whole file.
  [[nodiscard]] const std::string& path() const { return path_; }

  // Each is an error when the value is something else. `what` the value is to be: "a list of devices".
  [[nodiscard]] Parsed<std::string> text(std::string_view what) const;
  [[nodiscard]] Parsed<std::vector<YamlEntry>> list(std::string_view what) const;
  [[nodiscard]] Parsed<YamlMap> map(std::string_view what) const;
  [[nodiscard]] Parsed<bool> truth() const;

  // The text, through one of the parsers of the command line.
  template <class T>
  [[nodiscard]] Parsed<T> parse(Parsed<T> (*parser)(std::string_view), std::string_view what) const {
    const Parsed<std::string> raw = text(what);
    if (!raw) return std::unexpected(raw.error());
    Parsed<T> value = parser(*raw);
    if (!value) return wrong(value.error());
    return value;
  }

 private:
  friend class YamlMap;
  YamlEntry(const YAML::Node& node, YAML::Mark mark, std::string path, std::shared_ptr<const std::string> file)
      : node_(node), mark_(mark), path_(std::move(path)), file_(std::move(file)) {}
  [[nodiscard]] std::unexpected<std::string> wrong_type(std::string_view what) const;

  YAML::Node node_;
  YAML::Mark mark_;
  std::string path_;
  std::shared_ptr<const std::string> file_;
};

// The members of a map, in the order of the file; no key stands twice.
class YamlMap {
 public:
  struct Member {
    std::string name;
    YamlEntry key, value;  // the same way, two places
  };

  // Error: a key that is not of `known`; it names the keys of `owner` ("an IOMMU").
  [[nodiscard]] Parsed<void> only(std::span<const std::string_view> known, std::string_view owner) const;
  [[nodiscard]] const YamlEntry* find(std::string_view name) const;
  // Error: it is not there.
  [[nodiscard]] Parsed<YamlEntry> require(std::string_view name, std::string_view hint) const;
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }

 private:
  friend class YamlEntry;
  explicit YamlMap(YamlEntry self) : self_(std::move(self)) {}
  YamlEntry self_;
  std::vector<Member> members_;
};

}  // namespace iommufd::cli
