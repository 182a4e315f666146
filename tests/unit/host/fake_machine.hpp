// SPDX-License-Identifier: BSD-3-Clause
// A machine's /sys and /proc in a temporary directory, as Linux lays them out.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "host/inventory.hpp"

namespace iommufd::host {

class FakeMachine {
 public:
  FakeMachine() {
    std::string name = testing::TempDir() + "/host.XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    write("proc/self/status", "Name:\tprobe\nCapEff:\t000001ffffffffff\n");
    write("proc/self/uid_map", "         0          0 4294967295\n");
    write("proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\n");
    write("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    std::filesystem::create_directories(root_ + "/sys/bus/pci/devices");
  }
  ~FakeMachine() { std::filesystem::remove_all(root_); }
  FakeMachine(const FakeMachine&) = delete;
  FakeMachine& operator=(const FakeMachine&) = delete;

  [[nodiscard]] Roots roots() const {
    return {
        .sys = root_ + "/sys", .proc = root_ + "/proc", .dev = root_ + "/dev", .state = root_ + "/run/iommufd-user"};
  }
  [[nodiscard]] std::string at(const std::string& path) const { return root_ + "/" + path; }

  void write(const std::string& path, std::string_view text) const {
    std::filesystem::create_directories(std::filesystem::path(at(path)).parent_path());
    std::ofstream(at(path), std::ios::binary) << text;
  }
  void link(const std::string& path, const std::string& target) const {
    std::filesystem::create_directories(std::filesystem::path(at(path)).parent_path());
    std::filesystem::create_symlink(at(target), at(path));
  }
  // A function below the root bus, with one memory BAR of 16 KiB; its folder, relative.
  std::string add_function(const std::string& bdf, std::string_view class_code = "0x010802") const {
    std::string folder = "sys/devices/pci0000:00/" + bdf;
    write(folder + "/vendor", "0x1b36\n");
    write(folder + "/device", "0x0010\n");
    write(folder + "/subsystem_vendor", "0x1af4\n");
    write(folder + "/subsystem_device", "0x1100\n");
    write(folder + "/revision", "0x02\n");
    write(folder + "/class", fmt::format("{}\n", class_code));
    write(folder + "/numa_node", "-1\n");
    write(folder + "/driver_override", "(null)\n");
    write(folder + "/resource", "0x00000000febd0000 0x00000000febd3fff 0x0000000000140204\n");
    link("sys/bus/pci/devices/" + bdf, folder);
    return folder;
  }
  void bind(const std::string& folder, const std::string& driver) const {
    std::filesystem::create_directories(at("sys/bus/pci/drivers/" + driver));
    link(folder + "/driver", "sys/bus/pci/drivers/" + driver);
  }
  void add_disk(const std::string& folder, const std::string& name, const std::string& number) const {
    write(fmt::format("{}/{}/dev", folder, name), number + "\n");
    link("sys/class/block/" + name, fmt::format("{}/{}", folder, name));
  }
  void mount(std::string_view number, std::string_view at_path, std::string_view source) const {
    write("proc/self/mountinfo", fmt::format("26 1 {} / {} rw shared:1 - ext4 {} rw\n", number, at_path, source));
  }

 private:
  std::string root_;
};

inline constexpr pci::Bdf kDisk{.device = 4};  // 0000:00:04.0

}  // namespace iommufd::host
