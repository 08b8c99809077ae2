#pragma once

#include <sys/types.h>

namespace concertina::worker {

// One rank as a process: `concertina worker`, started by the front with its control channel on `control_fd`.
// Returns the exit code. Three threads of its own: the step thread (the caller's), the control link's, and
// the loader, which reads weights and builds epochs beside serving.
//
// It obeys the front alone: SIGINT is ignored, SIGTERM asks the front to be let go; it dies when `parent_pid`
// dies or the control channel closes.
int run_worker(int control_fd, pid_t parent_pid);

}  // namespace concertina::worker
