/// The instruction set of this compilation: its name and the width of its registers.
///
/// The only file that reads the compiler's feature macros. A new target needs a branch here, one line in
/// CMakeLists.txt and one row in dispatch.cpp.
#pragma once

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512BW__)
#define KULLBACK_TARGET x86_64_v4
#define KULLBACK_TARGET_NAME "x86-64-v4"
#define KULLBACK_REGISTER_BYTES 64
#define KULLBACK_AVX512 1
#include <immintrin.h>
#elif defined(__AVX2__) && defined(__FMA__)
#define KULLBACK_TARGET x86_64_v3
#define KULLBACK_TARGET_NAME "x86-64-v3"
#define KULLBACK_REGISTER_BYTES 32
#define KULLBACK_AVX2 1
#include <immintrin.h>
#elif defined(__aarch64__)
#define KULLBACK_TARGET aarch64
#define KULLBACK_TARGET_NAME "aarch64"
#define KULLBACK_REGISTER_BYTES 16
#define KULLBACK_NEON 1
#include <arm_neon.h>
#else
#define KULLBACK_TARGET baseline
#define KULLBACK_TARGET_NAME "baseline"
#define KULLBACK_REGISTER_BYTES 16
#endif
