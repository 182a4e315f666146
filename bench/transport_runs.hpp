// SPDX-License-Identifier: BSD-3-Clause
// What the benchmarks from outside share: runs of the product with a program that prints `NAME VALUE` lines, and the ROW lines
// that tools/bench reads.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "bench/bare_transport.hpp"

namespace runs {

using Figures = std::map<std::string, double>;
using Command = std::vector<std::string>;

// The build tree: IOMMUFD_BUILD_DIR, else the directory above this program's.
inline std::filesystem::path build_tree() {
  const char* tree = std::getenv("IOMMUFD_BUILD_DIR");
  return tree != nullptr ? tree : std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path();
}

inline void row(const std::string& name, double value, const char* unit, const char* keys = "") {
  std::printf("ROW %s %.3f %s %s\n", name.c_str(), value, unit, keys);
  std::fflush(stdout);
}

enum class Output { kRead, kDropped };

// Runs a command to its end; `text` is what it printed. Exits when the command fails.
inline std::string run(const Command& command, Output output) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) bare::fail("pipe");
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output == Output::kRead)
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  else
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  if (::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ) != 0) bare::fail(argv[0]);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  if (output == Output::kRead)
    for (ssize_t n = 0; (n = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::fprintf(stderr, "bench: failed (status %#x):", static_cast<unsigned>(status));
    for (const std::string& word : command) std::fprintf(stderr, " %s", word.c_str());
    std::fprintf(stderr, "\n");
    std::exit(1);
  }
  return text;
}

inline Figures figures(const std::string& text) {
  Figures out;
  std::istringstream lines(text);
  std::string name;
  double value = 0;
  while (lines >> name >> value) out[name] = value;
  return out;
}

// `program` under `product run OPTIONS`.
inline Command under_run(const std::string& product, const std::vector<std::string>& options, const Command& program) {
  Command out{product, "run"};
  out.insert(out.end(), options.begin(), options.end());
  out.emplace_back("--");
  out.insert(out.end(), program.begin(), program.end());
  return out;
}

}  // namespace runs
