#pragma once

#include <string_view>

namespace concertina::kernels {

// SHA-256, in hex, of the kernels' sources and the flags they are compiled with. Two builds with the same one
// and the same instruction set compute the same bits.
std::string_view digest();

}  // namespace concertina::kernels
