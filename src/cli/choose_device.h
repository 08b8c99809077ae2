#pragma once

#include "front/options.h"

namespace concertina::cli {

inline bool is_on_gpu(const front::FrontOptions& options) { return options.device != "cpu"; }

// What --device asks for: that there is such a GPU here, and what else must be so then. Takes what a GPU
// decides by itself out of `options`. kBadFlag names the flag; a CudaError says what is missing.
Status choose_device(front::FrontOptions& options);

// Once the form is known: weights that a GPU cannot have. kBadFlag.
Status check_form_on(const front::FrontOptions& options);

}  // namespace concertina::cli
