#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn header(version_and_command: u8, transport: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_and_command, transport]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x23, 0x28];

#[test]
fn addresses_of_both_families_are_read() {
    let mut v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets().to_vec();
    v6.extend([0; 16]);
    v6.extend([0x12, 0x34, 0x23, 0x28]);
    let mut mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets().to_vec();
    mapped.extend_from_slice(&v6[16..]);
    let with_values = [&V4[..], &[4, 0, 2, 9, 9]].concat();
    for (transport, rest, expected) in [
        (0x11, &V4[..], "192.0.2.7:4660"),
        (0x11, &with_values, "192.0.2.7:4660"),
        (0x21, &v6, "[2001:db8::7]:4660"),
        (0x21, &mapped, "192.0.2.7:4660"),
    ] {
        let bytes = header(0x21, transport, rest);
        let (proxied, length) = parse(&bytes).unwrap();
        assert_eq!((proxied, length), (Proxied::For(expected.parse().unwrap()), bytes.len()));
    }
    assert_eq!(parse(&header(0x20, 0x00, &[])).unwrap(), (Proxied::Local, 16));
    assert_eq!(parse(&header(0x20, 0x11, &V4)).unwrap(), (Proxied::Local, 28));
    assert_eq!(parse(&header(0x21, 0x00, &[])).unwrap(), (Proxied::Local, 16));
}

#[test]
fn what_is_no_header_of_version_2_is_refused_by_name() {
    let says = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
    assert!(says(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").contains("version 1"));
    assert!(says(b"GET /upcheck HTTP/1.1\r\n").contains("does not begin"));
    assert!(says(b"\x16\x03\x01").contains("does not begin"));
    assert!(says(b"P").contains("broke off"));
    assert!(says(b"PROXI").contains("does not begin"));
    assert!(says(&header(0x11, 0x11, &V4)).contains("version 1;"));
    assert!(says(&header(0x22, 0x11, &V4)).contains("unknown command 2"));
    assert!(says(&header(0x21, 0x12, &V4)).contains("0x12")); // UDP
    assert!(says(&header(0x21, 0x31, &[0; 216])).contains("0x31")); // a Unix socket
    assert!(says(&header(0x21, 0x11, &V4[..11])).contains("11 bytes"));
    assert!(says(&header(0x21, 0x21, &V4)).contains("12 bytes"));
    assert!(says(&header(0x21, 0x11, &[0; 4097])).contains("4097 bytes"));
}

proptest! {
    /// However the bytes arrive, reading them as a stream says what reading them whole says, and
    /// leaves what comes behind.
    #[test]
    fn a_stream_is_read_as_the_bytes_are(
        valid in prop::bool::weighted(0.7),
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        command in 0x1fu8..0x24,
        transport in prop::sample::select(vec![0x00u8, 0x11, 0x12, 0x21, 0x31]),
        changed in prop::option::weighted(0.3, (0usize..28, any::<u8>())),
        step in 1usize..30,
    ) {
        if valid {
            bytes = header(command, transport, &bytes);
            if let Some((at, byte)) = changed
                && let Some(place) = bytes.get_mut(at)
            {
                *place = byte;
            }
            bytes.extend_from_slice(b"GET /");
        }
        let whole = parse(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (streamed, left) = runtime.block_on(async {
            let mut mock = Slow { bytes: &bytes, step };
            let streamed = read(&mut mock).await;
            (streamed, mock.bytes.len())
        });
        match (whole, streamed) {
            (Ok((proxied, length)), Ok(streamed)) => {
                prop_assert_eq!(proxied, streamed);
                prop_assert_eq!(left, bytes.len() - length);
            }
            (Err(whole), Err(streamed)) => {
                prop_assert_eq!(whole.to_string(), streamed.to_string());
            }
            (whole, streamed) => prop_assert!(false, "{whole:?} {streamed:?}"),
        }
    }
}

/// Gives `step` bytes at a time, then ends.
struct Slow<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl AsyncRead for Slow<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let count = self.step.min(self.bytes.len()).min(buf.remaining());
        let (given, rest) = self.bytes.split_at(count);
        buf.put_slice(given);
        self.bytes = rest;
        std::task::Poll::Ready(Ok(()))
    }
}
