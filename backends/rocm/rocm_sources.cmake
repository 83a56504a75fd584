# ROCm as a device of backends/gpu, where cmake/rocm.cmake has found HIP and rocBLAS: kernels and the runtime around them.
# mlbench_rocm_kernels_W: those for processors with warps of W.
foreach(width 64 32)
  if(NOT MLBENCH_ROCM_PROCESSORS_${width})
    list(APPEND kernels without_kernels.cpp)
    set_source_files_properties(without_kernels.cpp PROPERTIES COMPILE_DEFINITIONS MLBENCH_ROCM_WARP_WIDTH=${width})
    continue()
  endif()
  add_library(mlbench_rocm_kernels_${width} OBJECT rocm_kernels.hip)
  target_include_directories(mlbench_rocm_kernels_${width} PRIVATE ${PROJECT_SOURCE_DIR})
  set_target_properties(mlbench_rocm_kernels_${width} PROPERTIES POSITION_INDEPENDENT_CODE ON
    HIP_STANDARD 20 HIP_STANDARD_REQUIRED ON HIP_ARCHITECTURES "${MLBENCH_ROCM_PROCESSORS_${width}}")
  target_compile_definitions(mlbench_rocm_kernels_${width} PRIVATE MLBENCH_ROCM_WARP_WIDTH=${width})
  target_compile_options(mlbench_rocm_kernels_${width} PRIVATE -Wall -Wextra)
  target_link_libraries(mlbench_rocm_kernels_${width} PRIVATE fmt::fmt)
  list(APPEND kernels $<TARGET_OBJECTS:mlbench_rocm_kernels_${width}>)
endforeach()
if(MLBENCH_HIPBLASLT)
  set(hipblas_lt hipblas_lt.cpp)
else()
  set(hipblas_lt without_hipblas_lt.cpp)
endif()
if(MLBENCH_RCCL)
  set(rccl rccl_library.cpp)
else()
  set(rccl without_rccl.cpp)
endif()

# rocBLAS, hipBLASLt and RCCL are opened when a device is used, see their headers; HIP itself is linked.
mlbench_room(rocm_runtime
  SOURCES hip_api.cpp ${hipblas_lt} ${rccl} rocblas_library.cpp rocm_products.cpp ${kernels}
  LINKS mlbench::gpu hip::host
  PRIVATE_LINKS fmt::fmt)
list(JOIN MLBENCH_ROCM_ARCHITECTURES "," processors)
target_compile_definitions(mlbench_rocm_runtime PRIVATE
  "MLBENCH_ROCM_ARCHITECTURES=\"${processors}\"" "MLBENCH_ROCBLAS=\"${MLBENCH_ROCBLAS}\""
  "MLBENCH_HIPBLASLT=\"${MLBENCH_HIPBLASLT}\"" "MLBENCH_RCCL=\"${MLBENCH_RCCL}\"")
set_target_properties(mlbench_rocm_runtime PROPERTIES POSITION_INDEPENDENT_CODE ON)
# RPATH, not RUNPATH: it counts for what the libraries themselves need, too.
target_link_options(mlbench_rocm_runtime INTERFACE
  "LINKER:--disable-new-dtags" "LINKER:-rpath,/opt/rocm/lib:${MLBENCH_ROCBLAS_FOLDER}")
