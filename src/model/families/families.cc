#include "model/families/family.h"

namespace concertina::model {

extern const Family kQwen3Moe, kMixtral, kOlmoe;

namespace {
constexpr const Family* kFamilies[] = {&kQwen3Moe, &kMixtral, &kOlmoe};
}

std::span<const Family* const> families() { return kFamilies; }

}  // namespace concertina::model
