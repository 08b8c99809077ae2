#pragma once

namespace concertina {

// This thread's work may wait: for the rest of its life it gets a quarter of a core beside a thread that
// computes, in short slices, and the disk after others. For threads that load beside ranks that decode. There
// is no way back: lowering the nice value again takes a privilege, so what must become fast later runs on a
// thread of its own. Threads that it starts inherit it. What the system does not allow is left as it is.
// `nice`: at least so much; at 10 it gets a tenth of a core.
void work_in_the_background(int nice = 5);

// Others wait for this thread: when it wakes up it runs at once, also where a thread with the usual slices of
// 3 ms has just begun one. Its share of a core stays what it is. Threads that it starts inherit it.
void wake_up_at_once();

}  // namespace concertina
