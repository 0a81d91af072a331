//! EIP-2335 keystores, version 4: one encrypted BLS secret key in a JSON document.

#[cfg(test)]
mod tests;

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::hex::{Hex, parse_bytes};
use crate::bls::{BlsError, SecretKey};

/// Why a keystore could not be opened. Whoever supplied the file or its password must act.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Not JSON, or a field is missing or of the wrong type.
    #[error("not an EIP-2335 keystore")]
    Malformed(#[from] serde_json::Error),
    /// The document is of another version.
    #[error("keystore version {0} is not supported, only version 4 is")]
    Version(u64),
    /// A function that EIP-2335 does not know.
    #[error("{module} function {function:?} is not supported")]
    Function {
        /// `kdf`, `prf`, `checksum` or `cipher`.
        module: &'static str,
        /// What the document asks for.
        function: String,
    },
    /// A parameter that is out of bounds or not hexadecimal.
    #[error("the keystore's {0} is out of bounds or not hexadecimal")]
    Parameter(&'static str),
    /// The checksum differs.
    #[error("wrong password: the checksum does not match")]
    Password,
    /// The decrypted bytes are not a secret key.
    #[error("the keystore does not hold a valid secret key")]
    Secret(#[source] BlsError),
    /// The document names a public key that its secret key does not have.
    #[error("the keystore says public key {claimed}, but holds the secret key of {actual}")]
    PublicKey {
        /// What the document says.
        claimed: Hex<48>,
        /// What its secret key gives.
        actual: Hex<48>,
    },
}

#[derive(Deserialize)]
struct Keystore {
    crypto: Crypto,
    #[serde(default)]
    pubkey: String,
    version: u64,
}

#[derive(Deserialize)]
struct Crypto {
    kdf: Module<KdfParams>,
    checksum: Module<serde::de::IgnoredAny>,
    cipher: Module<CipherParams>,
}

#[derive(Deserialize)]
struct Module<P> {
    function: String,
    params: P,
    message: String,
}

/// The parameters of both key derivation functions; which are needed depends on the function.
#[derive(Deserialize)]
struct KdfParams {
    dklen: usize,
    salt: String,
    n: Option<u64>,
    r: Option<u32>,
    p: Option<u32>,
    c: Option<u32>,
    prf: Option<String>,
}

#[derive(Deserialize)]
struct CipherParams {
    iv: String,
}

/// Decrypts a keystore and checks that it holds the key that it names.
pub fn open(document: &[u8], password: &str) -> Result<SecretKey, KeystoreError> {
    let keystore: Keystore = serde_json::from_slice(document)?;
    if keystore.version != 4 {
        return Err(KeystoreError::Version(keystore.version));
    }
    let Crypto { kdf, checksum, cipher } = keystore.crypto;
    expect_function("checksum", &checksum.function, "sha256")?;
    expect_function("cipher", &cipher.function, "aes-128-ctr")?;

    let derived = derive_key(&kdf, normalize_password(password).as_bytes())?;
    let mut secret: Hex<32> = parse_field(&cipher.message, "cipher message")?;
    let iv: Hex<16> = parse_field(&cipher.params.iv, "initialization vector")?;
    let expected: Hex<32> = parse_field(&checksum.message, "checksum")?;
    let actual = Sha256::new().chain_update(&derived[16..]).chain_update(secret.0).finalize();
    if actual[..] != expected.0 {
        return Err(KeystoreError::Password);
    }
    let mut stream = Ctr128BE::<Aes128>::new(derived[..16].into(), &iv.0.into());
    stream.apply_keystream(&mut secret.0);

    let secret_key = SecretKey::from_bytes(&secret.0).map_err(KeystoreError::Secret)?;
    check_public_key(&keystore.pubkey, &secret_key)?;
    Ok(secret_key)
}

/// EIP-2335, "Password requirements": NFKD, then without the C0, C1 and Delete control codes.
fn normalize_password(password: &str) -> String {
    password.nfkd().filter(|c| !c.is_control()).collect()
}

fn derive_key(kdf: &Module<KdfParams>, password: &[u8]) -> Result<[u8; 32], KeystoreError> {
    let params = &kdf.params;
    if params.dklen != 32 {
        return Err(KeystoreError::Parameter("dklen"));
    }
    let salt = parse_bytes(&params.salt).ok_or(KeystoreError::Parameter("salt"))?;
    let mut derived = [0; 32];
    match kdf.function.as_str() {
        "scrypt" => {
            let params = scrypt_params(params)?;
            scrypt::scrypt(password, &salt, &params, &mut derived)
                .expect("32 bytes is a length that scrypt can give");
        }
        "pbkdf2" => {
            let prf = params.prf.as_deref().unwrap_or_default();
            expect_function("prf", prf, "hmac-sha256")?;
            let rounds = params.c.filter(|&c| c > 0).ok_or(KeystoreError::Parameter("c"))?;
            pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, rounds, &mut derived);
        }
        other => {
            return Err(KeystoreError::Function { module: "kdf", function: other.to_owned() });
        }
    }
    Ok(derived)
}

/// Scrypt's cost, bounded to a memory of 1 GiB: EIP-2335's own vectors take 256 MiB.
fn scrypt_params(params: &KdfParams) -> Result<scrypt::Params, KeystoreError> {
    const MEMORY_BYTES_MAX: u64 = 1 << 30;
    let n = params.n.filter(|n| n.is_power_of_two()).ok_or(KeystoreError::Parameter("n"))?;
    let r = params.r.ok_or(KeystoreError::Parameter("r"))?;
    let p = params.p.ok_or(KeystoreError::Parameter("p"))?;
    let memory = n.checked_mul(u64::from(r)).and_then(|blocks| blocks.checked_mul(128));
    if memory.is_none_or(|bytes| bytes > MEMORY_BYTES_MAX) {
        return Err(KeystoreError::Parameter("n and r"));
    }
    let log_n = u8::try_from(n.trailing_zeros()).expect("at most 63");
    scrypt::Params::new(log_n, r, p, 32).map_err(|_| KeystoreError::Parameter("n, r and p"))
}

fn check_public_key(claimed: &str, secret_key: &SecretKey) -> Result<(), KeystoreError> {
    // The field is optional in EIP-2335.
    if claimed.is_empty() {
        return Ok(());
    }
    let claimed: Hex<48> = parse_field(claimed, "pubkey")?;
    let actual = Hex(secret_key.public_key().to_bytes());
    if claimed == actual { Ok(()) } else { Err(KeystoreError::PublicKey { claimed, actual }) }
}

fn expect_function(
    module: &'static str,
    function: &str,
    expected: &str,
) -> Result<(), KeystoreError> {
    if function == expected {
        return Ok(());
    }
    Err(KeystoreError::Function { module, function: function.to_owned() })
}

fn parse_field<const N: usize>(text: &str, name: &'static str) -> Result<Hex<N>, KeystoreError> {
    Hex::parse(text).map_err(|_| KeystoreError::Parameter(name))
}
