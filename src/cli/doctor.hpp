// SPDX-License-Identifier: BSD-3-Clause
// `iommufd-user doctor`: what this machine offers to `run`, what is missing and what that costs. Whatever can be tried
// is tried, in a child process, not inferred from versions.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace iommufd::cli {

enum class State { kYes, kLimited, kNo };
enum class Need { kRequired, kUseful };  // kRequired: without it `run` does not work
enum class Colour { kOff, kOn };

struct Finding {
  std::string what;  // "seccomp notification"
  State state = State::kYes;
  std::string detail = {};  // what was found; may be empty
  std::string cost = {};    // what its lack means for programs; empty when nothing lacks
  Need need = Need::kUseful;
};

struct Section {
  std::string title;
  std::vector<Finding> findings;
};

// Examines this machine. Forks; to be called with one thread.
std::vector<Section> examine_machine();

// The report, aligned, with a verdict as its last line.
std::string render(std::span<const Section> sections, Colour colour);

// 0: `run` can work; 1: something required is missing.
int verdict(std::span<const Section> sections);

}  // namespace iommufd::cli
