// SPDX-License-Identifier: BSD-3-Clause
#include "run/open_call.hpp"

#include <fcntl.h>

#include <utility>

#include "base/rollback.hpp"
#include "run/attribute_file.hpp"

namespace iommufd::run {
namespace {

constexpr u32 kReadBits = 0444, kWriteBits = 0222;

// O_PATH: a name and nothing else.
class PathOnlyFile final : public ioctl::File {
 public:
  Result<s64> ioctl(ioctl::Call&, u32, u64) override { return Err(Errno::kBadf); }
  Result<u64> read(ioctl::Call&, u64, UserVa, u64) override { return Err(Errno::kBadf); }
  Result<u64> write(ioctl::Call&, u64, UserVa, u64) override { return Err(Errno::kBadf); }
  Result<void> mmap(ioctl::Call&, const ioctl::MmapRequest&) override { return Err(Errno::kBadf); }
  void release() override {}
};

Result<Ref<OpenFile>> open_file(const Runtime& runtime, ClientCall& call, const NodeRef& node, const std::string& path,
                                const struct stat& attributes, OpenMode mode) {
  if ((mode.flags & O_PATH) != 0) {
    Ref<OpenFile> file = IOMMUFD_TRY(OpenFile::make_text(node, path, attributes, {O_RDONLY}, ""));
    file->set_file(make_ref<PathOnlyFile>());
    return file;
  }
  // sysfs looks at the bits and not at who asks; a device node of ours is meant to be opened.
  if (node->kind() == NodeKind::kFile) {
    if ((mode.readable() && (node->mode() & kReadBits) == 0) || (mode.writable() && (node->mode() & kWriteBits) == 0))
      return Err(Errno::kAcces);
    // Text that is only written may come through a descriptor whose writes are not notified.
    const bool native = !mode.readable() && node->content() == Content::kText && node->writable();
    std::string content = native ? std::string() : node->read(reader_of(call)).value_or("");  // an error is of a read
    Ref<OpenFile> file = IOMMUFD_TRY(native ? OpenFile::make_written(node, path, attributes, mode)
                                            : OpenFile::make_text(node, path, attributes, mode, content));
    file->set_file(make_ref<AttributeFile>(
        node->content(), [node](Reader reader) { return node->read(reader); },
        [node](const Write& write) { return node->write(write); }, std::move(content)));
    if (native) file->set_late_writer([node](const Write& write) { return node->write(write); });
    return file;
  }
  Ref<OpenFile> file = IOMMUFD_TRY(OpenFile::make(node, path, attributes, mode));
  file->set_file(IOMMUFD_TRY(runtime.service.open(node->opener(), call, file->memory())));
  return file;
}

}  // namespace

// The free number is looked for from where the last one was given or freed; a number that
// another thread of the client takes between the look and the giving is replaced, which only a program that picks its
// own numbers at or above kFirstFd can do.
Result<int> give_descriptor(const Runtime& runtime, ClientCall& call, int description, CloseOnExec close_on_exec) {
  using Outcome = FdNumbers::Outcome;
  const u64 id = call.scope().notification().id;
  FdNumbers& numbers = call.client().fd_numbers;
  const u32 from = numbers.first();
  u32 end = ~u32{0};
  for (u32 at = from; at < end;) {
    const u32 n = numbers.reserve(at);
    const Result<Fd> probe = call.descriptor(static_cast<int>(n));
    if (probe || probe.error() != Errno::kBadf) {
      numbers.done(n, Outcome::kTaken);
      if (!probe) break;  // pidfd_getfd is refused: no way to know what is free
      at = n + 1;
      continue;
    }
    const Result<int> given = runtime.listener.install_descriptor(id, description, static_cast<int>(n), close_on_exec);
    numbers.done(n, given ? Outcome::kInstalled : Outcome::kTaken);
    if (given || given.error() != Errno::kBadf) return given;
    // Numbers end here (RLIMIT_NOFILE): once more from the first on.
    if (from == kFirstFd || end == from) break;
    at = kFirstFd;
    end = from;
  }
  return runtime.listener.install_descriptor(id, description, -1, close_on_exec);
}

namespace {

// The answer to an open(2) with these flags.
Answer give_opened(const Runtime& runtime, ClientCall& call, const Ref<OpenFile>& file, int flags) {
  const Result<int> fd =
      give_file(runtime, call, file, (flags & O_CLOEXEC) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo);
  return fd ? Answer::of(*fd) : Answer::fail(fd.error());
}

}  // namespace

Answer open_node(const Runtime& runtime, CallScope& scope, const NodeRef& node, const std::string& path,
                 const struct stat& attributes, int flags) {
  if ((flags & O_DIRECTORY) != 0) return Answer::fail(Errno::kNotDir);
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return Answer::fail(Errno::kExist);
  Result<ClientCall> call = ClientCall::make_confirmed(runtime, scope);
  if (!call) return Answer::fail(call.error());
  Result<Ref<OpenFile>> file = open_file(runtime, *call, node, path, attributes, {flags});
  if (!file) return Answer::fail(file.error());
  return give_opened(runtime, *call, *file, flags);
}

Answer open_text(const Runtime& runtime, ClientCall& call, const TextFile& text, int flags) {
  std::string content = text.read(reader_of(call)).value_or("");
  Result<Ref<OpenFile>> file = OpenFile::make_text(nullptr, text.path, text.attributes, {flags}, content);
  if (!file) return Answer::fail(file.error());
  (*file)->set_file(make_ref<AttributeFile>(Content::kText, text.read, text.write, std::move(content), text.closed));
  return give_opened(runtime, call, *file, flags);
}

Answer open_own(const Runtime& runtime, ClientCall& call, std::string path, const struct stat& attributes,
                Ref<ioctl::File> file, int flags) {
  Result<Ref<OpenFile>> open = OpenFile::make_text(nullptr, std::move(path), attributes, {flags}, {});
  if (!open) return Answer::fail(open.error());
  (*open)->set_file(std::move(file));
  return give_opened(runtime, call, *open, flags);
}

Result<int> give_file(const Runtime& runtime, ClientCall& call, const Ref<OpenFile>& file, CloseOnExec close_on_exec) {
  file->set_opener(Ref<ClientProcess>(call.client()));
  if (const Result<void> published = runtime.files.publish(file); !published) {
    file->file().release();
    return Err(published.error() == Errno::kNoSpc ? Errno::kNFile : published.error());
  }
  const Result<int> fd = give_descriptor(runtime, call, file->description(), close_on_exec);
  if (!fd) {
    runtime.files.withdraw(file);
    return fd;
  }
  file->first_fd.store(static_cast<u32>(*fd), std::memory_order_relaxed);
  // Before the answer: the client's very next call may be the close, and then it must be the last one.
  file->drop_description();
  return fd;
}

}  // namespace iommufd::run
