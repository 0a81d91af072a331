//! Many signatures over one root, verified for the price of little more than one.
//!
//! With coefficients `r` that nobody can foresee, all of `e(pk_i, H(m)) = e(g, sig_i)` hold if
//! `e(sum r_i pk_i, H(m)) = e(g, sum r_i sig_i)` does, except with a chance of 2^-64: each pair is
//! judged by itself, so that errors cannot cancel each other out, and no proof of possession is
//! needed. Two sums and one pairing check take the place of as many pairing checks as signatures.
//!
//! That holds in groups of prime order alone. Outside of it is a trap: a signature plus a point of
//! order 13 passes whenever 13 divides its coefficient. Every signature is therefore checked to lie
//! in the subgroup before it is summed, and every [`PublicKey`] was when it was made.
//!
//! `blst` offers no batch of one root in its safe interface, so this is its C interface, from one
//! thread and without `blst`'s own pool. It is the one place of the crate that may do so.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use std::ptr;

use blst::{
    BLS12_381_NEG_G1, BLST_ERROR, blst_final_exp, blst_fp12, blst_fp12_is_one, blst_hash_to_g2,
    blst_miller_loop_n, blst_p1, blst_p1_affine, blst_p1_affine_is_inf, blst_p1_to_affine,
    blst_p1s_mult_pippenger, blst_p1s_mult_pippenger_scratch_sizeof, blst_p2, blst_p2_affine,
    blst_p2_affine_in_g2, blst_p2_affine_is_inf, blst_p2_to_affine, blst_p2_uncompress,
    blst_p2s_mult_pippenger, blst_p2s_mult_pippenger_scratch_sizeof,
};

use super::{DOMAIN_SEPARATION_TAG, PublicKey};

/// What somebody says is a key's signature over the root of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The key.
    pub public_key: PublicKey,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Flaw {
    /// The bytes are not the compressed form of a point of the curve.
    #[error("its bytes do not encode a point of the curve")]
    BadEncoding,
    /// The point at infinity, which is nobody's signature.
    #[error("it is the point at infinity")]
    Infinity,
    /// A point of the curve outside the group of signatures.
    #[error("it lies outside the group of signatures")]
    NotInSubgroup,
    /// Well formed, but not this key's signature over this root.
    #[error("it is not this key's signature over this signing root")]
    Mismatch,
}

impl Flaw {
    /// Every flaw; `flaw as usize` is the index into this.
    pub const ALL: [Self; 4] =
        [Self::BadEncoding, Self::Infinity, Self::NotInSubgroup, Self::Mismatch];

    /// The stable word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadEncoding => "bad_encoding",
            Self::Infinity => "infinity",
            Self::NotInSubgroup => "not_in_subgroup",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Verifies batches, one after the other, in memory that it keeps.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: Vec<blst_p1_affine>,
    signatures: Vec<blst_p2_affine>,
    /// Which claim each of them belongs to: some are refused before they are summed.
    places: Vec<usize>,
    coefficients: Vec<[u8; COEFFICIENT_BYTES]>,
    scratch: Vec<u64>,
    pairing_checks: u64,
}

/// The operating system gave no random bytes, so nothing can be verified in a batch.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no random bytes for the coefficients of a batch")]
pub struct NoRandomness(#[source] rustix::io::Errno);

impl Verifier {
    /// Judges each claim over `root` by itself, in the order of `claims`.
    ///
    /// Where the batch as a whole fails it is halved, again and again, until each bad claim stands
    /// alone: among `n` good ones, `2 log2(n)` pairing checks for each.
    ///
    /// # Errors
    /// Without randomness from the operating system nothing is judged.
    pub fn verify(
        &mut self,
        root: &[u8; 32],
        claims: &[Claim],
    ) -> Result<Vec<Result<(), Flaw>>, NoRandomness> {
        let mut verdicts = self.decode(claims);
        if !self.keys.is_empty() {
            // Only now, when no signature can be chosen to suit them any more.
            self.draw_coefficients()?;
            self.judge(&hash_to_g2(root), 0, self.keys.len(), &mut verdicts);
        }
        Ok(verdicts)
    }

    /// Takes up the claims that are points of the group, and says what is wrong with the others.
    fn decode(&mut self, claims: &[Claim]) -> Vec<Result<(), Flaw>> {
        self.keys.clear();
        self.signatures.clear();
        self.places.clear();
        let mut verdicts = Vec::with_capacity(claims.len());
        for (place, claim) in claims.iter().enumerate() {
            let decoded = decode(&claim.signature);
            if let Ok(signature) = decoded {
                self.keys.push(claim.public_key.0.into());
                self.signatures.push(signature);
                self.places.push(place);
            }
            verdicts.push(decoded.map(drop));
        }
        verdicts
    }

    fn draw_coefficients(&mut self) -> Result<(), NoRandomness> {
        self.coefficients.clear();
        self.coefficients.resize(self.keys.len(), [0; COEFFICIENT_BYTES]);
        if self.keys.len() > 1 {
            fill_with_randomness(self.coefficients.as_flattened_mut())?;
        }
        for coefficient in &mut self.coefficients {
            if *coefficient == [0; COEFFICIENT_BYTES] {
                coefficient[0] = 1; // zero would leave its signature out
            }
        }
        Ok(())
    }

    /// Judges `from..to`, of which nothing is known.
    fn judge(
        &mut self,
        message: &blst_p2_affine,
        from: usize,
        to: usize,
        verdicts: &mut [Result<(), Flaw>],
    ) {
        if !self.holds(message, from, to) {
            self.find_bad(message, from, to, verdicts);
        }
    }

    /// Finds the bad ones among `from..to`, which has at least one.
    fn find_bad(
        &mut self,
        message: &blst_p2_affine,
        from: usize,
        to: usize,
        verdicts: &mut [Result<(), Flaw>],
    ) {
        if to - from == 1 {
            verdicts[self.places[from]] = Err(Flaw::Mismatch);
            return;
        }
        let middle = from.midpoint(to);
        if self.holds(message, from, middle) {
            self.find_bad(message, middle, to, verdicts); // it must be in the other half
        } else {
            self.find_bad(message, from, middle, verdicts);
            self.judge(message, middle, to, verdicts);
        }
    }

    /// How many pairing checks were made so far: one for each batch, and more for bad ones.
    pub fn pairing_checks(&self) -> u64 {
        self.pairing_checks
    }

    /// The pairing check over the sums of `from..to`.
    fn holds(&mut self, message: &blst_p2_affine, from: usize, to: usize) -> bool {
        self.pairing_checks += 1;
        if to - from == 1 {
            return pairings_agree(&self.keys[from], message, &self.signatures[from]);
        }
        let (key, signature) = self.sums(from, to);
        pairings_agree(&key, message, &signature)
    }

    /// `sum r_i pk_i` and `sum r_i sig_i` over `from..to`.
    fn sums(&mut self, from: usize, to: usize) -> (blst_p1_affine, blst_p2_affine) {
        let keys = &self.keys[from..to];
        let signatures = &self.signatures[from..to];
        let coefficients = self.coefficients[from..to].as_flattened();
        let count = keys.len();
        assert!(count > 0 && signatures.len() == count, "as many keys as signatures, and some");
        assert_eq!(coefficients.len(), count * COEFFICIENT_BYTES, "one coefficient for each");
        // SAFETY: both functions compute a number from a number of points.
        let bytes = unsafe {
            blst_p1s_mult_pippenger_scratch_sizeof(count)
                .max(blst_p2s_mult_pippenger_scratch_sizeof(count))
        };
        self.scratch.resize(self.scratch.len().max(bytes.div_ceil(size_of::<u64>())), 0);
        // A null pointer in the second place says: the rest follows the first without gaps.
        let key_list = [keys.as_ptr(), ptr::null()];
        let signature_list = [signatures.as_ptr(), ptr::null()];
        let coefficient_list = [coefficients.as_ptr(), ptr::null()];
        let (mut key_sum, mut signature_sum) = (blst_p1::default(), blst_p2::default());
        let (mut key, mut signature) = (blst_p1_affine::default(), blst_p2_affine::default());
        // SAFETY: the lists point at `count` initialised points and at `count` scalars of
        // COEFFICIENT_BITS bits, which outlive the calls (the assertions above); the scratch is as
        // long as `blst` asked for, aligned as its limbs are, and nobody else's; what is written to
        // are initialised values of our own. `blst` keeps no pointer.
        unsafe {
            let scratch = self.scratch.as_mut_ptr();
            blst_p1s_mult_pippenger(
                &raw mut key_sum,
                key_list.as_ptr(),
                count,
                coefficient_list.as_ptr(),
                COEFFICIENT_BITS,
                scratch,
            );
            blst_p2s_mult_pippenger(
                &raw mut signature_sum,
                signature_list.as_ptr(),
                count,
                coefficient_list.as_ptr(),
                COEFFICIENT_BITS,
                scratch,
            );
            blst_p1_to_affine(&raw mut key, &raw const key_sum);
            blst_p2_to_affine(&raw mut signature, &raw const signature_sum);
        }
        (key, signature)
    }
}

/// A compressed signature as a point of the group, which is not the point at infinity.
fn decode(bytes: &[u8; 96]) -> Result<blst_p2_affine, Flaw> {
    let mut point = blst_p2_affine::default();
    // SAFETY: reads 96 bytes, writes one point, and both are ours.
    let outcome = unsafe { blst_p2_uncompress(&raw mut point, bytes.as_ptr()) };
    if outcome != BLST_ERROR::BLST_SUCCESS {
        return Err(Flaw::BadEncoding);
    }
    // SAFETY: each reads one point, which was written just now.
    let (is_infinite, is_in_group) = unsafe {
        (blst_p2_affine_is_inf(&raw const point), blst_p2_affine_in_g2(&raw const point))
    };
    match (is_infinite, is_in_group) {
        (true, _) => Err(Flaw::Infinity),
        (false, false) => Err(Flaw::NotInSubgroup),
        (false, true) => Ok(point),
    }
}

/// `H(m)` of the consensus layer's ciphersuite.
fn hash_to_g2(root: &[u8; 32]) -> blst_p2_affine {
    let (mut point, mut affine) = (blst_p2::default(), blst_p2_affine::default());
    // SAFETY: the lengths are those of the slices, an augmentation of length zero is not read, and
    // the points that are written are ours.
    unsafe {
        blst_hash_to_g2(
            &raw mut point,
            root.as_ptr(),
            root.len(),
            DOMAIN_SEPARATION_TAG.as_ptr(),
            DOMAIN_SEPARATION_TAG.len(),
            ptr::null(),
            0,
        );
        blst_p2_to_affine(&raw mut affine, &raw const point);
    }
    affine
}

/// `e(key, message) = e(g, signature)`, as one product: `e(key, message) e(-g, signature) = 1`.
fn pairings_agree(
    key: &blst_p1_affine,
    message: &blst_p2_affine,
    signature: &blst_p2_affine,
) -> bool {
    // SAFETY: each reads one initialised point.
    let is_infinite = unsafe { blst_p1_affine_is_inf(key) || blst_p2_affine_is_inf(signature) };
    if is_infinite {
        return false; // sums that vanish: not by chance, and the loop below cannot take them
    }
    let g2_points = [ptr::from_ref(message), ptr::from_ref(signature)];
    let g1_points = [ptr::from_ref(key), &raw const BLS12_381_NEG_G1];
    let (mut product, mut result) = (blst_fp12::default(), blst_fp12::default());
    // SAFETY: both lists point at two initialised points each, the constant among them, none of
    // which is infinite; what is written are our own values.
    unsafe {
        blst_miller_loop_n(&raw mut product, g2_points.as_ptr(), g1_points.as_ptr(), 2);
        blst_final_exp(&raw mut result, &raw const product);
        blst_fp12_is_one(&raw const result)
    }
}

fn fill_with_randomness(mut bytes: &mut [u8]) -> Result<(), NoRandomness> {
    while !bytes.is_empty() {
        match rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(NoRandomness(error)),
        }
    }
    Ok(())
}

/// A bad batch passes with a chance of 2^-64. As in Lighthouse (`crypto/bls`, `RAND_BITS`).
const COEFFICIENT_BITS: usize = 64;
const COEFFICIENT_BYTES: usize = COEFFICIENT_BITS / 8;
