// SPDX-License-Identifier: BSD-3-Clause
#include "run/path_tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace iommufd::run {
namespace {

using Outcome = Lookup::Outcome;

PathTree sample() {
  PathTree t;
  t.add_directory("/dev/vfio", Entries::kOwn);
  t.add_char_device("/dev/iommu", {10, 1000}, 0660, 7);
  t.add_char_device("/dev/vfio/devices/vfio0", {384, 0}, 0600, 8);
  t.add_directory("/sys/devices/pci0001:00/0001:00:00.0", Entries::kOwn);
  t.add_file("/sys/devices/pci0001:00/0001:00:00.0/vendor", {.read = [](Reader) { return std::string("0x1234\n"); }});
  t.add_symlink("/sys/devices/pci0001:00/0001:00:00.0/subsystem", "../../../bus/pci");
  t.add_symlink("/sys/devices/pci0001:00/0001:00:00.0/out", "../../../kernel");
  t.add_symlink("/sys/bus/pci/devices/0001:00:00.0", "../../../devices/pci0001:00/0001:00:00.0");
  t.add_symlink("/dev/char/10:1000", "../iommu");
  t.add_symlink("/dev/vfio/self", "self");
  t.add_symlink("/dev/vfio/abs", "/dev/iommu");
  return t;
}

class PathTreeTest : public ::testing::Test {
 protected:
  Lookup look(std::string_view path, Follow follow = Follow::kYes) { return tree_.lookup(path, follow); }
  std::string found(std::string_view path, Follow follow = Follow::kYes) {
    const Lookup l = look(path, follow);
    return l.outcome == Outcome::kFound ? l.path : "not found";
  }
  std::optional<Errno> error(std::string_view path, Follow follow = Follow::kYes) {
    const Lookup l = look(path, follow);
    return l.outcome == Outcome::kError ? std::optional(l.error) : std::nullopt;
  }
  PathTree tree_ = sample();
};

TEST_F(PathTreeTest, finds_nodes_by_their_path) {
  EXPECT_EQ(found("/dev/iommu"), "/dev/iommu");
  EXPECT_EQ(look("/dev/iommu").node->opener(), 7U);
  EXPECT_EQ(found("/dev/vfio/devices/vfio0"), "/dev/vfio/devices/vfio0");
}

TEST_F(PathTreeTest, repeated_slashes_and_dots_mean_nothing) {
  EXPECT_EQ(found("//dev///.//iommu"), "/dev/iommu");
  EXPECT_EQ(found("/./dev/./vfio/."), "/dev/vfio");
}

TEST_F(PathTreeTest, a_trailing_slash_asks_for_a_directory) {
  EXPECT_EQ(found("/dev/vfio/"), "/dev/vfio");
  EXPECT_EQ(error("/dev/iommu/"), Errno::kNotDir);
  EXPECT_EQ(error("/dev/iommu/."), Errno::kNotDir);
}

TEST_F(PathTreeTest, a_file_in_the_middle_is_enotdir_even_before_dot_dot) {
  EXPECT_EQ(error("/dev/iommu/x"), Errno::kNotDir);
  EXPECT_EQ(error("/dev/iommu/.."), Errno::kNotDir);
  EXPECT_EQ(error("/sys/bus/pci/devices/0001:00:00.0/vendor/x"), Errno::kNotDir);
}

TEST_F(PathTreeTest, symlinks_are_followed_in_the_middle_and_at_the_end) {
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0"), "/sys/devices/pci0001:00/0001:00:00.0");
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0/vendor"), "/sys/devices/pci0001:00/0001:00:00.0/vendor");
  EXPECT_EQ(found("/dev/char/10:1000"), "/dev/iommu");
  EXPECT_EQ(found("/dev/vfio/abs"), "/dev/iommu");
}

TEST_F(PathTreeTest, the_last_symlink_is_not_followed_when_asked_so_unless_a_slash_follows) {
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0", Follow::kNo), "/sys/bus/pci/devices/0001:00:00.0");
  EXPECT_EQ(look("/dev/vfio/abs", Follow::kNo).node->target(), "/dev/iommu");
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0/", Follow::kNo), "/sys/devices/pci0001:00/0001:00:00.0");
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0/vendor", Follow::kNo),
            "/sys/devices/pci0001:00/0001:00:00.0/vendor");
}

TEST_F(PathTreeTest, dot_dot_after_a_symlink_is_the_parent_of_its_target) {
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0/.."), "/sys/devices/pci0001:00");
  EXPECT_EQ(found("/sys/bus/pci/devices/0001:00:00.0/../0001:00:00.0/vendor"),
            "/sys/devices/pci0001:00/0001:00:00.0/vendor");
}

TEST_F(PathTreeTest, dot_dot_of_the_root_is_the_root) {
  EXPECT_EQ(found("/../../dev/iommu"), "/dev/iommu");
  EXPECT_EQ(found("/dev/../../.."), "/");
}

TEST_F(PathTreeTest, another_name_in_an_own_directory_does_not_exist) {
  EXPECT_EQ(error("/dev/vfio/vfio"), Errno::kNoEnt);
  EXPECT_EQ(error("/dev/vfio/vfio/../devices"), Errno::kNoEnt);
  EXPECT_EQ(error("/dev/vfio/" + std::string(255, 'x')), Errno::kNoEnt);
  EXPECT_EQ(error("/dev/vfio/" + std::string(256, 'x')), Errno::kNameTooLong);
}

TEST_F(PathTreeTest, another_name_in_a_merged_directory_is_the_machines) {
  EXPECT_EQ(look("/dev/null").outcome, Outcome::kNotOurs);
  EXPECT_EQ(look("/sys/kernel/mm").outcome, Outcome::kNotOurs);
  EXPECT_EQ(look("/sys/bus/pci/devices/0000:00:00.0/vendor").outcome, Outcome::kNotOurs);
}

TEST_F(PathTreeTest, paths_elsewhere_are_not_ours) {
  for (const char* path :
       {"", "/", "//.", "dev/iommu", "/etc/passwd", "/devices", "/de", "/sysfs", "/tmp/dev/iommu", "/.../dev"}) {
    EXPECT_EQ(look(path).outcome, Outcome::kNotOurs) << path;
  }
}

TEST_F(PathTreeTest, a_symlink_of_ours_may_lead_to_the_machine) {
  const Lookup l = look("/sys/bus/pci/devices/0001:00:00.0/out/mm");
  EXPECT_EQ(l.outcome, Outcome::kElsewhere);
  EXPECT_EQ(l.path, "/sys/kernel/mm");
}

TEST_F(PathTreeTest, dot_dot_out_of_a_directory_that_only_we_have_leads_to_the_machine) {
  const Lookup l = look("/dev/vfio/../null");
  EXPECT_EQ(l.outcome, Outcome::kElsewhere);
  EXPECT_EQ(l.path, "/dev/null");
}

TEST_F(PathTreeTest, dot_dot_after_directories_of_the_machine_leads_back) {
  EXPECT_EQ(found("/dev/pts/../iommu"), "/dev/iommu");
  EXPECT_EQ(found("/usr/../dev/iommu"), "/dev/iommu");
  EXPECT_EQ(found("/usr/bin/../../dev/vfio/../iommu"), "/dev/iommu");
  EXPECT_EQ(look("/usr/bin/../lib/dev").outcome, Outcome::kNotOurs);
}

TEST_F(PathTreeTest, a_symlink_of_the_machine_is_resolved_before_dot_dot) {
  // /dev/fd leads to /proc/self/fd, whose parent is not /dev.
  EXPECT_EQ(look("/dev/fd/../iommu").outcome, Outcome::kNotOurs);
}

TEST_F(PathTreeTest, loops_are_eloop) {
  EXPECT_EQ(error("/dev/vfio/self"), Errno::kLoop);
  EXPECT_EQ(found("/dev/vfio/self", Follow::kNo), "/dev/vfio/self");
  EXPECT_EQ(error("/dev/vfio/self/x", Follow::kNo), Errno::kLoop);
}

TEST_F(PathTreeTest, forty_symlinks_are_followed_and_not_forty_one) {
  PathTree t;
  t.add_directory("/dev/x", Entries::kOwn);
  t.add_directory("/dev/x/0", Entries::kOwn);
  for (int i = 1; i <= 41; ++i) t.add_symlink("/dev/x/" + std::to_string(i), std::to_string(i - 1));
  EXPECT_EQ(t.lookup("/dev/x/40", Follow::kYes).outcome, Outcome::kFound);
  EXPECT_EQ(t.lookup("/dev/x/41", Follow::kYes).error, Errno::kLoop);
  EXPECT_EQ(t.lookup("/dev/x/41", Follow::kNo).outcome, Outcome::kFound);
}

TEST_F(PathTreeTest, a_path_beyond_path_max_is_too_long) {
  EXPECT_EQ(error("/dev/" + std::string(5000, '/') + "iommu"), Errno::kNameTooLong);
}

TEST_F(PathTreeTest, content_is_read_when_asked_for) {
  int n = 0;
  PathTree t;
  t.add_file("/sys/n", {.mode = 0644,
                        .read = [&n](Reader) { return std::to_string(++n); },
                        .write = [&n](const Write& w) -> Result<u64> {
                          n = static_cast<int>(w.data.size());
                          return w.data.size();
                        }});
  const Node* node = t.lookup("/sys/n", Follow::kYes).node;
  EXPECT_EQ(node->read(Reader::kPrivileged), "1");
  EXPECT_EQ(node->read(Reader::kPrivileged), "2");
  EXPECT_EQ(node->write({.data = "12345", .offset = 0}), Result<u64>(5));
  EXPECT_EQ(node->read(Reader::kPrivileged), "6");
  const Node* vendor = look("/sys/bus/pci/devices/0001:00:00.0/vendor").node;
  EXPECT_FALSE(vendor->writable());
  EXPECT_EQ(vendor->write({.data = "1", .offset = 0}), Err(Errno::kIo));
}

TEST_F(PathTreeTest, parents_made_on_the_way_are_merged_outside_and_own_inside_own_directories) {
  EXPECT_EQ(look("/sys/bus/pci").node->entries(), Entries::kMerged);
  EXPECT_EQ(look("/dev/vfio/devices").node->entries(), Entries::kOwn);
}

TEST_F(PathTreeTest, a_path_that_is_not_ours_costs_little) {
  constexpr int kRounds = 100'000;
  const auto start = std::chrono::steady_clock::now();
  int ours = 0;
  for (int i = 0; i < kRounds; ++i) {
    ours += look("/usr/lib/x86_64-linux-gnu/libstdc++.so.6").outcome != Outcome::kNotOurs;
  }
  const std::chrono::duration<double, std::nano> each = (std::chrono::steady_clock::now() - start) / kRounds;
  EXPECT_EQ(ours, 0);
  // Some tens of nanoseconds as built for use; the bound leaves room for sanitizers and a busy machine.
  EXPECT_LT(each.count(), 5000);
  RecordProperty("ns_per_lookup", std::to_string(each.count()));
}

TEST(Join, puts_the_directory_in_front_of_relative_paths_only) {
  EXPECT_EQ(join("/sys/bus", "pci/devices"), "/sys/bus/pci/devices");
  EXPECT_EQ(join("/", "dev"), "/dev");
  EXPECT_EQ(join("/sys", "/dev/iommu"), "/dev/iommu");
  EXPECT_EQ(join("/sys", ""), "/sys");
}

TEST(Normalise, removes_what_means_nothing_and_keeps_dot_dot) {
  EXPECT_EQ(normalise("//a/./b//c/"), "/a/b/c/");
  EXPECT_EQ(normalise("a/../b"), "a/../b");
  EXPECT_EQ(normalise("/a/b/."), "/a/b/");
  EXPECT_EQ(normalise("/"), "/");
  EXPECT_EQ(normalise("./"), ".");
  EXPECT_EQ(normalise(""), ".");
}

}  // namespace
}  // namespace iommufd::run
