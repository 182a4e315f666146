// SPDX-License-Identifier: BSD-3-Clause
// open(2) of a node of ours: makes the file, its identity, and the descriptor in the client.
#pragma once

#include <sys/stat.h>

#include <string>

#include "run/answer.hpp"
#include "run/client_call.hpp"

namespace iommufd::run {

// Opens a device or a text file with the client's open flags. Pre: `*node` is one of them. `attributes` is what stat says
// about it. Descriptors of it get the first free number from kFirstFd on, and where there is none (RLIMIT_NOFILE) the
// lowest free number.
Answer open_node(const Runtime& runtime, CallScope& scope, const NodeRef& node, const std::string& path,
                 const struct stat& attributes, int flags);

// A text file that no node of the tree stands for.
struct TextFile {
  std::string path;
  struct stat attributes{};
  ReadContent read;
  WriteContent write;
  std::function<void()> closed{};
};
// Opens it with the client's open flags, which the caller has judged.
Answer open_text(const Runtime& runtime, ClientCall& call, const TextFile& text, int flags);

// A file that no node of the tree stands for, and that is read and written by notified calls only.
Answer open_own(const Runtime& runtime, ClientCall& call, std::string path, const struct stat& attributes,
                Ref<ioctl::File> file, int flags);

// Enters `file`, whose set_file() was called, and gives the caller a descriptor of it. When it cannot be had, the file is
// released. Errors: kMFile, kNFile, kNoMem.
Result<int> give_file(const Runtime& runtime, ClientCall& call, const Ref<OpenFile>& file, CloseOnExec close_on_exec);

// Gives the caller a descriptor of a description that we have, where ours are (kFirstFd). Errors: kMFile.
Result<int> give_descriptor(const Runtime& runtime, ClientCall& call, int description, CloseOnExec close_on_exec);

}  // namespace iommufd::run
