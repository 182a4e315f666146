// SPDX-License-Identifier: BSD-3-Clause
#include "host/binding.hpp"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include "host/claim.hpp"
#include "host/guardian.hpp"
#include "host/record.hpp"
#include "tests/unit/host/fake_machine.hpp"

namespace iommufd::host {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The machine with a disk that nvme drives, and the kernel behind the attributes that bind() and unbind() write.
class HostBinding : public testing::Test {
 protected:
  HostBinding() : folder_(machine_.add_function("0000:00:04.0")) {
    std::filesystem::create_directories(machine_.at("run"));
    for (const char* driver : {"nvme", "vfio-pci"}) machine_.write(fmt::format("{}/{}/bind", kDrivers, driver), "");
    machine_.link(folder_ + "/driver", std::string(kDrivers) + "/nvme");
  }

  Outcome bind(const std::optional<std::string>& driver = std::nullopt) {
    written_.clear();
    return host::bind(kDisk, driver, machine_.roots(), writer());
  }
  Outcome unbind() {
    written_.clear();
    return host::unbind(kDisk, machine_.roots(), writer());
  }
  [[nodiscard]] HostFunction now() const { return *describe(kDisk, machine_.roots()); }
  [[nodiscard]] bool has_record() const { return read_record(kDisk, machine_.roots()).has_value(); }

  const FakeMachine machine_;
  const std::string folder_;
  std::vector<std::string> written_;  // "ATTRIBUTE=TEXT", the last part of the path
  std::string refused_;               // a part of a path that cannot be written

  static constexpr const char* kDrivers = "sys/bus/pci/drivers";

 private:
  WriteAttribute writer() {
    return [this](const std::string& path, std::string_view text) { return write(path, text); };
  }
  Result<void> write(const std::string& path, std::string_view text) {
    if (!refused_.empty() && path.find(refused_) != std::string::npos) return Err(Errno::kInval);
    const std::string attribute = path.substr(path.rfind('/') + 1);
    const std::string value(text.substr(0, text.find('\n')));
    written_.push_back(attribute + "=" + value);
    const std::string link = machine_.at(folder_ + "/driver");
    if (attribute == "driver_override") {
      machine_.write(folder_ + "/driver_override", (value.empty() ? "(null)" : value) + "\n");
    } else if (attribute == "unbind") {
      std::filesystem::remove(link);
    } else if (attribute == "bind") {
      const std::string driver = std::filesystem::path(path).parent_path().filename();
      const auto only = now().driver_override;
      if (only && *only != driver) return Err(Errno::kNoDev);
      std::filesystem::create_symlink(std::filesystem::path(path).parent_path(), link);
    }
    return {};
  }
};

TEST_F(HostBinding, no_driver_takes_it_any_more_until_it_is_given_back) {
  const Outcome bound = bind();
  ASSERT_TRUE(bound) << bound.error();
  EXPECT_THAT(*bound, AllOf(HasSubstr("no driver has it"), HasSubstr("it was bound to nvme")));
  EXPECT_THAT(written_,
              ElementsAre("driver_override=none", "unbind=0000:00:04.0"));  // in this order: nobody gets in between
  EXPECT_FALSE(now().driver);
  EXPECT_TRUE(usable(kDisk, machine_.roots()));

  const Outcome restored = unbind();
  ASSERT_TRUE(restored) << restored.error();
  EXPECT_THAT(*restored, HasSubstr("the driver nvme has it, driver_override is not set, as before"));
  EXPECT_EQ(now().driver, "nvme");
  EXPECT_FALSE(now().driver_override);
  EXPECT_FALSE(has_record());
}

TEST_F(HostBinding, binding_twice_remembers_what_was_there_first) {
  ASSERT_TRUE(bind());
  const Outcome again = bind();
  ASSERT_TRUE(again);
  EXPECT_THAT(*again, HasSubstr("as before"));
  EXPECT_THAT(written_, IsEmpty());
  ASSERT_TRUE(bind("vfio-pci"));
  EXPECT_EQ(now().driver, "vfio-pci");
  ASSERT_TRUE(unbind());
  EXPECT_EQ(now().driver, "nvme");
  EXPECT_FALSE(now().driver_override);
}

TEST_F(HostBinding, an_override_that_was_there_comes_back_and_a_function_without_a_driver_gets_none) {
  std::filesystem::remove(machine_.at(folder_ + "/driver"));
  machine_.write(folder_ + "/driver_override", "pci-stub\n");
  ASSERT_TRUE(bind("vfio-pci"));
  ASSERT_TRUE(unbind());
  EXPECT_FALSE(now().driver);
  EXPECT_EQ(now().driver_override, "pci-stub");
}

TEST_F(HostBinding, a_driver_that_does_not_take_it_leaves_everything_as_it_was) {
  refused_ = "vfio-pci/bind";
  const Outcome bound = bind("vfio-pci");
  ASSERT_FALSE(bound);
  EXPECT_THAT(bound.error(), AllOf(HasSubstr("drivers/vfio-pci/bind cannot be written: EINVAL"),
                                   HasSubstr("everything is as it was before")));
  EXPECT_EQ(now().driver, "nvme");
  EXPECT_FALSE(now().driver_override);
  EXPECT_FALSE(has_record());
  EXPECT_THAT(bind("uio_pci_generic").error(), HasSubstr("modprobe uio_pci_generic"));
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(HostBinding, the_driver_that_serves_its_interrupts_best_gets_it) {
  const std::string uio = std::string(kDrivers) + "/uio_pci_generic/bind";
  machine_.write(uio, "");
  EXPECT_THAT(*bind(), HasSubstr("no driver has it"));  // no line, and VFIO has not been told that it may
  std::string config(64, '\0');
  config[0x3d] = 1;
  machine_.write(folder_ + "/config", config);
  EXPECT_THAT(*bind(), HasSubstr("uio_pci_generic has it (it was bound to nvme)"));
  EXPECT_EQ(now().interrupt_way(), InterruptWay::kUio);
  machine_.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
  EXPECT_THAT(*bind(), HasSubstr("vfio-pci has it"));
  EXPECT_EQ(now().driver_override, "vfio-pci");
  refused_ = "/bind";
  EXPECT_THAT(*bind(""), HasSubstr("no driver has it"));
  ASSERT_TRUE(unbind().error().find("EINVAL") != std::string::npos);  // nvme is refused, too
}

TEST_F(HostBinding, a_driver_that_does_not_take_it_is_passed_over) {
  machine_.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
  refused_ = "vfio-pci/bind";
  EXPECT_THAT(*bind(), HasSubstr("no driver has it, and none will take it (it was bound to nvme)"));
  EXPECT_EQ(now().driver_override, "none");
  refused_.clear();
  ASSERT_TRUE(unbind());
  EXPECT_EQ(now().driver, "nvme");
}

TEST_F(HostBinding, a_driver_that_was_unloaded_meanwhile_is_named) {
  ASSERT_TRUE(bind());
  std::filesystem::remove_all(machine_.at(std::string(kDrivers) + "/nvme"));
  const Outcome restored = unbind();
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error(), AllOf(HasSubstr("driver_override is as before"), HasSubstr("modprobe nvme")));
  EXPECT_FALSE(now().driver_override);
  EXPECT_FALSE(has_record());
}

TEST_F(HostBinding, what_others_prepared_is_left_alone) {
  EXPECT_THAT(unbind().error(), AllOf(HasSubstr("was not prepared by `iommufd-user bind`: the driver nvme has it"),
                                      HasSubstr("left as it is")));
  ASSERT_TRUE(bind());
  machine_.write(folder_ + "/driver_override", "vfio-pci\n");
  EXPECT_THAT(unbind().error(), HasSubstr("somebody has changed it since"));
  EXPECT_THAT(written_, IsEmpty());
  ASSERT_TRUE(bind());  // anew: what counts is what was found now
  ASSERT_TRUE(unbind());
  EXPECT_EQ(now().driver_override, "vfio-pci");
}

TEST_F(HostBinding, refuses_what_the_machine_needs) {
  machine_.add_disk(folder_ + "/nvme/nvme0", "nvme0n1", "259:0");
  machine_.mount("259:0", "/", "/dev/nvme0n1");
  EXPECT_THAT(bind().error(), HasSubstr("0000:00:04.0 is in use by the file system on / (nvme0n1)"));
  machine_.mount("8:0", "/", "/dev/sda");
  machine_.write("proc/self/status", "CapEff:\t0000000000000000\n");
  EXPECT_THAT(bind().error(), HasSubstr("needs CAP_SYS_ADMIN"));
  EXPECT_THAT(unbind().error(), HasSubstr("needs CAP_SYS_ADMIN"));
  machine_.write("proc/self/status", "CapEff:\t000001ffffffffff\n");
  machine_.write(folder_ + "/class", "0x060400\n");
  EXPECT_THAT(bind().error(), HasSubstr("is a bridge"));
  EXPECT_THAT(host::bind({.device = 9}, std::nullopt, machine_.roots()).error(), HasSubstr("is no PCI function"));
  EXPECT_THAT(host::unbind({.device = 9}, machine_.roots()).error(), HasSubstr("is no PCI function"));
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(HostBinding, behind_an_iommu_only_for_a_driver_that_is_named) {
  machine_.link(folder_ + "/iommu_group", "sys/kernel/iommu_groups/3");
  EXPECT_THAT(bind().error(), AllOf(HasSubstr("managed by an IOMMU"), HasSubstr("--driver=vfio-pci")));
  EXPECT_TRUE(bind("vfio-pci"));
}

TEST_F(HostBinding, nothing_changes_when_it_could_not_be_remembered) {
  machine_.write("run/iommufd-user/0000:00:04.0/file", "a directory where the record should be");
  EXPECT_THAT(bind().error(), HasSubstr("nothing was changed"));
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(HostBinding, not_while_somebody_uses_it) {
  {
    const auto used = claim(kDisk, machine_.roots());
    ASSERT_TRUE(used);
    EXPECT_THAT(bind().error(), HasSubstr("0000:00:04.0 is in use by another iommufd-user"));
    EXPECT_TRUE(claim({.device = 5}, machine_.roots()));
  }
  ASSERT_TRUE(bind());
  const auto used = claim(kDisk, machine_.roots());
  EXPECT_THAT(unbind().error(), HasSubstr("in use by another iommufd-user"));
}

TEST_F(HostBinding, waits_for_a_user_that_is_about_to_end) {
  auto used = claim(kDisk, machine_.roots());
  ASSERT_TRUE(used);
  std::thread end([&used] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    used->reset();
  });
  EXPECT_TRUE(bind());
  end.join();
}

TEST_F(HostBinding, not_where_nobody_can_be_kept_out) {
  machine_.write("run/iommufd-user", "a file where the directory should be");
  EXPECT_THAT(bind().error(), HasSubstr("0000:00:04.0.lock cannot be opened: ENOTDIR"));
  EXPECT_THAT(written_, IsEmpty());
}

// A guardian that answers one question, of a function that no machine has.
class Guardian {
 public:
  explicit Guardian(std::string answer) : listener_(listen_as_guardian(kBdf).value()) {
    thread_ = std::thread([this, answer = std::move(answer)] {
      std::string heard;
      while (heard.empty()) {  // whoever only looks whether we are there says nothing
        const Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        heard.resize(64);
        heard.resize(static_cast<std::size_t>(std::max<ssize_t>(::recv(peer.get(), heard.data(), heard.size(), 0), 0)));
        if (heard.empty()) continue;
        EXPECT_EQ(heard, "release\n");
        EXPECT_EQ(::send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
      }
    });
  }
  ~Guardian() { thread_.join(); }
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  static constexpr pci::Bdf kBdf{.domain = 0xfeed, .bus = 0xfe, .device = 31, .function = 7};

 private:
  Fd listener_;
  std::thread thread_;
};

TEST(HostGuardian, says_what_it_did) {
  const Guardian guardian("ok 512 pages released\n");
  EXPECT_EQ(request_release(Guardian::kBdf), "512 pages released");
}

TEST(HostGuardian, may_refuse_or_end) {
  {
    const Guardian guardian("the function does not stop\n");
    EXPECT_THAT(request_release(Guardian::kBdf).error(), HasSubstr("refuses: the function does not stop"));
  }
  const Guardian guardian("ok but no end");
  EXPECT_THAT(request_release(Guardian::kBdf).error(), HasSubstr("does not answer: EIO"));
}

TEST(HostGuardian, may_be_one_of_several_and_all_are_asked) {
  {
    const Guardian first("ok one\n"), second("ok two\n"), third("ok three\n");
    EXPECT_EQ(request_release(Guardian::kBdf), "one; two; three");
  }
  const Guardian first("not I\n"), second("ok two\n");
  EXPECT_EQ(request_release(Guardian::kBdf).error(), "the guardian of feed:fe:1f.7 refuses: not I; another one: two");
}

// A name that somebody holds who does not listen keeps no guardian from its place.
TEST(HostGuardian, takes_another_number_when_one_is_held) {
  const Fd squatter(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const GuardianAddress name = guardian_address(Guardian::kBdf, 0);
  ASSERT_EQ(::bind(squatter.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size), 0);
  EXPECT_FALSE(has_guardian(Guardian::kBdf));
  const Guardian guardian("ok\n");
  EXPECT_TRUE(has_guardian(Guardian::kBdf));
  EXPECT_EQ(request_release(Guardian::kBdf), "released");
}

TEST(HostGuardian, keeps_a_function_from_being_given_back) {
  const FakeMachine machine;
  machine.write(machine.add_function("feed:fe:1f.7") + "/driver_override", "none\n");
  machine.write("run/iommufd-user/feed:fe:1f.7", "driver \ndriver_override \nwrote none\n");
  const WriteAttribute nothing = [](const std::string&, std::string_view) -> Result<void> { return {}; };
  {
    const Guardian guardian("ok\n");
    EXPECT_THAT(host::unbind(Guardian::kBdf, machine.roots(), nothing).error(),
                HasSubstr("iommufd-user release feed:fe:1f.7"));
    EXPECT_EQ(request_release(Guardian::kBdf), "released");
  }
  EXPECT_TRUE(host::unbind(Guardian::kBdf, machine.roots(), nothing));
}

TEST(HostGuardian, may_be_absent) {
  EXPECT_FALSE(has_guardian(Guardian::kBdf));
  EXPECT_THAT(request_release(Guardian::kBdf).error(), HasSubstr("there is nothing to release"));
}

}  // namespace
}  // namespace iommufd::host
