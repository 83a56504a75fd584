# Target `bundle`: what scripts/bundle packs into one tar that runs from any folder. The programs are linked once more
# from the objects of the ordinary ones, so as to look for their libraries in lib/ beside themselves.

# mlbench_bundled(TARGET FOLDER LIB): TARGET's objects as a program of the same name in FOLDER of the bundle, from where
# its libraries are in LIB. RPATH, not RUNPATH: it counts for what the libraries themselves need, too.
function(mlbench_bundled target folder lib)
  get_target_property(links ${target} LINK_LIBRARIES)
  add_executable(bundle_${target} $<TARGET_OBJECTS:${target}>)
  target_link_libraries(bundle_${target} PRIVATE ${links})
  target_link_options(bundle_${target} PRIVATE "LINKER:--disable-new-dtags")
  set_target_properties(bundle_${target} PROPERTIES
    OUTPUT_NAME ${target} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bundle/${folder} LINKER_LANGUAGE CXX
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN/${lib}" EXCLUDE_FROM_ALL ON)
  install(TARGETS bundle_${target} RUNTIME DESTINATION ${folder} COMPONENT bundle EXCLUDE_FROM_ALL)
  add_dependencies(bundle_parts bundle_${target})
endfunction()

# A program with a sanitizer in it is for this machine alone.
if(MLBENCH_SANITIZE)
  return()
endif()

set(bundle_for_tests "")
if(MLBENCH_TESTS)
  set(bundle_for_tests ALL)
endif()
add_custom_target(bundle_parts ${bundle_for_tests})
mlbench_bundled(mlbench . lib)
foreach(tests cuda_device_test rocm_device_test)
  if(TARGET ${tests})
    mlbench_bundled(${tests} tests ../lib)
  endif()
endforeach()
add_dependencies(bundle_parts mlbench_cuda mlbench_rocm)
# Beside the program, so that its own $ORIGIN/lib is the bundle's, too.
install(TARGETS mlbench_cuda mlbench_rocm LIBRARY DESTINATION . COMPONENT bundle EXCLUDE_FROM_ALL)
install(DIRECTORY bench/sweeps DESTINATION . COMPONENT bundle EXCLUDE_FROM_ALL)
install(DIRECTORY docs DESTINATION . COMPONENT bundle EXCLUDE_FROM_ALL)

set(pack ${PROJECT_SOURCE_DIR}/scripts/bundle --build ${PROJECT_BINARY_DIR})
add_custom_target(bundle COMMAND ${pack} DEPENDS bundle_parts USES_TERMINAL VERBATIM)

if(MLBENCH_TESTS)
  set(packed ${PROJECT_BINARY_DIR}/bundle/test.tar.xz)
  add_test(NAME bundle/packs COMMAND ${pack} --fast --output ${packed})
  add_test(NAME bundle/runs_in_a_bare_root COMMAND ${PROJECT_SOURCE_DIR}/scripts/check-bundle --quick --root made ${packed})
  set_tests_properties(bundle/packs PROPERTIES FIXTURES_SETUP bundle)
  # 77: this machine does not let us have a root of our own.
  set_tests_properties(bundle/runs_in_a_bare_root PROPERTIES FIXTURES_REQUIRED bundle SKIP_RETURN_CODE 77)
  # Nothing is packed on a system newer than the oldest that the bundle promises to run on (scripts/bundle).
  file(STRINGS scripts/bundle newest_glibc REGEX "^readonly newest_glibc=")
  string(REPLACE "readonly newest_glibc=" "" newest_glibc "${newest_glibc}")
  execute_process(COMMAND getconf GNU_LIBC_VERSION OUTPUT_VARIABLE glibc OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REPLACE "glibc " "" glibc "${glibc}")
  if(glibc VERSION_GREATER newest_glibc)
    message(STATUS "bundle: not tested: this system's glibc is ${glibc}, newer than a bundle's ${newest_glibc}")
    set_tests_properties(bundle/packs bundle/runs_in_a_bare_root PROPERTIES DISABLED ON)
  endif()
endif()
