#cmake - DSOURCE_DIR = ... - DOUT = ... - P digest.cmake : a header with the SHA - 256 of the kernels' sources.
file(GLOB sources ${
  SOURCE_DIR}/*.cu ${SOURCE_DIR}/*.cuh ${SOURCE_DIR}/launch.h)
set(all "")
foreach(source ${sources})
  file(SHA256 ${source} digest)
  get_filename_component(name ${source} NAME)
  string(APPEND all "${name} ${digest}\n")
endforeach()
string(SHA256 digest "${all}")
file(WRITE ${OUT} "#define CONCERTINA_KERNEL_DIGEST \"${digest}\"\n")
