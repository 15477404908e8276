//! Chance from one seed.

/// SplitMix64: small, fast, and good enough for spreading starts and for ids that only must differ.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for one purpose, so that a new consumer does not shift the others.
    pub(crate) const fn new(seed: u64, purpose: u64) -> Self {
        Self(seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in 0 to 1, without 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits fit a double's mantissa"
    )]
    pub(crate) const fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// 64 hex digits.
    pub(crate) fn container_id(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = Random::new(1_234_567, 0);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| random.next()), expected);
    }

    #[test]
    fn fractions_are_from_0_to_1_and_each_purpose_has_its_own() {
        let (mut one, mut other) = (Random::new(7, 1), Random::new(7, 2));
        let (one, other) = (
            [(); 1_000].map(|()| one.fraction()),
            [(); 1_000].map(|()| other.fraction()),
        );
        assert!(one.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        let mean = one.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert_ne!(one, other);
    }
}
