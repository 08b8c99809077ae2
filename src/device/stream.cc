#include "device/stream.h"

#include "base/check.h"

namespace concertina::device {

Stream::Stream(std::size_t n_threads, std::span<const int> cores, InstructionSet set)
    : pool_(n_threads, cores), set_(set) {
  CHECK(is_supported(set), "this processor lacks {}", name_of(set));
}

}  // namespace concertina::device
