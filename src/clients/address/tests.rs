#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn range(text: &str) -> AddressRange {
    text.parse().unwrap()
}

#[test]
fn a_range_contains_what_shares_its_bits() {
    for (text, address, inside) in [
        ("10.0.1.0/24", "10.0.1.255", true),
        ("10.0.1.0/24", "10.0.2.0", false),
        ("10.0.1.0/24", "::ffff:10.0.1.9", true),
        ("10.0.1.7", "10.0.1.7", true),
        ("10.0.1.7", "10.0.1.6", false),
        ("0.0.0.0/0", "255.255.255.255", true),
        ("0.0.0.0/0", "::1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::/0", "2001:db9::1", true),
        ("::1", "::1", true),
    ] {
        assert_eq!(range(text).contains(address.parse().unwrap()), inside, "{text} {address}");
    }
}

#[test]
fn what_is_no_range_is_refused() {
    for text in
        ["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "a/8", "1/ 8"]
    {
        assert!(matches!(text.parse::<AddressRange>(), Err(NotARange::Text(_))), "{text}");
    }
    let slip = "10.0.1.7/24".parse::<AddressRange>().unwrap_err();
    assert_eq!(
        slip.to_string(),
        "`10.0.1.7/24` has bits behind its prefix; the range is 10.0.1.0/24"
    );
}

proptest! {
    #[test]
    fn a_range_reads_back_as_it_is_shown(address: [u8; 16], is_v4: bool, bits in 0u8..=128) {
        let (address, bits) = match is_v4 {
            true => (IpAddr::from(<[u8; 4]>::try_from(&address[..4]).unwrap()), bits.min(32)),
            false => (IpAddr::from(address), bits),
        };
        let range = match format!("{address}/{bits}").parse() {
            Ok(range) => range,
            Err(NotARange::HostBits { range, .. }) => range,
            Err(error) => panic!("{error}"),
        };
        prop_assert_eq!(self::range(&range.to_string()), range);
        prop_assert_eq!(range.prefix_bits(), bits);
        // An IPv4 address that is mapped into IPv6 is an IPv4 address.
        prop_assert_eq!(range.contains(address), is_v4 || address.to_canonical() == address);
    }
}
