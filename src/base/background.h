#pragma once

namespace concertina {

// This thread's work may wait: for the rest of its life it gets a quarter of a core beside a thread that
// computes, in short slices, and the disk after others. For threads that load beside ranks that decode. There
// is no way back: lowering the nice value again takes a privilege, so what must become fast later runs on a
// thread of its own. Threads that it starts inherit it. What the system does not allow is left as it is.
void work_in_the_background();

}  // namespace concertina
