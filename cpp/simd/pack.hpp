/// Pack<T>: 64 bytes of lanes on every target, and the closed list of operations on it.
///
/// A pack is a tree of halves down to one register. Every operation is defined once: it recurses on the halves and
/// acts on the register at the leaf, so the same source gives the same lanes, in the same order, everywhere.
/// Operations are exactly rounded IEEE operations; fma is fused on every target.
///
/// To be included by target.cpp alone, inside its namespaces (see the four locks there).

/// The numbers that belong to a lane type.
template <class T>
struct Real;

template <>
struct Real<float> {
  using Bits = std::uint32_t;
  using Signed = std::int32_t;
  static constexpr int mantissa_bits = 23;
  static constexpr int exponent_bias = 127;
};

template <>
struct Real<double> {
  using Bits = std::uint64_t;
  using Signed = std::int64_t;
  static constexpr int mantissa_bits = 52;
  static constexpr int exponent_bias = 1023;
};

template <>
struct Real<std::uint32_t> {
  using Signed = std::int32_t;
};

template <>
struct Real<std::uint64_t> {
  using Signed = std::int64_t;
};

constexpr int pack_bytes = 64;
constexpr int register_bytes = KULLBACK_REGISTER_BYTES;

template <class T, int Bytes = pack_bytes, bool Leaf = (Bytes <= register_bytes)>
struct Simd {
  typedef T Register __attribute__((vector_size(Bytes)));
  using Lane = T;
  static constexpr int bytes = Bytes;
  static constexpr bool leaf = true;
  static constexpr std::size_t size = Bytes / sizeof(T);
  Register v;
};

template <class T, int Bytes>
struct Simd<T, Bytes, false> {
  using Lane = T;
  static constexpr int bytes = Bytes;
  static constexpr bool leaf = false;
  static constexpr std::size_t size = Bytes / sizeof(T);
  Simd<T, Bytes / 2> lower, upper;
};

template <class T>
using Pack = Simd<T>;

/// Several packs, worked on together so that their chains of operations overlap: each lane's value, and the order in
/// which packs are added to a sum, are those of one pack at a time. Register files set how many serve best.
template <class T>
using Group = Simd<T, (4 * register_bytes > pack_bytes ? 4 * register_bytes : pack_bytes)>;

/// A parameter type from which T is not deduced: a number that stands for a pack of its copies.
template <class T>
struct ScalarOf {
  using Type = T;
};
template <class T>
using Scalar = typename ScalarOf<T>::Type;

/// One truth value per lane: a mask register on AVX-512, all-ones integers elsewhere.
template <class T, int Bytes = pack_bytes, bool Leaf = (Bytes <= register_bytes)>
struct Mask {
#if KULLBACK_AVX512
  static_assert(Bytes == 64);
  std::uint16_t m;
#else
  typedef typename Real<T>::Signed Register __attribute__((vector_size(Bytes)));
  Register m;
#endif
};

template <class T, int Bytes>
struct Mask<T, Bytes, false> {
  Mask<T, Bytes / 2> lower, upper;
};

template <class A, class B>
constexpr bool same = false;
template <class A>
constexpr bool same<A, A> = true;

template <class To, class From>
KULLBACK_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// Construction and memory -------------------------------------------------------------------------------------------

template <class T, int B = pack_bytes>
KULLBACK_INLINE Simd<T, B> broadcast(T x) {
  if constexpr (Simd<T, B>::leaf) {
    return {x - typename Simd<T, B>::Register{}};
  } else {
    const auto half = broadcast<T, B / 2>(x);
    return {half, half};
  }
}

template <class V>
KULLBACK_INLINE V broadcast_like(typename V::Lane x) {
  return broadcast<typename V::Lane, V::bytes>(x);
}

template <class T, int B = pack_bytes>
KULLBACK_INLINE Simd<T, B> load(const T* from) {
  // Register by register: GCC copies a tree in 16-byte pieces, which wider reads then wait for.
  if constexpr (Simd<T, B>::leaf) {
    Simd<T, B> a;
    std::memcpy(&a, from, sizeof(a));
    return a;
  } else {
    return {load<T, B / 2>(from), load<T, B / 2>(from + Simd<T, B>::size / 2)};
  }
}

template <class T, int B>
KULLBACK_INLINE void store(T* to, Simd<T, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    std::memcpy(to, &a, sizeof(a));
  } else {
    store(to, a.lower);
    store(to + Simd<T, B>::size / 2, a.upper);
  }
}

#if KULLBACK_AVX2
template <class T>
KULLBACK_INLINE __m256i first_lanes(std::size_t count) {
  if constexpr (sizeof(T) == 4) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), index);
  } else {
    const __m256i index = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(count)), index);
  }
}
#endif

/// The first count lanes from memory, `fill` in the others; nothing past count is touched. 0 <= count < size.
template <class T, int B = pack_bytes>
KULLBACK_INLINE Simd<T, B> partial_load(const T* from, std::size_t count, T fill) {
  constexpr std::size_t size = Simd<T, B>::size;
  if constexpr (!Simd<T, B>::leaf) {
    constexpr std::size_t half = size / 2;
    if (count >= half) return {load<T, B / 2>(from), partial_load<T, B / 2>(from + half, count - half, fill)};
    return {partial_load<T, B / 2>(from, count, fill), broadcast<T, B / 2>(fill)};
  } else {
#if KULLBACK_AVX512
    const unsigned lanes = (1U << count) - 1;
    const Simd<T, B> rest = broadcast<T, B>(fill);
    if constexpr (sizeof(T) == 4) {
      return {_mm512_mask_loadu_ps(rest.v, static_cast<__mmask16>(lanes), from)};
    } else {
      return {_mm512_mask_loadu_pd(rest.v, static_cast<__mmask8>(lanes), from)};
    }
#elif KULLBACK_AVX2
    const Simd<T, B> rest = broadcast<T, B>(fill);
    const __m256i lanes = first_lanes<T>(count);
    if constexpr (sizeof(T) == 4) {
      return {_mm256_blendv_ps(rest.v, _mm256_maskload_ps(from, lanes), _mm256_castsi256_ps(lanes))};
    } else {
      return {_mm256_blendv_pd(rest.v, _mm256_maskload_pd(from, lanes), _mm256_castsi256_pd(lanes))};
    }
#else
    T lanes[size];
    for (std::size_t i = 0; i < size; ++i) lanes[i] = i < count ? from[i] : fill;
    return load<T, B>(lanes);
#endif
  }
}

/// Stores the first count lanes. 0 <= count < size.
template <class T, int B>
KULLBACK_INLINE void partial_store(T* to, std::size_t count, Simd<T, B> a) {
  // Down to single lanes: AMD's cores take three times as long for AVX2's masked store.
  if constexpr (B > sizeof(T)) {
    constexpr std::size_t half = Simd<T, B>::size / 2;
    auto rest = lower(a);
    if (count >= half) {
      store(to, rest);
      to += half;
      count -= half;
      rest = upper(a);
    }
    partial_store(to, count, rest);
  }
}

#if KULLBACK_AVX512
template <class T>
KULLBACK_INLINE void partial_store(T* to, std::size_t count, Simd<T, 64> a) {
  const unsigned lanes = (1U << count) - 1;
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>(lanes), a.v);
  } else {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(lanes), a.v);
  }
}
#endif

// Lane by lane ------------------------------------------------------------------------------------------------------

#define KULLBACK_LANEWISE_BINARY(op)                                   \
  template <class T, int B>                                            \
  KULLBACK_INLINE Simd<T, B> operator op(Simd<T, B> a, Simd<T, B> b) { \
    if constexpr (Simd<T, B>::leaf) {                                  \
      return {a.v op b.v};                                             \
    } else {                                                           \
      return {a.lower op b.lower, a.upper op b.upper};                 \
    }                                                                  \
  }                                                                    \
  template <class T, int B>                                            \
  KULLBACK_INLINE Simd<T, B> operator op(Simd<T, B> a, Scalar<T> b) {  \
    return a op broadcast<T, B>(b);                                    \
  }                                                                    \
  template <class T, int B>                                            \
  KULLBACK_INLINE Simd<T, B> operator op(Scalar<T> a, Simd<T, B> b) {  \
    return broadcast<T, B>(a) op b;                                    \
  }
KULLBACK_LANEWISE_BINARY(+)
KULLBACK_LANEWISE_BINARY(-)
KULLBACK_LANEWISE_BINARY(*)
KULLBACK_LANEWISE_BINARY(/)
KULLBACK_LANEWISE_BINARY(&)
KULLBACK_LANEWISE_BINARY(|)
#undef KULLBACK_LANEWISE_BINARY

template <class T, int B>
KULLBACK_INLINE Simd<T, B> operator-(Simd<T, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    return {-a.v};
  } else {
    return {-a.lower, -a.upper};
  }
}

#if !(KULLBACK_AVX512 || KULLBACK_AVX2 || KULLBACK_NEON)
template <class Register>
KULLBACK_OUT_OF_LINE Register fma_by_lane(Register a, Register b, Register c) {
  constexpr std::size_t size = sizeof(a) / sizeof(a[0]);
  for (std::size_t i = 0; i < size; ++i) {
    if constexpr (sizeof(a[0]) == 4) {
      c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    } else {
      c[i] = __builtin_fma(a[i], b[i], c[i]);
    }
  }
  return c;
}
#endif

/// a * b + c, rounded once.
template <class T, int B>
KULLBACK_INLINE Simd<T, B> fma(Simd<T, B> a, Simd<T, B> b, Simd<T, B> c) {
  if constexpr (!Simd<T, B>::leaf) {
    return {fma(a.lower, b.lower, c.lower), fma(a.upper, b.upper, c.upper)};
  } else {
#if KULLBACK_AVX512
    if constexpr (sizeof(T) == 4) {
      return {_mm512_fmadd_ps(a.v, b.v, c.v)};
    } else {
      return {_mm512_fmadd_pd(a.v, b.v, c.v)};
    }
#elif KULLBACK_AVX2
    if constexpr (sizeof(T) == 4) {
      return {_mm256_fmadd_ps(a.v, b.v, c.v)};
    } else {
      return {_mm256_fmadd_pd(a.v, b.v, c.v)};
    }
#elif KULLBACK_NEON
    if constexpr (sizeof(T) == 4) {
      return {vfmaq_f32(c.v, a.v, b.v)};
    } else {
      return {vfmaq_f64(c.v, a.v, b.v)};
    }
#else
    return {fma_by_lane(a.v, b.v, c.v)};
#endif
  }
}

#if KULLBACK_AVX512
#define KULLBACK_COMPARE_REGISTERS(op, predicate)     \
  if constexpr (sizeof(T) == 4)                       \
    return {_mm512_cmp_ps_mask(a.v, b.v, predicate)}; \
  else                                                \
    return { _mm512_cmp_pd_mask(a.v, b.v, predicate) }
#else
#define KULLBACK_COMPARE_REGISTERS(op, predicate) \
  return { a.v op b.v }
#endif
#define KULLBACK_COMPARE(op, predicate)                                \
  template <class T, int B>                                            \
  KULLBACK_INLINE Mask<T, B> operator op(Simd<T, B> a, Simd<T, B> b) { \
    if constexpr (Simd<T, B>::leaf) {                                  \
      KULLBACK_COMPARE_REGISTERS(op, predicate);                       \
    } else {                                                           \
      return {a.lower op b.lower, a.upper op b.upper};                 \
    }                                                                  \
  }                                                                    \
  template <class T, int B>                                            \
  KULLBACK_INLINE Mask<T, B> operator op(Simd<T, B> a, Scalar<T> b) {  \
    return a op broadcast<T, B>(b);                                    \
  }
KULLBACK_COMPARE(<, _CMP_LT_OQ)
KULLBACK_COMPARE(>, _CMP_GT_OQ)
KULLBACK_COMPARE(>=, _CMP_GE_OQ)
KULLBACK_COMPARE(==, _CMP_EQ_OQ)
#undef KULLBACK_COMPARE
#undef KULLBACK_COMPARE_REGISTERS

template <class T, int B>
KULLBACK_INLINE Simd<T, B> fma(Simd<T, B> a, Simd<T, B> b, Scalar<T> c) {
  return fma(a, b, broadcast<T, B>(c));
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> fma(Simd<T, B> a, Scalar<T> b, Simd<T, B> c) {
  return fma(a, broadcast<T, B>(b), c);
}

template <class T, int B>
KULLBACK_INLINE Mask<T, B> operator&(Mask<T, B> a, Mask<T, B> b) {
  if constexpr (Simd<T, B>::leaf) {
    return {static_cast<decltype(a.m)>(a.m & b.m)};
  } else {
    return {a.lower & b.lower, a.upper & b.upper};
  }
}

template <class T, int B>
KULLBACK_INLINE Mask<T, B> operator|(Mask<T, B> a, Mask<T, B> b) {
  if constexpr (Simd<T, B>::leaf) {
    return {static_cast<decltype(a.m)>(a.m | b.m)};
  } else {
    return {a.lower | b.lower, a.upper | b.upper};
  }
}

template <class T, int B>
KULLBACK_INLINE bool all(Mask<T, B> a) {
  if constexpr (!Simd<T, B>::leaf) {
    return all(a.lower & a.upper);
  } else {
#if KULLBACK_AVX512
    return a.m == (1U << Simd<T, B>::size) - 1;
#else
    typename Real<T>::Signed every = -1;
    for (std::size_t i = 0; i < Simd<T, B>::size; ++i) every &= a.m[i];
    return every != 0;
#endif
  }
}

/// One bit per lane, that of lane 0 lowest.
template <class T, int B>
KULLBACK_INLINE std::uint64_t to_word(Mask<T, B> a) {
  if constexpr (!Simd<T, B>::leaf) {
    return to_word(a.lower) | to_word(a.upper) << (Simd<T, B>::size / 2);
  } else {
#if KULLBACK_AVX512
    return a.m & ((1U << Simd<T, B>::size) - 1);
#else
    std::uint64_t word = 0;
#if KULLBACK_AVX2
    if constexpr (B == 32) {
      if constexpr (sizeof(T) == 4) {
        word = static_cast<unsigned>(_mm256_movemask_ps(bit_cast<__m256>(a.m)));
      } else {
        word = static_cast<unsigned>(_mm256_movemask_pd(bit_cast<__m256d>(a.m)));
      }
      return word;
    }
#endif
    for (std::size_t i = 0; i < Simd<T, B>::size; ++i) word |= static_cast<std::uint64_t>(a.m[i] & 1) << i;
    return word;
#endif
  }
}

/// a where the mask is true, b elsewhere.
template <class T, int B>
KULLBACK_INLINE Simd<T, B> select(Mask<T, B> mask, Simd<T, B> a, Simd<T, B> b) {
  if constexpr (!Simd<T, B>::leaf) {
    return {select(mask.lower, a.lower, b.lower), select(mask.upper, a.upper, b.upper)};
  } else {
#if KULLBACK_AVX512
    if constexpr (sizeof(T) == 4) {
      return {_mm512_mask_blend_ps(mask.m, b.v, a.v)};
    } else {
      return {_mm512_mask_blend_pd(static_cast<__mmask8>(mask.m), b.v, a.v)};
    }
#else
    return {mask.m ? a.v : b.v};
#endif
  }
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> select(Mask<T, B> mask, Scalar<T> a, Simd<T, B> b) {
  return select(mask, broadcast<T, B>(a), b);
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> select(Mask<T, B> mask, Simd<T, B> a, Scalar<T> b) {
  return select(mask, a, broadcast<T, B>(b));
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> select(Mask<T, B> mask, Scalar<T> a, Scalar<T> b) {
  return select(mask, broadcast<T, B>(a), broadcast<T, B>(b));
}

// GCC makes two instructions of a comparison and a selection, unless told. maskz with every lane: see widen.
#if KULLBACK_AVX512
#define KULLBACK_EXTREME_OF_REGISTERS(name)                                                               \
  if constexpr (same<T, float> && B == 64) return Simd<T, B>{_mm512_maskz_##name##_ps(0xffff, a.v, b.v)}; \
  if constexpr (same<T, double> && B == 64) return Simd<T, B>{_mm512_maskz_##name##_pd(0xff, a.v, b.v)};
#elif KULLBACK_AVX2
#define KULLBACK_EXTREME_OF_REGISTERS(name)                                                 \
  if constexpr (same<T, float> && B == 32) return Simd<T, B>{_mm256_##name##_ps(a.v, b.v)}; \
  if constexpr (same<T, double> && B == 32) return Simd<T, B>{_mm256_##name##_pd(a.v, b.v)};
#else
#define KULLBACK_EXTREME_OF_REGISTERS(name)
#endif
#define KULLBACK_EXTREME(name, op)                              \
  template <class T, int B>                                     \
  KULLBACK_INLINE Simd<T, B> name(Simd<T, B> a, Simd<T, B> b) { \
    if constexpr (!Simd<T, B>::leaf) {                          \
      return {name(a.lower, b.lower), name(a.upper, b.upper)};  \
    } else {                                                    \
      KULLBACK_EXTREME_OF_REGISTERS(name)                       \
      return Simd<T, B>{a.v op b.v ? a.v : b.v};                \
    }                                                           \
  }
/// The larger value; b where either is NaN.
KULLBACK_EXTREME(max, >)
/// The smaller value; b where either is NaN.
KULLBACK_EXTREME(min, <)
#undef KULLBACK_EXTREME
#undef KULLBACK_EXTREME_OF_REGISTERS

/// The larger integer.
template <int B>
KULLBACK_INLINE Simd<std::uint32_t, B> max(Simd<std::uint32_t, B> a, Simd<std::uint32_t, B> b) {
  if constexpr (!Simd<std::uint32_t, B>::leaf) {
    return {max(a.lower, b.lower), max(a.upper, b.upper)};
  } else {
    using V = Simd<std::uint32_t, B>;
#if KULLBACK_AVX512
    if constexpr (B == 64) {
      return bit_cast<V>(_mm512_maskz_max_epu32(0xffff, bit_cast<__m512i>(a.v), bit_cast<__m512i>(b.v)));
    }
#elif KULLBACK_AVX2
    if constexpr (B == 32) return bit_cast<V>(_mm256_max_epu32(bit_cast<__m256i>(a.v), bit_cast<__m256i>(b.v)));
#endif
    return V{a.v > b.v ? a.v : b.v};
  }
}

// Bits --------------------------------------------------------------------------------------------------------------

template <class T, int B>
KULLBACK_INLINE Simd<typename Real<T>::Bits, B> to_bits(Simd<T, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    return bit_cast<Simd<typename Real<T>::Bits, B>>(a);
  } else {
    return {to_bits(a.lower), to_bits(a.upper)};
  }
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> from_bits(Simd<typename Real<T>::Bits, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    return bit_cast<Simd<T, B>>(a);
  } else {
    return {from_bits<T>(a.lower), from_bits<T>(a.upper)};
  }
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B> abs(Simd<T, B> a) {
  constexpr auto magnitude = static_cast<typename Real<T>::Bits>(-1) >> 1;
  return from_bits<T>(to_bits(a) & magnitude);
}

template <int Count, class T, int B>
KULLBACK_INLINE Simd<T, B> shift_left(Simd<T, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    return {a.v << Count};
  } else {
    return {shift_left<Count>(a.lower), shift_left<Count>(a.upper)};
  }
}

/// table[i] of the lowest bits i of each lane, after `Shift` bits are dropped.
template <int Shift, int B, std::size_t Size>
KULLBACK_INLINE Simd<float, B> look_up(const float (&table)[Size], Simd<std::uint32_t, B> bits) {
  static_assert(Size == 8 || Size == 16);
  if constexpr (!Simd<float, B>::leaf) {
    return {look_up<Shift>(table, bits.lower), look_up<Shift>(table, bits.upper)};
  } else {
    const auto index = bits.v >> Shift;
#if KULLBACK_AVX512
    __m512 copies;
    if constexpr (Size == 16) {
      copies = _mm512_loadu_ps(table);
    } else {
      copies = _mm512_maskz_broadcast_f32x8(0xffff, _mm256_loadu_ps(table));
    }
    return {_mm512_maskz_permutexvar_ps(0xffff, bit_cast<__m512i>(index), copies)};
#elif KULLBACK_AVX2
    if constexpr (B == 32) {
      const auto eighth = [=](const float* from) KULLBACK_INLINE_LAMBDA {
        return _mm256_permutevar8x32_ps(_mm256_loadu_ps(from), bit_cast<__m256i>(index));
      };
      if constexpr (Size == 8) return {eighth(table)};
      // The sign tells which of two is taken.
      return {_mm256_blendv_ps(eighth(table), eighth(table + 8), bit_cast<__m256>(index << 28))};
    }
#elif KULLBACK_NEON
    // Bytes 4 i, 4 i + 1, ... of the table.
    const auto first_byte = (index & (Size - 1)) * 0x04040404U + 0x03020100U;
    const auto quarter = [=](std::size_t i) KULLBACK_INLINE_LAMBDA {
      return vld1q_u8(reinterpret_cast<const std::uint8_t*>(table + i));
    };
    if constexpr (Size == 8) {
      const uint8x16x2_t bytes = {{quarter(0), quarter(4)}};
      return {bit_cast<typename Simd<float, B>::Register>(vqtbl2q_u8(bytes, bit_cast<uint8x16_t>(first_byte)))};
    } else {
      const uint8x16x4_t bytes = {{quarter(0), quarter(4), quarter(8), quarter(12)}};
      return {bit_cast<typename Simd<float, B>::Register>(vqtbl4q_u8(bytes, bit_cast<uint8x16_t>(first_byte)))};
    }
#endif
    Simd<float, B> y;
    for (std::size_t i = 0; i < Simd<float, B>::size; ++i) y.v[i] = table[index[i] & (Size - 1)];
    return y;
  }
}

/// What exponent_to_real counts in: the value of the exponent field's unit, where integers of that width convert.
#if KULLBACK_AVX512 || KULLBACK_NEON
template <class T>
constexpr T exponent_unit = static_cast<T>(std::uint64_t{1} << Real<T>::mantissa_bits);
#else
template <class T>
constexpr T exponent_unit = sizeof(T) == 4 ? T{1 << 23} : T{1};
#endif

/// k * exponent_unit, of bits that hold the signed integer k in the exponent field and zeros below it.
template <class T, int B>
KULLBACK_INLINE Simd<T, B> exponent_to_real(Simd<typename Real<T>::Bits, B> bits) {
  if constexpr (!Simd<T, B>::leaf) {
    return {exponent_to_real<T>(bits.lower), exponent_to_real<T>(bits.upper)};
  } else {
    using Register = typename Simd<T, B>::Register;
    if constexpr (exponent_unit<T> == 1) {
      // No conversion of 64-bit integers here: put k + 2048 below the exponent of 2^52 and take both off again.
      const auto biased = (bits.v ^ (std::uint64_t{1} << 63)) >> 52;
      constexpr std::uint64_t two52 = std::uint64_t{1023 + 52} << 52;
      return {bit_cast<Register>(biased | two52) - (0x1p52 + 2048.0)};
    } else {
      typedef typename Real<T>::Signed SignedRegister __attribute__((vector_size(B)));
      return {__builtin_convertvector(bit_cast<SignedRegister>(bits.v), Register)};
    }
  }
}

// Across lanes ------------------------------------------------------------------------------------------------------

/// Lanes [Offset, Offset + size / 2) of one register.
template <std::size_t Offset, class T, int B>
KULLBACK_INLINE Simd<T, B / 2> half_register(Simd<T, B> a) {
  constexpr std::size_t half = Simd<T, B>::size / 2;
  if constexpr (half == 8) {
    return {__builtin_shufflevector(a.v, a.v, Offset, Offset + 1, Offset + 2, Offset + 3, Offset + 4, Offset + 5,
                                    Offset + 6, Offset + 7)};
  } else if constexpr (half == 4) {
    return {__builtin_shufflevector(a.v, a.v, Offset, Offset + 1, Offset + 2, Offset + 3)};
  } else if constexpr (half == 2) {
    return {__builtin_shufflevector(a.v, a.v, Offset, Offset + 1)};
  } else {
    return {typename Simd<T, B / 2>::Register{a.v[Offset]}};
  }
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B / 2> lower(Simd<T, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    return half_register<0>(a);
  } else {
    return a.lower;
  }
}

template <class T, int B>
KULLBACK_INLINE Simd<T, B / 2> upper(Simd<T, B> a) {
  if constexpr (Simd<T, B>::leaf) {
    return half_register<Simd<T, B>::size / 2>(a);
  } else {
    return a.upper;
  }
}

/// float32 lanes as float64 lanes, twice the bytes.
template <int B>
KULLBACK_INLINE Simd<double, 2 * B> widen(Simd<float, B> a) {
  if constexpr (!Simd<double, 2 * B>::leaf) {
    return {widen(lower(a)), widen(upper(a))};
  } else {
#if KULLBACK_AVX512
    // maskz with every lane: the plain intrinsic reads an uninitialised register in GCC 12's header.
    return {_mm512_maskz_cvtps_pd(0xff, a.v)};
#elif KULLBACK_AVX2
    return {_mm256_cvtps_pd(a.v)};
#elif KULLBACK_NEON
    return {vcvt_f64_f32(a.v)};
#else
    return {__builtin_convertvector(a.v, typename Simd<double, 2 * B>::Register)};
#endif
  }
}

/// Stores float64 lanes as float32, rounded to nearest.
template <int B>
KULLBACK_INLINE void store_narrow(float* to, Simd<double, B> a) {
  if constexpr (!Simd<double, B>::leaf) {
    store_narrow(to, a.lower);
    store_narrow(to + Simd<double, B>::size / 2, a.upper);
  } else {
#if KULLBACK_AVX512
    _mm256_storeu_ps(to, _mm512_maskz_cvtpd_ps(0xff, a.v));
#elif KULLBACK_AVX2
    _mm_storeu_ps(to, _mm256_cvtpd_ps(a.v));
#elif KULLBACK_NEON
    vst1_f32(to, vcvt_f32_f64(a.v));
#else
    for (std::size_t i = 0; i < Simd<double, B>::size; ++i) to[i] = static_cast<float>(a.v[i]);
#endif
  }
}

/// float64 lanes rounded to float32.
template <int B>
KULLBACK_INLINE Simd<double, B> rounded_to_float(Simd<double, B> a) {
  if constexpr (!Simd<double, B>::leaf) {
    return {rounded_to_float(a.lower), rounded_to_float(a.upper)};
  } else {
#if KULLBACK_AVX512
    return {_mm512_maskz_cvtps_pd(0xff, _mm512_maskz_cvtpd_ps(0xff, a.v))};
#elif KULLBACK_AVX2
    return {_mm256_cvtps_pd(_mm256_cvtpd_ps(a.v))};
#elif KULLBACK_NEON
    return {vcvt_f64_f32(vcvt_f32_f64(a.v))};
#else
    typedef float Narrow __attribute__((vector_size(B / 2)));
    using Wide = typename Simd<double, B>::Register;
    return {__builtin_convertvector(__builtin_convertvector(a.v, Narrow), Wide)};
#endif
  }
}

// Memory of either type to and from float64 lanes ---------------------------------------------------------------------

/// B bytes of float64 lanes from memory.
template <int B>
KULLBACK_INLINE Simd<double, B> load_wide(const double* from) {
  return load<double, B>(from);
}
template <int B>
KULLBACK_INLINE Simd<double, B> load_wide(const float* from) {
  return widen(load<float, B / 2>(from));
}

/// The first count lanes, all of them at most, and `fill` in the others.
template <int B = pack_bytes>
KULLBACK_INLINE Simd<double, B> load_wide(const double* from, std::size_t count, double fill) {
  return count >= Simd<double, B>::size ? load<double, B>(from) : partial_load<double, B>(from, count, fill);
}
template <int B = pack_bytes>
KULLBACK_INLINE Simd<double, B> load_wide(const float* from, std::size_t count, float fill) {
  if (count >= Simd<double, B>::size) return load_wide<B>(from);
  if constexpr (B / 2 >= register_bytes) {
    return widen(partial_load<float, B / 2>(from, count, fill));
  } else {
    return widen(lower(partial_load<float, B>(from, count, fill)));
  }
}

template <int B>
KULLBACK_INLINE void store_wide(double* to, Simd<double, B> a) {
  store(to, a);
}
template <int B>
KULLBACK_INLINE void store_wide(float* to, Simd<double, B> a) {
  store_narrow(to, a);
}

/// Stores the first count lanes, all of them at most.
template <class T, int B>
KULLBACK_INLINE void store_wide(T* to, Simd<double, B> a, std::size_t count) {
  constexpr std::size_t size = Simd<double, B>::size;
  if (count >= size) {
    store_wide(to, a);
  } else if constexpr (!Simd<double, B>::leaf) {
    store_wide(to, a.lower, count);
    if (count > size / 2) store_wide(to + size / 2, a.upper, count - size / 2);
  } else if constexpr (same<T, double>) {
    partial_store(to, count, a);
  } else {
    T lanes[size];
    store_narrow(lanes, a);
    for (std::size_t i = 0; i < count; ++i) to[i] = lanes[i];
  }
}

/// A pack of lanes of their own type, likewise.
template <class T>
KULLBACK_INLINE void store_some(T* to, Pack<T> a, std::size_t count) {
  if (count >= Pack<T>::size) {
    store(to, a);
  } else {
    partial_store(to, count, a);
  }
}

/// 0, 1, 2, ...
template <class T>
KULLBACK_INLINE Pack<T> lane_numbers() {
  constexpr T numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static_assert(Pack<T>::size <= 16);
  return load(numbers);
}

template <class T, int B>
KULLBACK_INLINE T largest_lane(Simd<T, B> a) {
  if constexpr (B == sizeof(T)) {
    return a.v[0];
  } else {
    return largest_lane(max(lower(a), upper(a)));
  }
}
