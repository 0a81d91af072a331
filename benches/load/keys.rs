//! Keys and signatures by the ten thousand, cheaply.
//!
//! The secret keys are consecutive numbers: public keys are then a running sum of the generator,
//! and the signatures of one root a running sum of the hashed root. An addition costs a hundredth
//! of a multiplication. The keys are valid points of the group and so are the signatures.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use blst::min_pk::{AggregatePublicKey, AggregateSignature, SecretKey};

/// `DOMAIN_SEPARATION_TAG` of the consensus layer's signatures.
const TAG: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// A public key as it stands in a path: hexadecimal, without the prefix.
pub(crate) type KeyHex = [u8; 96];

fn scalar(number: u64) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_bytes(&bytes).expect("a small number that is not zero")
}

/// The secret key of row 0; row `i` has this number plus `i`.
const FIRST: u64 = 0x706f_7274_6375_6c6c;

fn hex<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut hex = [0; N];
    faster_hex::hex_encode(bytes, &mut hex).expect("two digits a byte");
    hex
}

/// The first `count` public keys.
pub(crate) fn public_keys(count: usize) -> Vec<KeyHex> {
    let step = scalar(1).sk_to_pk();
    let mut sum = AggregatePublicKey::from_public_key(&scalar(FIRST).sk_to_pk());
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        keys.push(hex(&sum.to_public_key().compress()));
        sum.add_public_key(&step, false).expect("a valid point");
    }
    keys
}

/// The signatures of `root` by the first `count` keys.
pub(crate) fn signatures(root: &[u8; 32], count: usize) -> Vec<[u8; 96]> {
    let step = scalar(1).sign(root, TAG, &[]);
    let mut sum = AggregateSignature::from_signature(&scalar(FIRST).sign(root, TAG, &[]));
    let mut signatures = Vec::with_capacity(count);
    for _ in 0..count {
        signatures.push(sum.to_signature().compress());
        sum.add_signature(&step, false).expect("a valid point");
    }
    signatures
}

/// Writes keys one a line, as `portcullis keys enrol --keys-file` and the stub read them.
pub(crate) fn write(path: &Path, keys: &[KeyHex]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for key in keys {
        file.write_all(b"0x")?;
        file.write_all(key)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Reads what [`write`] wrote.
pub(crate) fn read(path: &Path) -> io::Result<Vec<KeyHex>> {
    let mut text = Vec::new();
    File::open(path)?.read_to_end(&mut text)?;
    let bad = |_| io::Error::from(io::ErrorKind::InvalidData);
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix(b"0x").unwrap_or(line).try_into().map_err(bad))
        .collect()
}
