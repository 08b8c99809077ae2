# Writes OUT, a C++ file with the digest of what decides about the last bit of a result: the sources FILES, how they
# are compiled (FLAGS). Run at build time: cmake -DFILES=... -DFLAGS=... -DROOT=... -DOUT=... -P kernel_digest.cmake
separate_arguments(FILES UNIX_COMMAND "${FILES}")
list(SORT FILES)
set(text "${FLAGS}")
foreach(file ${FILES})
  file(SHA256 ${file} hash)
  file(RELATIVE_PATH name ${ROOT} ${file})
  string(APPEND text "\n${name} ${hash}")
endforeach()
string(SHA256 digest "${text}")
set(source "#include \"kernels/digest.h\"\n\nnamespace concertina::kernels {\nstd::string_view digest() { return \"${digest}\"; }\n}  // namespace concertina::kernels\n")
file(WRITE ${OUT} "${source}")
