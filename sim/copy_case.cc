#include "sim/copy_case.h"

namespace concertina::sim {

const char* name_of(CopyCase what) {
  static constexpr std::array<const char*, kCopyCases> kNames{"no blocks free for it",
                                                              "its source was not mapped",
                                                              "begun",
                                                              "its source had ended before it began",
                                                              "its source ended meanwhile",
                                                              "its request was taken over meanwhile",
                                                              "its request was dropped meanwhile",
                                                              "waited for an epoch",
                                                              "its source had no record of it",
                                                              "part of it was reused meanwhile",
                                                              "all of the record came",
                                                              "decided when it was over",
                                                              "counts by a step of its source",
                                                              "counts by its source's end",
                                                              "distrusted for its source's end",
                                                              "given up"};
  return kNames[static_cast<std::size_t>(what)];
}

}  // namespace concertina::sim
