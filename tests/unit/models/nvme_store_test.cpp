// SPDX-License-Identifier: BSD-3-Clause
// Files behind a controller: what opening checks, holes, locks; and the keys of the model.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "models/nvme/file_store.hpp"
#include "models/nvme/image_file.hpp"
#include "models/nvme/nvme_kind.hpp"
#include "tests/support/fake_device.hpp"

namespace iommufd::models::nvme {
namespace {

using testing::HasSubstr;

class NvmeStore : public testing::Test {
 protected:
  NvmeStore() {
    char name[] = "/tmp/nvme_store_XXXXXX";
    Fd fd(::mkstemp(name));
    EXPECT_TRUE(fd.valid());
    path = name;
  }
  ~NvmeStore() override { ::unlink(path.c_str()); }
  void resize(u64 bytes) { EXPECT_EQ(::truncate(path.c_str(), static_cast<off_t>(bytes)), 0); }
  u64 size() {
    struct stat info{};
    ::stat(path.c_str(), &info);
    return static_cast<u64>(info.st_size);
  }
  u64 allocated() {
    struct stat info{};
    ::stat(path.c_str(), &info);
    return static_cast<u64>(info.st_blocks) * 512;
  }
  std::string error_of(const ImageRequest& request) {
    const auto image = open_image(request);
    return image ? "" : image.error().text;
  }
  std::string path;
};

// A durable write leaves the submitting thread, and a read would overtake it: block by block, the one that came first goes first. It was found by
// the torture with a cold page cache, where a read showed half of a block that was being written.
TEST_F(NvmeStore, of_jobs_on_the_same_bytes_the_later_waits) {
  constexpr u64 kBlock = 4096;
  resize(4 * kBlock);
  FileStore store(Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC)), Engine::kUring, [](std::string_view) {});
  for (int round = 0; round < 20; ++round) {
    std::vector<std::byte> old(kBlock), fresh(kBlock, std::byte(round + 1)), read(2 * kBlock), other(kBlock);
    Job write{Job::Kind::kWrite, Job::Durable::kYes, kBlock, kBlock, fresh.data()};
    Job overlapping{Job::Kind::kRead, Job::Durable::kNo, 0, 2 * kBlock, read.data()};
    Job behind{Job::Kind::kWrite, Job::Durable::kNo, 0, kBlock, old.data()};  // must not overtake the read
    Job apart{Job::Kind::kRead, Job::Durable::kNo, 3 * kBlock, kBlock, other.data()};
    std::vector<const Job*> order;
    for (Job* job : {&write, &overlapping, &behind, &apart})
      if (store.start(*job)) order.push_back(job);
    store.submit();
    while (order.size() < 4)
      if (const auto done = store.collect()) {
        EXPECT_TRUE(done->result);
        order.push_back(done->job);
      }
    std::erase(order, &apart);
    EXPECT_THAT(order, testing::ElementsAre(&write, &overlapping, &behind));
    EXPECT_TRUE(std::ranges::equal(std::span(read).subspan(kBlock), fresh));
  }
}

TEST_F(NvmeStore, mistakes_are_sentences) {
  EXPECT_THAT(error_of({.path = path + "x"}), HasSubstr("no such file; create it with: truncate -s"));
  EXPECT_THAT(error_of({.path = "/tmp"}), HasSubstr("Is a directory"));
  EXPECT_THAT(error_of({.path = "/dev/null"}), HasSubstr("not a regular file"));
  EXPECT_THAT(error_of({.path = path}), HasSubstr("it is empty; give a size"));
  resize(1000);
  EXPECT_THAT(error_of({.path = path}), HasSubstr("1000 bytes, is not a multiple of 512"));
  resize(512 * 3);
  EXPECT_THAT(error_of({.path = path, .namespaces = 2}), HasSubstr("not a multiple of 1024 (bs=512, ns=2)"));
  EXPECT_THAT(error_of({.path = path, .namespace_size = 1 << 20, .protection = Protection::kReadOnly}),
              HasSubstr("readonly=on forbids to extend it"));
  EXPECT_EQ(size(), 1536u);
}

TEST_F(NvmeStore, a_file_that_cannot_be_written) {
  resize(1 << 20);
  ::chmod(path.c_str(), 0400);
  if (::access(path.c_str(), W_OK) == 0) return;  // root may
  EXPECT_THAT(error_of({.path = path}), HasSubstr("cannot be written"));
  EXPECT_EQ(error_of({.path = path, .protection = Protection::kReadOnly}), "");
}

TEST_F(NvmeStore, the_size_is_that_of_the_file_or_the_file_becomes_that_large) {
  resize(1 << 20);
  EXPECT_EQ(open_image({.path = path, .namespaces = 2})->namespace_size, 1u << 19);
  EXPECT_EQ(open_image({.path = path, .namespace_size = 1 << 20, .namespaces = 3})->namespace_size, 1u << 20);
  EXPECT_EQ(size(), 3u << 20);
  EXPECT_EQ(open_image({.path = path, .namespace_size = 1 << 16})->namespace_size, 1u << 16);
  EXPECT_EQ(size(), 3u << 20);
}

TEST_F(NvmeStore, one_writer_or_many_readers) {
  resize(1 << 20);
  const ImageRequest writer{.path = path}, reader{.path = path, .protection = Protection::kReadOnly};
  {
    const auto first = open_image(writer);
    ASSERT_TRUE(first);
    EXPECT_THAT(error_of(writer), HasSubstr("another device or another run uses it"));
    EXPECT_THAT(error_of(reader), HasSubstr("another device or another run uses it"));
  }
  const auto one = open_image(reader), two = open_image(reader);
  EXPECT_TRUE(one && two);
  EXPECT_THAT(error_of(writer), HasSubstr("another device or another run uses it"));
}

// A server that was killed may leave its lock to the kernel for a moment.
TEST_F(NvmeStore, a_lock_that_is_about_to_go_is_waited_for) {
  resize(1 << 20);
  auto before = open_image({.path = path});
  ASSERT_TRUE(before);
  std::jthread end([held = std::move(before->file)]() mutable {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    held.reset();
  });
  EXPECT_TRUE(open_image({.path = path}));
}

class NvmeFileJobs : public NvmeStore, public testing::WithParamInterface<Engine> {
 protected:
  void SetUp() override {
    resize(1 << 20);
    store.emplace(Fd(::open(path.c_str(), O_RDWR)), GetParam(), [](std::string_view) {});
  }
  Result<void> run(Job job) {
    if (const auto done = store->start(job)) return *done;
    store->submit();
    for (;;) {
      if (const auto done = store->collect()) {
        EXPECT_EQ(done->job, &job);
        return done->result;
      }
    }
  }
  Job job(Job::Kind kind, u64 offset, u64 length) {
    return {.kind = kind, .durable = Job::Durable::kNo, .offset = offset, .length = length, .buffer = buffer.data()};
  }
  std::vector<std::byte> buffer = std::vector<std::byte>(1 << 20);
  std::optional<FileStore> store;
};
INSTANTIATE_TEST_SUITE_P(Engine, NvmeFileJobs, testing::Values(Engine::kUring, Engine::kSync));

TEST_P(NvmeFileJobs, deallocating_makes_holes_that_read_as_zeros) {
  std::ranges::fill(buffer, std::byte{0x5a});
  ASSERT_TRUE(run(job(Job::Kind::kWrite, 0, 1 << 20)));
  ASSERT_TRUE(run(job(Job::Kind::kFlush, 0, 0)));
  const u64 full = allocated();
  EXPECT_GE(full, 1u << 20);
  ASSERT_TRUE(run(job(Job::Kind::kDeallocate, 4096 + 512, 1 << 19)));
  EXPECT_LT(allocated(), full);
  ASSERT_TRUE(run(job(Job::Kind::kZero, 1 << 19, 1 << 18)));
  ASSERT_TRUE(run(job(Job::Kind::kRead, 0, 1 << 20)));
  for (u64 i = 0; i < buffer.size(); ++i) {
    const bool zero = i >= 4096 + 512 && i < (1 << 19) + (1 << 18);
    ASSERT_EQ(buffer[i], zero ? std::byte{0} : std::byte{0x5a}) << i;
  }
  EXPECT_EQ(size(), 1u << 20);
}

TEST_P(NvmeFileJobs, errors_are_told) {
  EXPECT_EQ(run(job(Job::Kind::kRead, 1 << 20, 512)).error(), Errno::kIo);
  store.emplace(Fd(::open(path.c_str(), O_RDONLY)), GetParam(), [](std::string_view) {});
  EXPECT_EQ(run(job(Job::Kind::kWrite, 0, 512)).error(), Errno::kBadf);
}

TEST_P(NvmeFileJobs, drain_waits_for_all) {
  std::vector<Job> jobs(100, job(Job::Kind::kWrite, 0, 512));
  for (Job& one : jobs) {
    if (const auto done = store->start(one)) {
      EXPECT_TRUE(*done);
    }
  }
  store->drain();
  EXPECT_FALSE(store->collect());
}

TEST_P(NvmeFileJobs, a_thread_that_ends_takes_no_job_with_it) {
  std::vector<Job> jobs(100, job(Job::Kind::kWrite, 4096, 512));
  std::size_t running = 0;
  std::jthread([&] {
    for (Job& one : jobs) running += store->start(one) ? 0 : 1;
    store->submit();
  }).join();
  while (running != 0) {
    if (const auto done = store->collect()) {
      EXPECT_TRUE(done->result);
      --running;
    }
  }
}

// --- the model ---

std::string config_error(const KeyValues& given) {
  Poller poller;
  const auto made = kind().configure(given, poller);
  return made ? "" : made.error().text;
}

TEST(NvmeKind, is_the_function_that_drivers_look_for) {
  Poller poller;
  const auto made = kind().configure({{"queues", "3"}}, poller);
  ASSERT_TRUE(made);
  const pci::FunctionSpec& spec = made->spec;
  EXPECT_EQ(spec.vendor, 0x1b36);
  EXPECT_EQ(spec.device, 0x0010);
  EXPECT_EQ(spec.class_code, 0x010802u);
  EXPECT_EQ(spec.revision, 2);
  EXPECT_EQ(spec.bars[0].kind, pci::BarKind::kMemory64);
  EXPECT_EQ(spec.bars[0].size, 0x4000u);
  EXPECT_EQ(spec.bars[0].mappable, pci::Mappable::kYes);
  ASSERT_TRUE(spec.msix && spec.pm && spec.pcie);
  EXPECT_EQ(spec.msix->vectors, 4u);
  EXPECT_EQ(spec.msix->at, 0x40);
  EXPECT_EQ(spec.pm->at, 0x60);
  EXPECT_EQ(spec.pcie->at, 0x80);
  EXPECT_EQ(kind().configure({{"mmap", "off"}}, poller)->spec.bars[0].mappable, pci::Mappable::kNo);
}

TEST(NvmeKind, bad_values_say_what_would_be_right) {
  EXPECT_THAT(config_error({{"size", "1000"}}), HasSubstr("size=1000 is not a size from 65536"));
  for (const char* size : {"", "x", "64m", "64MM", "-1", "99999999999G", "18446744073709551615T"})
    EXPECT_THAT(config_error({{"size", size}}), HasSubstr("is not a size")) << size;
  EXPECT_EQ(config_error({{"size", "65536"}}), "");
  EXPECT_EQ(config_error({{"size", "1T"}}), "");
  EXPECT_THAT(config_error({{"size", "66048"}, {"bs", "4096"}}), HasSubstr("not a multiple of the block, 4096"));
  EXPECT_THAT(config_error({{"queues", "256"}}), HasSubstr("from 1 to 255"));
  EXPECT_THAT(config_error({{"ns", "0"}}), HasSubstr("from 1 to 256"));
  EXPECT_THAT(config_error({{"bs", "1024"}}), HasSubstr("512, 4096"));
  EXPECT_THAT(config_error({{"serial", "123456789012345678901"}}), HasSubstr("longer than 20"));
}

TEST(NvmeKind, files_are_opened_when_the_machine_is_built) {
  Poller poller;
  const auto made = kind().configure({{"file", "/nonexistent/disk.img"}}, poller);
  ASSERT_TRUE(made);
  EXPECT_THAT(made->acquire().error().text, HasSubstr("nvme: file=/nonexistent/disk.img: no such file"));
}

}  // namespace
}  // namespace iommufd::models::nvme
