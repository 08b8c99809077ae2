#include "exchange/protocol/counters.h"

namespace concertina::exchange {

const char* name_of(Part part) {
  switch (part) {
    case Part::kRoute:
      return "route";
    case Part::kDispatch:
      return "dispatch";
    case Part::kWait:
      return "wait";
    case Part::kCompute:
      return "compute";
    case Part::kCombine:
      return "combine";
  }
  return "";
}

}  // namespace concertina::exchange
