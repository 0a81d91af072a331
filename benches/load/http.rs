//! As much of HTTP/1.1 as both ends of the measurement need: messages with a `Content-Length`.

/// A message at the front of `bytes`, once it is whole.
pub(crate) struct Message<'a> {
    /// Start line and headers.
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message in `bytes`; nothing while it is incomplete.
    pub(crate) fn first(bytes: &'a [u8]) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")?;
        let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
        let body = rest.get(..content_length(head))?;
        Some(Self { head, body })
    }

    /// Its length in all.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + 4 + self.body.len()
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> &[u8] {
        self.head.get(9..12).unwrap_or_default()
    }
}

/// Where `needle` begins. The first byte is looked for alone: it is rare in what is read here.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += bytes.get(from..)?.iter().position(|byte| *byte == needle[0])?;
        if bytes[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    let digits = line.map(|line| line[NAME.len()..].trim_ascii()).unwrap_or_default();
    digits.iter().fold(0, |value, digit| value * 10 + usize::from(digit.wrapping_sub(b'0')))
}
