#pragma once

#include "base/random.h"
#include "client/generation.h"
#include "tools/chaos/options.h"

namespace concertina::chaos {

// The streams that are compared: all different, every fourth of them held to a schema, a regular expression
// or a grammar, whose masks a rank makes anew when a stream comes to it.
std::vector<client::GenerationRequest> make_requests(Random& random, const Options& options);

}  // namespace concertina::chaos
