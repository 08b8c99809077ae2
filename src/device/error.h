#pragma once

namespace concertina::device {

enum class DeviceError { kUnknownInstructionSet, kUnsupportedInstructionSet };

}  // namespace concertina::device
