#pragma once

#include <filesystem>
#include <functional>

namespace concertina::chaos {

// Calls `run` in a process of its own with a new, empty folder, its TMPDIR, and returns its exit code (128 +
// signal if one ended it). However it ends, a failed CHECK included, the processes that it left are killed
// and the folder is removed. SIGINT, SIGTERM and SIGHUP end the run so too.
int in_sandbox(const std::function<int(const std::filesystem::path& folder)>& run);

}  // namespace concertina::chaos
