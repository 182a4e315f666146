// SPDX-License-Identifier: BSD-3-Clause
// Why a call was refused. A rule that refuses says so with reject(); `run --explain` prints the last reason of the
// thread that handled the call. With nobody listening it costs a few stores, on the failing path only.
#pragma once

#include "base/result.hpp"
#include "base/types.hpp"

namespace iommufd {

struct Reason {
  const char* field = nullptr;    // name of the uapi field, or of the object: "ioas_id"
  u64 value = 0;                  // what it held
  const char* rule = nullptr;     // the rule, as a sentence: "must be an IOAS"
  const char* section = nullptr;  // where the rule is written: "iommufd-core 3.4 row 4"
};

// The reason that this thread gave last; `rule` is null when none was given since clear_reason().
const Reason& last_reason();
void clear_reason();
void set_reason(const Reason& reason);

// return reject(Errno::kNoEnt, {"ioas_id", cmd.ioas_id, "must name an IOAS", "iommufd-core 3.4 row 4"});
[[nodiscard]] inline Err reject(Errno e, const Reason& reason) {
  set_reason(reason);
  return Err(e);
}

}  // namespace iommufd
