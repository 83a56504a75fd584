# `cmake --install build/release --prefix PREFIX`: the program, and what a backend in a shared library is built with
# (docs/write-a-backend.md): the header, the CMake package `mlbench` with its target mlbench::plugin, and the example.
include(CMakePackageConfigHelpers)
configure_file(backends/plugin.h ${PROJECT_BINARY_DIR}/include/mlbench/plugin.h COPYONLY)
add_library(mlbench_plugin_header INTERFACE)
add_library(mlbench::plugin ALIAS mlbench_plugin_header)
set_target_properties(mlbench_plugin_header PROPERTIES EXPORT_NAME plugin)
target_include_directories(mlbench_plugin_header INTERFACE
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

install(TARGETS mlbench_cuda mlbench_rocm LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mlbench)
install(FILES backends/plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mlbench)
install(DIRECTORY examples/plugin DESTINATION ${CMAKE_INSTALL_DATADIR}/mlbench/examples)
install(TARGETS mlbench_plugin_header EXPORT mlbench)
set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/mlbench)
install(EXPORT mlbench NAMESPACE mlbench:: FILE mlbench-config.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mlbench-config-version.cmake COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/mlbench-config-version.cmake DESTINATION ${package_dir})
