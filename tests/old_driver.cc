// As libcuda.so.1: an NVIDIA driver of CUDA 12.4, as far as the CUDA runtime asks before it refuses it.
#include <cstring>

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}
static int no_such_function() { return 999; }
int cuGetProcAddress_v2(const char* name, void** function, int, unsigned long long, int* found) {
  const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
  *function = is("cuInit")               ? reinterpret_cast<void*>(cuInit)
              : is("cuDriverGetVersion") ? reinterpret_cast<void*>(cuDriverGetVersion)
              : is("cuGetProcAddress")   ? reinterpret_cast<void*>(cuGetProcAddress_v2)
                                         : reinterpret_cast<void*>(no_such_function);
  if (found != nullptr) *found = 0;
  return 0;
}

}  // extern "C"
