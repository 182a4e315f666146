// SPDX-License-Identifier: BSD-3-Clause
#include "run/program.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/sys.hpp"
#include "run/control.hpp"
#include "run/filter.hpp"
#include "run/listener.hpp"
#include "run/options.hpp"

namespace iommufd::run {
namespace {

std::string search_path(const std::string& name) {
  if (name.find('/') != std::string::npos || name.empty()) return name;
  const char* env = std::getenv("PATH");
  std::string_view path = env != nullptr ? env : "/usr/local/bin:/usr/bin:/bin";
  std::string not_executable;
  while (true) {
    const std::size_t colon = path.find(':');
    const std::string_view directory = path.substr(0, colon);
    std::string candidate = directory.empty() ? name : std::string(directory) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (errno == EACCES && not_executable.empty()) not_executable = std::move(candidate);
    if (colon == std::string_view::npos) break;
    path.remove_prefix(colon + 1);
  }
  // With a slash, so that exec says what is wrong with it. A name without one was not found.
  return not_executable.empty() ? name : not_executable;
}

[[noreturn]] void fail(const Fd& server, ControlMessage::Kind kind, int error) {
  (void)send_control(server, {kind, error, {}});
  ::_exit(kExitRunFailed);
}

void execute(const char* file, const std::vector<const char*>& argv) {
  (void)::execv(file, const_cast<char* const*>(argv.data()));
}

// A script without `#!`, as execvp(3) has it.
std::vector<const char*> shell_arguments(const Program& program) {
  std::vector<const char*> argv{"/bin/sh", program.file.c_str()};
  argv.insert(argv.end(), program.argv.begin() + 1, program.argv.end());
  return argv;
}

}  // namespace

Program Program::find(const Options& options, const sigset_t& signal_mask) {
  Program p;
  p.file = search_path(options.argv.front());
  for (const std::string& word : options.argv) p.argv.push_back(word.c_str());
  p.argv.push_back(nullptr);
  p.signal_mask = signal_mask;
  p.hugetlb = options.hugetlb;
  return p;
}

void become(const Program& program, const PathView& view, const Fd& server, pid_t server_pid) {
  if (program.file.find('/') == std::string::npos) fail(server, ControlMessage::Kind::kNoExec, ENOENT);
  const std::vector<sock_filter> filter = build_filter(program.hugetlb.kind);
  const std::vector<const char*> shell = shell_arguments(program);
  if (const Result<void> entered = view.enter(); !entered)
    fail(server, ControlMessage::Kind::kNoView, static_cast<int>(entered.error()));
  // The client must not outlive who answers its calls. (After the view: a change of user namespace forgets it.)
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != server_pid) ::_exit(kExitRunFailed);
  Result<Fd> listener = Listener::install(filter);
  if (!listener) fail(server, ControlMessage::Kind::kNoFilter, static_cast<int>(listener.error()));
  if (!send_control(server, {ControlMessage::Kind::kListener, 0, {}}, listener->get())) ::_exit(kExitRunFailed);
  listener->reset();
  (void)::sigprocmask(SIG_SETMASK, &program.signal_mask, nullptr);
  execute(program.file.c_str(), program.argv);
  if (errno == ENOEXEC) execute("/bin/sh", shell);
  fail(server, ControlMessage::Kind::kNoExec, errno);
}

}  // namespace iommufd::run
