#pragma once

#include <string>

namespace concertina {

// Which program a process is. Ranks of one group must be the same.
struct BuildIdentity {
  std::string version;
  std::string build_id;       // the linker's, in hex, of the program that runs; empty: it has none
  std::string kernel_digest;  // kernels::digest()
  std::string instruction_set;
  bool operator==(const BuildIdentity&) const = default;
};

// The linker's build id (--build-id) of the running program.
std::string own_build_id();

// What differs of `found` from `expected`, in words; empty: nothing. What `expected` leaves empty is not
// compared.
std::string describe_difference(const BuildIdentity& expected, const BuildIdentity& found);

}  // namespace concertina
