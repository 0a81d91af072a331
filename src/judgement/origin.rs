//! Where a connection comes from, as far as a judgement needs to know: two numbers that are made
//! once for a connection.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where a connection comes from. 0 stands for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The hash of the public key in the client's certificate, which a renewal may keep.
    pub certificate: u64,
    /// The [`prefix`] of its address.
    pub prefix: u64,
}

impl Origin {
    /// A connection from `address` whose handshake has verified `certificate`.
    pub fn new(address: IpAddr, certificate: Option<&CertificateDer<'_>>) -> Self {
        let certificate = certificate.map_or(0, |certificate| {
            match X509Certificate::from_der(certificate) {
                Ok((_, parsed)) => hash(parsed.public_key().raw),
                Err(_) => hash(certificate), // verified by its fingerprint alone
            }
        });
        Self { certificate, prefix: prefix(address) }
    }
}

/// The number of a network: /24 of an IPv4 address, /48 of an IPv6 one. Never 0.
pub fn prefix(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => 1 << 32 | u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => 1 << 63 | (address.to_bits() >> 80) as u64,
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    u64::from_be_bytes(*digest.first_chunk().expect("32 bytes")).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_network_has_one_number_however_its_address_is_written() {
        let of = |address: &str| prefix(address.parse().unwrap());
        assert_eq!(of("10.1.2.3"), of("10.1.2.250"));
        assert_eq!(of("10.1.2.3"), of("::ffff:10.1.2.9"));
        assert_ne!(of("10.1.2.3"), of("10.1.3.3"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:ffff::9"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
        assert_ne!(of("0.0.0.0"), 0);
        assert_ne!(of("::"), 0);
    }
}
