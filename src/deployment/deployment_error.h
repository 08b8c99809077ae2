#pragma once

namespace concertina::deployment {

// Why a request fails.
enum class DeploymentError {
  kTooLarge,         // it does not fit the channel to a rank
  kNonfiniteLogits,  // the model gave no finite logits for its next token
  kNothingAllowed,   // its rules left no token
  kEndsRanks,        // it makes ranks crash
};

}  // namespace concertina::deployment
