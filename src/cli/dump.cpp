// SPDX-License-Identifier: BSD-3-Clause
#include "cli/dump.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "dump/directory.hpp"
#include "run/dump_socket.hpp"

namespace iommufd::cli {
namespace {

int refuse(std::string_view what) {
  fmt::print(stderr, "iommufd-user dump: {}\n", what);
  return 1;
}

int write_files(const dump::Directory& directory, const std::vector<dump::OutputFile>& files) {
  for (const dump::OutputFile& file : files) {
    if (const Result<void> done = directory.write(file); !done)
      return refuse(fmt::format("{}/{}: {}", directory.path(), file.name, errno_name(done.error())));
  }
  return 0;
}

}  // namespace

int execute_dump(const DumpCommand& command) {
  dump::Form form = command.json == DumpCommand::Json::kYes ? dump::Form::kJson : dump::Form::kText;
  std::optional<dump::Directory> directory;
  if (!command.out.empty()) {
    auto opened = dump::Directory::open(command.out);
    if (!opened) return refuse("--out " + opened.error());
    directory = *std::move(opened);
    form = dump::Form::kFiles;
  }
  const auto files = run::request_dump(command.pid, form);
  if (!files) return refuse(files.error());
  if (directory) return write_files(*directory, *files);
  for (const dump::OutputFile& file : *files) {
    if (std::fwrite(file.bytes.data(), 1, file.bytes.size(), stdout) != file.bytes.size() || std::fflush(stdout) != 0)
      return refuse("the output cannot be written");
  }
  return 0;
}

}  // namespace iommufd::cli
