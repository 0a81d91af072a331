//! Ranges of addresses: `10.0.1.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// A range of IP addresses that share their first bits (CIDR, RFC 4632).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    prefix_bits: u8,
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARange {
    /// No address before the slash, or no number of bits behind it.
    #[error("`{0}` is not an address or a range such as 10.0.1.0/24 or 2001:db8::/32")]
    Text(String),
    /// The address has bits behind the prefix: a slip in one of the two.
    #[error("`{text}` has bits behind its prefix; the range is {range}")]
    HostBits {
        /// What was written.
        text: String,
        /// What it is in.
        range: AddressRange,
    },
}

impl AddressRange {
    /// Whether `address` lies in it. An IPv4 address is the same one when it is mapped into IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                u32::from(first) == u32::from(address) & mask4(self.prefix_bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                u128::from(first) == u128::from(address) & mask6(self.prefix_bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Its first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses share: the more, the more exact.
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }
}

impl FromStr for AddressRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let wrong = || NotARange::Text(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => whole,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= whole).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let first = match address {
            IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & mask4(prefix_bits)).into(),
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & mask6(prefix_bits)).into(),
        };
        let range = Self { first, prefix_bits };
        if first != address {
            return Err(NotARange::HostBits { text: text.to_owned(), range });
        }
        Ok(range)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

fn mask4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}
