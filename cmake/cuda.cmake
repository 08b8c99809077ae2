# CUDA where nvcc is found. It is called directly, one command a file: CMake's own CUDA language would hand the host's options
# to nvcc and link every binary in its way.
set(CONCERTINA_CUDA AUTO CACHE STRING "kernels for NVIDIA Hopper GPUs: AUTO (where nvcc is found), ON, OFF")
set(CONCERTINA_NVCC "")
if(NOT CONCERTINA_CUDA STREQUAL "OFF" AND NOT (CONCERTINA_CUDA STREQUAL "AUTO" AND CONCERTINA_SANITIZER))
  find_program(NVCC_PROGRAM nvcc HINTS $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  if(NVCC_PROGRAM)
    execute_process(COMMAND ${NVCC_PROGRAM} --version OUTPUT_VARIABLE nvcc_version)
    string(REGEX MATCH "release ([0-9]+)\\.[0-9]+, V([0-9.]+)" nvcc_version "${nvcc_version}")
    if(CMAKE_MATCH_1 GREATER_EQUAL 13)
      set(CONCERTINA_NVCC ${NVCC_PROGRAM})
      set(nvcc_version ${CMAKE_MATCH_2})
    endif()
  endif()
  if(CONCERTINA_CUDA STREQUAL "ON" AND NOT CONCERTINA_NVCC)
    message(FATAL_ERROR "CONCERTINA_CUDA is ON, and there is no nvcc of CUDA 13 or later (found: ${NVCC_PROGRAM})")
  endif()
endif()
if(CONCERTINA_NVCC)
  message(STATUS "CUDA: ${CONCERTINA_NVCC} ${nvcc_version}")
  get_filename_component(cuda_root ${CONCERTINA_NVCC} DIRECTORY)
  get_filename_component(cuda_root ${cuda_root} DIRECTORY)
  # Row invariance: as -ffp-contract=off of the CPU's files. Machine code of the one architecture alone: nothing is
  # translated when a rank starts.
  set(CONCERTINA_NVCC_FLAGS -std=c++20 -O3 --fmad=false -lineinfo "-gencode=arch=compute_90a,code=sm_90a"
      -Xptxas=-warn-spills -Xcompiler=-Wall -Werror=all-warnings)
  set(CONCERTINA_CUDA_IDENTITY "nvcc ${nvcc_version} ${CONCERTINA_NVCC_FLAGS}")
  # The runtime is linked in: a binary starts without any driver, and says what it lacks when a device is asked for.
  add_library(concertina_cudart INTERFACE)
  target_include_directories(concertina_cudart SYSTEM INTERFACE ${cuda_root}/include)
  target_link_libraries(concertina_cudart INTERFACE ${cuda_root}/lib64/libcudart_static.a Threads::Threads rt dl)
endif()

if(CONCERTINA_NVCC)
  # ./dev gpu-package lays libraries there; an rpath, which the libraries' own needs are looked up in too.
  set(CMAKE_BUILD_RPATH "\$ORIGIN/lib")
  add_link_options(-Wl,--disable-new-dtags)
endif()

# Of a folder whose .cc files the list has: without nvcc absent.cc and the tests, with it all others and the .cu files'
# objects.
function(concertina_cuda_sources list_name)
  set(chosen ${${list_name}})
  if(CONCERTINA_NVCC)
    list(FILTER chosen EXCLUDE REGEX "/absent\\.cc$")
    file(GLOB cuda_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
    foreach(file ${cuda_files})
      get_filename_component(stem ${file} NAME)
      set(object ${CMAKE_CURRENT_BINARY_DIR}/${stem}.o)
      add_custom_command(OUTPUT ${object}
                         COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${CONCERTINA_NVCC} ${CONCERTINA_NVCC_FLAGS} -I ${CMAKE_SOURCE_DIR}/src
                                 -MD -MF ${object}.d -MT ${object} -c ${file} -o ${object}
                         DEPENDS ${file} DEPFILE ${object}.d VERBATIM COMMENT "nvcc ${stem}")
      list(APPEND chosen ${object})
    endforeach()
  else()
    list(FILTER chosen INCLUDE REGEX "(/absent|_test)\\.cc$")
  endif()
  set(${list_name} ${chosen} PARENT_SCOPE)
endfunction()
