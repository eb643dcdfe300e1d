/// Polynomials and tables of math.hpp, found by coefficients.py; coefficients stand highest degree first.

// clang-format off: one coefficient per line
template <class T>
struct Polynomials;

template <>
struct Polynomials<float> {
  // atanh_tail: (2 atanh(s) - 2 s) / s^3 in z = s^2, |s| <= 1/5; relative error 2^-28.21
  static constexpr float atanh_tail[] = {
      0x1.36ca7c0000000p-2f,
      0x1.992c3e0000000p-2f,
      0x1.5555b20000000p-1f,
  };
  // exp_tail: (exp(r) - 1 - r) / r^2, |r| <= ln(2)/2; relative error 2^-31.08
  static constexpr float exp_tail[] = {
      0x1.6ebaf80000000p-13f,
      0x1.6d39900000000p-10f,
      0x1.1134800000000p-7f,
      0x1.5554f80000000p-5f,
      0x1.55553e0000000p-3f,
      0x1.0000000000000p-1f,
  };
  // short_exp_tail: the same; relative error 2^-28.07
  static constexpr float short_exp_tail[] = {
      0x1.6aa6cc0000000p-10f,
      0x1.123ae80000000p-7f,
      0x1.55586e0000000p-5f,
      0x1.5554900000000p-3f,
      0x1.fffffc0000000p-2f,
  };
  // fine_exp_tail: the same, |r| <= ln(2)/32; relative error 2^-37.36
  static constexpr float fine_exp_tail[] = {
      0x1.5559060000000p-5f,
      0x1.55571c0000000p-3f,
      0x1.0000000000000p-1f,
  };
  // inverses: c near 1 / m, see logarithms in coefficients.py
  static constexpr float inverses[] = {
      0x1.3a85d80000000p+0f,
      0x1.24f75e0000000p+0f,
      0x1.118de00000000p+0f,
      0x1.0000000000000p+0f,
      0x1.c7981e0000000p-1f,
      0x1.99bcb40000000p-1f,
      0x1.74c10c0000000p-1f,
      0x1.5544c00000000p-1f,
  };
  // logarithms: -log(c)
  static constexpr float logarithms[] = {
      -0x1.a5a4000000000p-3f,
      -0x1.143c000000000p-3f,
      -0x1.0fa8000000000p-4f,
      0x0.0p+0f,
      0x1.de18000000000p-4f,
      0x1.c850000000000p-3f,
      0x1.4506000000000p-2f,
      0x1.9f64000000000p-2f,
  };
  // powers: of words, the sum of this and j 2^19 is 2^(j/16)
  static constexpr float powers[] = {
      0x1.0000000000000p+0f,
      0x1.fb55860000000p-1f,
      0x1.f72b840000000p-1f,
      0x1.f387a60000000p-1f,
      0x1.f06fe00000000p-1f,
      0x1.edea640000000p-1f,
      0x1.ebfdae0000000p-1f,
      0x1.eab07e0000000p-1f,
      0x1.ea09e60000000p-1f,
      0x1.ea11480000000p-1f,
      0x1.eace540000000p-1f,
      0x1.ec49180000000p-1f,
      0x1.ee89fa0000000p-1f,
      0x1.f199be0000000p-1f,
      0x1.f5818e0000000p-1f,
      0x1.fa4afa0000000p-1f,
  };
  // power_rests: what 2^(j/16) is more than that, in units of it
  static constexpr float power_rests[] = {
      0x0.0p+0f,
      0x1.8d96d40000000p-25f,
      -0x1.9c0c220000000p-27f,
      0x1.9649040000000p-25f,
      0x1.1250020000000p-25f,
      0x1.370be40000000p-25f,
      -0x1.0a35500000000p-25f,
      -0x1.00d8ac0000000p-27f,
      0x1.26055c0000000p-26f,
      -0x1.05cb440000000p-25f,
      0x1.67a1ca0000000p-28f,
      0x1.a3b5e40000000p-28f,
      -0x1.f9c3040000000p-27f,
      -0x1.6961b40000000p-28f,
      -0x1.a5217c0000000p-28f,
      0x1.61428e0000000p-28f,
  };
  // log1p_tail: (log1p(r) - r) / r^2, -0.056 <= r <= 1/16; relative error 2^-31.32
  static constexpr float log1p_tail[] = {
      -0x1.563c240000000p-3f,
      0x1.9b253c0000000p-3f,
      -0x1.ffffde0000000p-3f,
      0x1.55551a0000000p-2f,
      -0x1.0000000000000p-1f,
  };
  // jensen_tail: ((1+x) ln(1+x) + (1-x) ln(1-x) - x^2) / x^4 in z = x^2, |x| <= 1/3; relative error 2^-35.37
  static constexpr float jensen_tail[] = {
      0x1.3cba4c0000000p-6f,
      0x1.6376f60000000p-6f,
      0x1.24cf3e0000000p-5f,
      0x1.11105a0000000p-4f,
      0x1.5555560000000p-3f,
  };
};

template <>
struct Polynomials<double> {
  // atanh_tail: (2 atanh(s) - 2 s) / s^3 in z = s^2, |s| <= 1/5; relative error 2^-62.65
  static constexpr double atanh_tail[] = {
      0x1.1b7e6c417abb7p-3,
      0x1.0dcc047744da7p-3,
      0x1.3b35bacdad61ep-3,
      0x1.745c4b04e188cp-3,
      0x1.c71c748f2e0bbp-3,
      0x1.24924921e4c4ep-2,
      0x1.999999999c175p-2,
      0x1.555555555554fp-1,
  };
  // exp_tail: (exp(r) - 1 - r) / r^2, |r| <= ln(2)/2; relative error 2^-62.64
  static constexpr double exp_tail[] = {
      0x1.208212c9a13fdp-29,
      0x1.af759909bf8ecp-26,
      0x1.27e4329228468p-22,
      0x1.71ddea11c5b53p-19,
      0x1.a01a01eff9b11p-16,
      0x1.a01a01b61ef63p-13,
      0x1.6c16c16c097acp-10,
      0x1.111111110e514p-7,
      0x1.555555555556dp-5,
      0x1.555555555555dp-3,
      0x1.0000000000000p-1,
  };
  // jensen_tail: ((1+x) ln(1+x) + (1-x) ln(1-x) - x^2) / x^4 in z = x^2, |x| <= 1/3; relative error 2^-66.52
  static constexpr double jensen_tail[] = {
      0x1.8df2fc9f2caf9p-8,
      0x1.e1390d059a916p-9,
      0x1.5ed66121b7b70p-8,
      0x1.abe6110a3ac23p-8,
      0x1.1112f89502b46p-7,
      0x1.681687eff58f9p-7,
      0x1.f07c1dc41d25bp-7,
      0x1.6c16c1725815fp-6,
      0x1.2492492483daep-5,
      0x1.1111111111204p-4,
      0x1.5555555555555p-3,
  };
  // excess_tail: (exp(x) - 1 - x) / x^2, |x| <= 2: for float32 data; relative error 2^-30.2
  static constexpr double excess_tail[] = {
      0x1.241dbe64aaaacp-29,
      0x1.ccf23f827652ap-26,
      0x1.284c930c2f706p-22,
      0x1.70eedd4e9d7fbp-19,
      0x1.a010c3ce58298p-16,
      0x1.a0205487a0f4dp-13,
      0x1.6c16ff2758ac7p-10,
      0x1.1110ffdb3fdcbp-7,
      0x1.5555544ef62a9p-5,
      0x1.55555588b7d46p-3,
      0x1.00000001533dap-1,
  };
  // jensen_upper: (1+x) ln(1+x) in y = x - 2/3, 1/3 <= x <= 1: for float32 data; relative error 2^-32.62
  static constexpr double jensen_upper[] = {
      0x1.354fab29c4cb3p-11,
      -0x1.3197d265fa0f3p-10,
      0x1.51b2520c58fd4p-9,
      -0x1.a868c43c94592p-8,
      0x1.26ed75fb44495p-6,
      -0x1.eb8554bcdf0f0p-5,
      0x1.333331ecc7630p-2,
      0x1.82c577d66f467p+0,
      0x1.b3e78f6df2795p-1,
  };
};
// clang-format on
