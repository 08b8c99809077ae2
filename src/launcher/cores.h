#pragma once

#include <cstddef>
#include <set>
#include <vector>

namespace concertina::launcher {

// The cores that this process may run on.
std::vector<int> usable_cores();

// n of `usable` that are not in `taken`; none at all if there are fewer: a thread that shares its core is
// better left where the kernel puts it.
std::vector<int> free_cores(const std::vector<int>& usable, const std::set<int>& taken, std::size_t n);

}  // namespace concertina::launcher
