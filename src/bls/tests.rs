#![allow(clippy::unwrap_used)]

use super::*;

/// Index, public key, secret key: computed by another implementation (`@chainsafe/blst`).
const INTEROP: [(u64, &str, &str); 4] = [
    (
        0,
        "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337\
         618f8c4eb61349b4bf2d153f649f7b53359fe8b94a38e44c",
        "0x25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866",
    ),
    (
        1,
        "0xb89bebc699769726a318c8e9971bd3171297c61aea4a6578\
         a7a4f94b547dcba5bac16a89108b6b6a1fe3695d1a874a0b",
        "0x51d0b65185db6989ab0b560d6deed19c7ead0e24b9b6372cbecb1f26bdfad000",
    ),
    (
        2,
        "0xa3a32b0f8b4ddb83f1a0a853d81dd725dfe577d4f4c3db8e\
         ce52ce2b026eca84815c1a7e8e92a4de3d755733bf7e4a9b",
        "0x315ed405fafe339603932eebe8dbfd650ce5dafa561f6928664c75db85f97857",
    ),
    (
        63,
        "0x86a73886aa0114bbdbba346cb7c07376c81b549a4802c24d\
         98ebbc54a6a1b5d2ac874ef657cfb27c3644fcb85f97a2b5",
        "0x006edac0cf64bfd91bc691c4165efe1eb5cf80672ac06d2096f72a48a5dad4bd",
    ),
];

/// The bytes of a constant.
fn hex<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    faster_hex::hex_decode(text.strip_prefix("0x").unwrap().as_bytes(), &mut bytes).unwrap();
    bytes
}

/// The compressed point at infinity of G1 and of G2.
fn infinity<const N: usize>() -> [u8; N] {
    let mut point = [0; N];
    point[0] = 0xc0;
    point
}

#[test]
fn interop_keys_are_those_of_the_specification() {
    for (index, public_key, secret_key) in INTEROP {
        let secret_key = SecretKey::from_bytes(&hex(secret_key)).unwrap();
        let expected = hex::<48>(public_key);
        assert_eq!(SecretKey::interop(index).public_key().to_bytes(), expected, "{index}");
        assert_eq!(secret_key.public_key().to_bytes(), expected, "{index}");
    }
}

/// consensus-specs' BLS test vectors, `sign_case_142f678a8d05fcd1`.
#[test]
fn signs_as_the_consensus_vectors_do() {
    let secret = "0x47b8192d77bf871b62e87859d653922725724a5c031afeabc60bcef5ff665138";
    let signature = "0xb23c46be3a001c63ca711f87a005c200cc550b9429d5f4eb38d74322144f1b63\
                     926da3388979e5321012fb1a0526bcd100b5ef5fe72628ce4cd5e904aeaa3279\
                     527843fae5ca9ca675f4f51ed8f83bbf7155da9ecc9663100a885d5dc6df96d9";
    let secret_key = SecretKey::from_bytes(&hex(secret)).unwrap();
    let produced = secret_key.sign(&[0; 32]);
    assert_eq!(produced, hex(signature));
    secret_key.public_key().verify(&[0; 32], &produced).unwrap();
}

#[test]
fn verification_tells_bad_points_from_wrong_signatures() {
    let secret_key = SecretKey::interop(0);
    let public_key = secret_key.public_key().to_bytes();
    let signature = secret_key.sign(&[7; 32]);
    let other = SecretKey::interop(1);
    let not_compressed = {
        let mut signature = signature;
        signature[0] &= 0x7f;
        signature
    };
    let cases = [
        ("right", public_key, [7; 32], signature, Ok(())),
        ("other root", public_key, [8; 32], signature, Err(BlsError::Mismatch)),
        ("other key", other.public_key().to_bytes(), [7; 32], signature, Err(BlsError::Mismatch)),
        ("other signer", public_key, [7; 32], other.sign(&[7; 32]), Err(BlsError::Mismatch)),
        ("garbage", public_key, [7; 32], [0x5a; 96], Err(BlsError::Signature)),
        ("not compressed", public_key, [7; 32], not_compressed, Err(BlsError::Signature)),
        ("infinite signature", public_key, [7; 32], infinity(), Err(BlsError::Signature)),
        ("infinite key", infinity(), [7; 32], signature, Err(BlsError::PublicKey)),
        ("infinite both", infinity(), [7; 32], infinity(), Err(BlsError::PublicKey)),
    ];
    for (name, public_key, root, signature, expected) in cases {
        assert_eq!(verify(&public_key, &root, &signature), expected, "{name}");
    }
}

/// Small x: about one in two is on the curve, and next to none of those points is in the subgroup,
/// whose cofactor is 2^125 and more.
#[test]
fn points_outside_the_subgroup_are_refused() {
    let mut on_curve = 0;
    for x in 1..=16 {
        let mut g1 = [0; 48];
        (g1[0], g1[47]) = (0x80, x);
        on_curve += usize::from(min_pk::PublicKey::uncompress(&g1).is_ok());
        assert_eq!(PublicKey::from_bytes(&g1), Err(BlsError::PublicKey), "x = {x}");

        let mut g2 = [0; 96];
        (g2[0], g2[95]) = (0x80, x);
        on_curve += usize::from(min_pk::Signature::uncompress(&g2).is_ok());
        let key = SecretKey::interop(0).public_key();
        assert_eq!(key.verify(&[0; 32], &g2), Err(BlsError::Signature), "x = {x}");
    }
    assert!(on_curve >= 8, "only {on_curve} points reached the subgroup check");
}

#[test]
fn secret_keys_are_between_zero_and_the_order() {
    let mut largest = CURVE_ORDER;
    largest[31] -= 1;
    assert!(SecretKey::from_bytes(&largest).is_ok());
    for bad in [[0; 32], CURVE_ORDER, [0xff; 32]] {
        assert_eq!(SecretKey::from_bytes(&bad).unwrap_err(), BlsError::SecretKey);
    }
}

#[test]
fn debug_hides_the_secret() {
    assert_eq!(format!("{:?}", SecretKey::interop(0)), "SecretKey(..)");
}

#[test]
fn a_key_that_was_validated_is_had_again_from_its_y() {
    for index in 0..8 {
        let key = SecretKey::interop(index).public_key();
        let (bytes, y) = (key.to_bytes(), key.y());
        assert_eq!(PublicKey::validated_before(&bytes, &y), Ok(key), "{index}");

        let another = SecretKey::interop(index + 1).public_key();
        assert!(PublicKey::validated_before(&bytes, &another.y()).is_err());
        for bit in 0..384 {
            let mut damaged = y;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(PublicKey::validated_before(&bytes, &damaged).is_err(), "bit {bit} of y");
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(PublicKey::validated_before(&damaged, &y).is_err(), "bit {bit} of the key");
        }
    }
    assert!(PublicKey::validated_before(&infinity(), &[0; 48]).is_err());
}
