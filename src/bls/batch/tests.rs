#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use blst::min_pk::{AggregateSignature, Signature};
use proptest::prelude::*;

use super::*;
use crate::bls::{BlsError, SecretKey};

const ROOT: [u8; 32] = [7; 32];

fn secret(index: usize) -> SecretKey {
    SecretKey::interop(index as u64)
}

/// What the first keys sign over [`ROOT`].
fn honest(count: usize) -> Vec<Claim> {
    let claim = |index| Claim {
        public_key: secret(index).public_key(),
        signature: secret(index).sign(&ROOT),
    };
    (0..count).map(claim).collect()
}

/// The claims, which are judged once for all tests of the size.
static HONEST: LazyLock<Vec<Claim>> = LazyLock::new(|| honest(64));

fn verdicts(claims: &[Claim]) -> Vec<Result<(), Flaw>> {
    Verifier::default().verify(&ROOT, claims).unwrap()
}

fn point(bytes: &[u8; 96]) -> AggregateSignature {
    AggregateSignature::from_signature(&Signature::uncompress(bytes).unwrap())
}

fn add(left: &[u8; 96], right: &[u8; 96]) -> [u8; 96] {
    let mut sum = point(left);
    sum.add_aggregate(&point(right));
    sum.to_signature().compress()
}

fn negate(bytes: &[u8; 96]) -> [u8; 96] {
    let mut negated = *bytes;
    negated[0] ^= 0x20;
    negated
}

fn infinity() -> [u8; 96] {
    let mut point = [0; 96];
    point[0] = 0xc0;
    point
}

/// A point of the curve with a small x; next to none of those is in the group.
fn off_subgroup() -> [u8; 96] {
    let candidate = |x: u8| {
        let mut bytes = [0; 96];
        (bytes[0], bytes[95]) = (0x80, x);
        Signature::uncompress(&bytes).is_ok_and(|it| it.validate(true).is_err()).then_some(bytes)
    };
    (1..=u8::MAX).find_map(candidate).expect("about every second x is on the curve")
}

/// The number of points of the curve over F_p^2, which is the cofactor times the order of the
/// group, without the factor 13^2 that it has.
const POINTS_BY_169: &str = "04005449cda731a7136c440a0c65b728ba1c1fa6b6708356f3b9bdc84396cab3\
                             3907d71557a7d33677f5d45f7cedb8cfdac10ff1fc5b48d6461e907737d78e96\
                             568f2d18c750b4b3ca5c33c3fd8ff8a70629888281914529f4e3380941cfdd";

/// A point of order 13. By doubling and adding: `blst`'s own multiplication is for the group alone.
fn order_13() -> [u8; 96] {
    let mut digits = [0; POINTS_BY_169.len() / 2];
    faster_hex::hex_decode(POINTS_BY_169.as_bytes(), &mut digits).unwrap();
    let point_of_169 = multiply(&off_subgroup(), &digits);
    assert_ne!(point_of_169, infinity(), "another x is needed");
    let thirteenth = multiply(&point_of_169, &[13]);
    let found = if thirteenth == infinity() { point_of_169 } else { thirteenth };
    assert_ne!(found, infinity());
    assert_eq!(multiply(&found, &[13]), infinity());
    found
}

fn multiply(bytes: &[u8; 96], factor: &[u8]) -> [u8; 96] {
    let base = point(bytes);
    let mut product: Option<AggregateSignature> = None;
    for digit in factor {
        for bit in (0..8).rev() {
            if let Some(sum) = &mut product {
                let same = AggregateSignature::from_signature(&sum.to_signature());
                sum.add_aggregate(&same);
            }
            if digit >> bit & 1 == 1 {
                match &mut product {
                    Some(sum) => sum.add_aggregate(&base),
                    None => product = Some(point(bytes)),
                }
            }
        }
    }
    product.unwrap().to_signature().compress()
}

#[test]
fn honest_batches_of_every_size_pass_with_one_check() {
    let mut verifier = Verifier::default();
    assert_eq!(verifier.verify(&ROOT, &[]).unwrap(), []);
    for size in [1, 2, 3, 4, 5, 31, 32, 33, 64, 2, 1] {
        let before = verifier.pairing_checks();
        let verdicts = verifier.verify(&ROOT, &HONEST[..size]).unwrap();
        assert_eq!(verdicts, vec![Ok(()); size]);
        assert_eq!(verifier.pairing_checks(), before + 1, "{size}");
    }
}

#[test]
fn the_same_claim_may_stand_in_a_batch_twice() {
    let claims = [HONEST[0], HONEST[1], HONEST[0], HONEST[0]];
    assert_eq!(verdicts(&claims), vec![Ok(()); 4]);
    let another_root = Claim { signature: secret(0).sign(&[8; 32]), ..HONEST[0] };
    let twice = [another_root, HONEST[1], another_root];
    assert_eq!(verdicts(&twice), [Err(Flaw::Mismatch), Ok(()), Err(Flaw::Mismatch)]);
}

#[test]
fn one_bad_claim_is_found_wherever_it_stands_and_at_logarithmic_cost() {
    let wrong = secret(0).sign(&[8; 32]);
    for size in [1_usize, 2, 3, 8, 64] {
        for place in [0, size / 2, size - 1] {
            let mut claims = HONEST[..size].to_vec();
            claims[place].signature = wrong;
            let mut verifier = Verifier::default();
            let verdicts = verifier.verify(&ROOT, &claims).unwrap();
            for (index, verdict) in verdicts.iter().enumerate() {
                let expected = if index == place { Err(Flaw::Mismatch) } else { Ok(()) };
                assert_eq!(*verdict, expected, "{index} of {size}");
            }
            let checks = verifier.pairing_checks();
            let most = 1 + 2 * u64::from(size.next_power_of_two().ilog2());
            assert!(checks <= most, "{checks} checks for one of {size}");
        }
    }
}

#[test]
fn bytes_that_are_no_signature_are_told_apart() {
    let good = HONEST[2].signature;
    let mut not_compressed = good;
    not_compressed[0] &= 0x7f;
    let mut infinite_with_digits = infinity();
    infinite_with_digits[95] = 1;
    let mut x_above_the_modulus = [0xff; 96];
    x_above_the_modulus[0] = 0x9f;
    let cases = [
        (not_compressed, Flaw::BadEncoding),
        (infinite_with_digits, Flaw::BadEncoding),
        (x_above_the_modulus, Flaw::BadEncoding),
        ([0x5a; 96], Flaw::BadEncoding),
        ([0; 96], Flaw::BadEncoding),
        (infinity(), Flaw::Infinity),
        (off_subgroup(), Flaw::NotInSubgroup),
        (order_13(), Flaw::NotInSubgroup),
        (add(&good, &off_subgroup()), Flaw::NotInSubgroup),
        (negate(&good), Flaw::Mismatch),
    ];
    for (signature, flaw) in cases {
        let mut claims = HONEST[..4].to_vec();
        claims[2].signature = signature;
        assert_eq!(verdicts(&claims), [Ok(()), Ok(()), Err(flaw), Ok(())]);
        assert_eq!(verdicts(&claims[2..3]), [Err(flaw)]);
    }
    let no_good_one = [Claim { signature: infinity(), ..HONEST[0] }; 2];
    assert_eq!(verdicts(&no_good_one), [Err(Flaw::Infinity); 2]);
}

#[test]
fn a_coordinate_at_or_above_the_modulus_is_refused() {
    const MODULUS: &str = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf\
                           6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    let mut modulus = [0; 48];
    faster_hex::hex_decode(MODULUS.as_bytes(), &mut modulus).unwrap();
    // x = (0, x_0): with x_0 + p in the place of x_0 it is the same point of the curve.
    let mut bytes = off_subgroup();
    let mut carry = 0;
    for (digit, of_modulus) in bytes[48..].iter_mut().zip(modulus).rev() {
        let sum = u16::from(*digit) + u16::from(of_modulus) + carry;
        (*digit, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    let claim = Claim { signature: bytes, ..HONEST[0] };
    assert_eq!(verdicts(&[claim, HONEST[1]]), [Err(Flaw::BadEncoding), Ok(())]);
}

/// Both pass a check of plain sums: `sig_1 + D` and `sig_2 - D`, and the signatures of two keys
/// exchanged in a batch of the two, where the sums are the same.
#[test]
fn errors_that_cancel_out_in_a_plain_sum_are_found() {
    let difference = secret(9).sign(&[9; 32]);
    let mut claims = HONEST[..6].to_vec();
    claims[1].signature = add(&claims[1].signature, &difference);
    claims[4].signature = add(&claims[4].signature, &negate(&difference));
    let bad = Err(Flaw::Mismatch);
    assert_eq!(verdicts(&claims), [Ok(()), bad, Ok(()), Ok(()), bad, Ok(())]);

    let mut claims = HONEST[..6].to_vec();
    (claims[0].signature, claims[5].signature) = (claims[5].signature, claims[0].signature);
    assert_eq!(verdicts(&claims), [bad, Ok(()), Ok(()), Ok(()), Ok(()), bad]);
    (claims[0].signature, claims[1].signature) = (HONEST[1].signature, HONEST[0].signature);
    assert_eq!(verdicts(&claims[..2]), [bad, bad]);
}

/// The trap: where 13 divides the coefficient, a signature with a point of order 13 added to it
/// passes the sums. One in 13 would be released.
#[test]
fn a_point_of_order_13_never_passes() {
    let torsion = order_13();
    let mut claims = HONEST[..2].to_vec();
    claims[1].signature = add(&claims[1].signature, &torsion);
    for _ in 0..200 {
        assert_eq!(verdicts(&claims), [Ok(()), Err(Flaw::NotInSubgroup)]);
    }

    // That it is the check of the subgroup alone that stands against it: without it, it passes.
    let mut unchecked = Verifier::default();
    assert_eq!(unchecked.decode(&HONEST[..2]), [Ok(()), Ok(())]);
    unchecked.signatures[1] = Signature::uncompress(&claims[1].signature).unwrap().into();
    unchecked.coefficients = vec![[1, 0, 0, 0, 0, 0, 0, 0], [13, 0, 0, 0, 0, 0, 0, 0]];
    assert!(unchecked.holds(&hash_to_g2(&ROOT), 0, 2));
    unchecked.coefficients[1][0] = 14;
    assert!(!unchecked.holds(&hash_to_g2(&ROOT), 0, 2));
}

#[test]
fn coefficients_are_drawn_anew_for_each_batch_and_never_zero() {
    let mut verifier = Verifier::default();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        assert!(verifier.verify(&ROOT, &HONEST[..3]).unwrap().iter().all(Result::is_ok));
        assert!(!verifier.coefficients.contains(&[0; COEFFICIENT_BYTES]));
        seen.extend(verifier.coefficients.iter().copied());
    }
    assert_eq!(seen.len(), 60);
}

#[test]
fn sums_that_vanish_do_not_agree() {
    let message = hash_to_g2(&ROOT);
    let key = HONEST[0].public_key.0.into();
    let signature = decode(&HONEST[0].signature).unwrap();
    let (no_key, no_signature) = (blst_p1_affine::default(), blst_p2_affine::default());
    assert!(pairings_agree(&key, &message, &signature));
    assert!(!pairings_agree(&no_key, &message, &no_signature));
    assert!(!pairings_agree(&no_key, &message, &signature));
    assert!(!pairings_agree(&key, &message, &no_signature));
}

/// One claim of a batch: honest, or bad in one of the ways.
fn claim(index: usize, kind: u8) -> Claim {
    let honest = HONEST[index];
    let signature = match kind {
        0 => secret(index).sign(&[8; 32]),
        1 => HONEST[(index + 1) % 8].signature,
        2 => infinity(),
        3 => off_subgroup(),
        4 => [0x5a; 96],
        5 => negate(&honest.signature),
        _ => honest.signature,
    };
    Claim { signature, ..honest }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_batch_says_of_each_what_a_check_of_each_says(
        kinds in proptest::collection::vec((0_usize..8, 0_u8..14), 0..20)
    ) {
        let claims: Vec<Claim> = kinds.iter().map(|(index, kind)| claim(*index, *kind)).collect();
        for (claim, verdict) in claims.iter().zip(verdicts(&claims)) {
            let single = claim.public_key.verify(&ROOT, &claim.signature);
            let expected = verdict.map_err(|flaw| match flaw {
                Flaw::BadEncoding | Flaw::Infinity | Flaw::NotInSubgroup => BlsError::Signature,
                Flaw::Mismatch => BlsError::Mismatch,
            });
            prop_assert_eq!(single, expected);
        }
    }
}
