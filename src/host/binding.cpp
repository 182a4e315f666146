// SPDX-License-Identifier: BSD-3-Clause
#include "host/binding.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <optional>

#include "base/sys.hpp"
#include "host/claim.hpp"
#include "host/guardian.hpp"
#include "host/inventory.hpp"
#include "host/record.hpp"

namespace iommufd::host {
namespace {

constexpr const char* kNobody = "none";  // no driver has this name; driverctl writes the same

using Done = std::expected<void, std::string>;

std::unexpected<std::string> refuse(pci::Bdf bdf, const Refusal& refusal) {
  return std::unexpected(refusal_text(bdf, refusal));
}

class Kernel {
 public:
  Kernel(pci::Bdf bdf, const Roots& roots, const WriteAttribute& write)
      : bdf_(bdf), pci_(roots.sys + "/bus/pci"), function_(pci_ + "/devices/" + bdf.str()), write_(write) {}

  // Only this driver may take it; with an empty name any that knows its ids.
  [[nodiscard]] Done set_override(const std::string& name) const {
    return put(function_ + "/driver_override", name + "\n");
  }
  // Pre: it is bound.
  [[nodiscard]] Done unbind() const { return put(function_ + "/driver/unbind", bdf_.str()); }
  [[nodiscard]] Done bind(const std::string& driver) const { return put(driver_folder(driver) + "/bind", bdf_.str()); }
  [[nodiscard]] bool has_driver(const std::string& driver) const { return exists(driver_folder(driver)); }
  [[nodiscard]] std::string driver_folder(const std::string& driver) const { return pci_ + "/drivers/" + driver; }

 private:
  [[nodiscard]] Done put(const std::string& path, const std::string& text) const {
    if (const Result<void> written = write_(path, text); !written)
      return std::unexpected(fmt::format("{} cannot be written: {}", path, errno_name(written.error())));
    return {};
  }

  pci::Bdf bdf_;
  std::string pci_, function_;
  const WriteAttribute& write_;
};

std::string absent_driver(const Kernel& kernel, const std::string& driver) {
  return fmt::format("there is no {}; load the module first: modprobe {}", kernel.driver_folder(driver), driver);
}

// From whoever has it, and driver_override as the record has it.
Done release(const HostFunction& now, const Record& record, const Kernel& kernel) {
  if (now.driver && *now.driver != record.driver) IOMMUFD_TRY(kernel.unbind());
  return kernel.set_override(record.driver_override);
}

// After release().
Done rebind(const HostFunction& before, const Record& record, const Kernel& kernel) {
  if (record.driver.empty() || before.driver == record.driver) return {};
  if (!kernel.has_driver(record.driver)) return std::unexpected(absent_driver(kernel, record.driver));
  return kernel.bind(record.driver);
}

std::optional<Refusal> find_refusal_to_bind(const HostFunction& f, const std::optional<std::string>& driver,
                                            const Roots& roots) {
  if (auto lack = find_lack_of_privilege(roots)) return lack;
  if (auto bridge = find_bridge(f)) return bridge;
  if (auto use = find_use(f)) return use;
  if (!f.is_managed_by_iommu() || (driver && !driver->empty())) return std::nullopt;
  return Refusal{"is managed by an IOMMU, and is not used without it",
                 "For the kernel's VFIO: iommufd-user bind --driver=vfio-pci " + f.bdf.str()};
}

// The drivers to try for the sake of its interrupts, the best first. The last is none.
std::vector<std::string> drivers_for_interrupts(const HostFunction& f, const Kernel& kernel, const Roots& roots) {
  std::vector<std::string> out;
  const auto noiommu = read_attribute(roots.sys + "/module/vfio/parameters/enable_unsafe_noiommu_mode");
  if (noiommu == "Y" && kernel.has_driver("vfio-pci")) out.emplace_back("vfio-pci");
  if (f.has_line && !f.msi_vectors && !f.msix_vectors && kernel.has_driver("uio_pci_generic"))
    out.emplace_back("uio_pci_generic");
  out.emplace_back();
  return out;
}

// What unbind() will restore. An earlier bind() of ours keeps what it found.
Record record_of(const HostFunction& f, const std::optional<Record>& earlier) {
  if (earlier && f.driver_override == earlier->wrote) return *earlier;
  return {.driver = f.driver.value_or(""), .driver_override = f.driver_override.value_or(""), .wrote = ""};
}

std::string override_of(const std::string& driver) { return driver.empty() ? kNobody : driver; }

Done take(pci::Bdf bdf, const std::string& driver, const Kernel& kernel, const Roots& roots) {
  const auto now = describe(bdf, roots);
  if (!now) return std::unexpected(refusal_text(bdf, absence(bdf, roots)));
  IOMMUFD_TRY(kernel.set_override(override_of(driver)));
  if (now->driver && *now->driver != driver) IOMMUFD_TRY(kernel.unbind());
  if (driver.empty() || now->driver == driver) return {};
  return kernel.bind(driver);
}

// What became of a function that bind() could not take.
std::string undo(pci::Bdf bdf, const Record& record, const Kernel& kernel, const Roots& roots) {
  const auto now = describe(bdf, roots);
  if (!now) return "it is gone";
  if (const Done released = release(*now, record, kernel); !released) return released.error();
  remove_record(bdf, roots);
  const Done bound = rebind(*now, record, kernel);
  return bound ? "everything is as it was before" : bound.error();
}

}  // namespace

Result<void> write_attribute(const std::string& path, std::string_view text) {
  const Fd file(IOMMUFD_TRY(sys::check(::open(path.c_str(), O_WRONLY | O_CLOEXEC))));
  return sys::write_all(file.get(), text);
}

Outcome bind(pci::Bdf bdf, const std::optional<std::string>& driver, const Roots& roots, const WriteAttribute& write) {
  const auto f = describe(bdf, roots);
  if (!f) return refuse(bdf, absence(bdf, roots));
  if (const auto refusal = find_refusal_to_bind(*f, driver, roots)) return refuse(bdf, *refusal);
  const auto claimed = claim(bdf, roots);
  if (!claimed) return std::unexpected(claimed.error());
  const Kernel kernel(bdf, roots, write);
  if (driver && !driver->empty() && !kernel.has_driver(*driver)) return std::unexpected(absent_driver(kernel, *driver));

  Record record = record_of(*f, read_record(bdf, roots));
  const std::string back = fmt::format("`iommufd-user unbind {}` gives it back", bdf.str());
  const auto state = [](const std::string& name) {
    return name.empty() ? "no driver has it, and none will take it" : "the driver " + name + " has it";
  };
  const std::vector<std::string> wanted = driver ? std::vector{*driver} : drivers_for_interrupts(*f, kernel, roots);
  if (record.wrote == override_of(wanted[0]) && f->driver.value_or("") == wanted[0])
    return fmt::format("{}: {}, as before; {}", bdf.str(), state(wanted[0]), back);
  std::string failure;
  for (const std::string& name : wanted) {
    record.wrote = override_of(name);
    if (const auto kept = write_record(bdf, record, roots); !kept)
      return std::unexpected(fmt::format("{} cannot be written: {}; {}", record_path(bdf, roots),
                                         errno_name(kept.error()),
                                         failure.empty() ? "nothing was changed" : undo(bdf, record, kernel, roots)));
    const Done taken = take(bdf, name, kernel, roots);
    if (taken)
      return fmt::format("{}: {}{}; {}", bdf.str(), state(name),
                         record.driver.empty() ? "" : fmt::format(" (it was bound to {})", record.driver), back);
    failure = taken.error();
  }
  return std::unexpected(fmt::format("{}; {}", failure, undo(bdf, record, kernel, roots)));
}

Outcome unbind(pci::Bdf bdf, const Roots& roots, const WriteAttribute& write) {
  const auto f = describe(bdf, roots);
  if (!f) return refuse(bdf, absence(bdf, roots));
  if (const auto lack = find_lack_of_privilege(roots)) return refuse(bdf, *lack);
  const auto record = read_record(bdf, roots);
  const std::string driver = f->driver ? "the driver " + *f->driver + " has it" : "no driver has it";
  if (!record || f->driver_override != record->wrote)
    return refuse(bdf, {fmt::format("was not prepared by `iommufd-user bind`{}: {}, driver_override is {}",
                                    record ? ", or somebody has changed it since" : "", driver,
                                    f->driver_override.value_or("not set")),
                        "It is left as it is"});
  const auto claimed = claim(bdf, roots);
  if (!claimed) return std::unexpected(claimed.error());
  if (has_guardian(bdf))
    return refuse(bdf, {"may still do DMA into memory that is kept for it",
                        "Release it first: iommufd-user release " + bdf.str()});
  const Kernel kernel(bdf, roots, write);
  if (const Done released = release(*f, *record, kernel); !released) return std::unexpected(released.error());
  remove_record(bdf, roots);
  if (const Done bound = rebind(*f, *record, kernel); !bound)
    return std::unexpected("driver_override is as before; but " + bound.error());
  return fmt::format("{}: {}, driver_override is {}, as before", bdf.str(),
                     record->driver.empty() ? "no driver has it" : "the driver " + record->driver + " has it",
                     record->driver_override.empty() ? "not set" : record->driver_override);
}

}  // namespace iommufd::host
