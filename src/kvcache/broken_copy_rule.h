#pragma once

#include <cstdint>

namespace concertina::kvcache {

// A rule of copies that is broken on purpose where it is decided, here, in the scheduler or in rank::KvMoves:
// for the simulator and for tests, which must notice. The product breaks none. Numbers:
// docs/epoch_protocol.md.
enum class BrokenCopyRule : std::uint8_t {
  kNone,
  kNoStampCheck,       // 21: what a record says is believed, whatever the stamps say after the copy
  kStampLate,          // 22: a block has its stamp only when the next ones are taken
  kBackBeforeMover,    // 23: blocks of a request that is dropped are free though its copy goes on
  kByRequest,          // 24: a copy is over for whatever reservation its request has by then
  kPlanWhilePending,   // 25: a sequence goes on from what is still on its way
  kCreditAll,          // 26: nothing is left to compute
  kOddRecord,          // 27: a record is believed in the middle of its change
  kCreditFromCrashed,  // 28: every copy counts, whatever became of its source
};

}  // namespace concertina::kvcache
