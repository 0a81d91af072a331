//! Little-endian bytes, written and read in order: the form in which states are kept on disk.

/// Takes what is written, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

/// Gives back what was written, in the same order; every reading is `None` past the end.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

macro_rules! numbers {
    ($($number:ident)*) => {
        impl Writer {
            $(pub(crate) fn $number(&mut self, value: $number) {
                self.0.extend_from_slice(&value.to_le_bytes());
            })*
        }

        impl Reader<'_> {
            $(pub(crate) fn $number(&mut self) -> Option<$number> {
                const LENGTH: usize = std::mem::size_of::<$number>();
                let (first, rest) = self.0.split_first_chunk::<LENGTH>()?;
                self.0 = rest;
                Some($number::from_le_bytes(*first))
            })*
        }
    };
}

numbers! { i8 u8 u16 u32 u64 f32 }

impl Writer {
    pub(crate) fn all_u16(&mut self, values: &[u16]) {
        values.iter().for_each(|value| self.u16(*value));
    }

    pub(crate) fn all_u32(&mut self, values: &[u32]) {
        values.iter().for_each(|value| self.u32(*value));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn all_u16<const N: usize>(&mut self) -> Option<[u16; N]> {
        let mut values = [0; N];
        for value in &mut values {
            *value = self.u16()?;
        }
        Some(values)
    }

    pub(crate) fn all_u32<const N: usize>(&mut self) -> Option<[u32; N]> {
        let mut values = [0; N];
        for value in &mut values {
            *value = self.u32()?;
        }
        Some(values)
    }
}

/// FNV-1a over `parts`: tells a garbled state from a whole one, no more.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A 64-bit hash in 32 bits; 0 stays 0, which stands for "nothing".
pub(crate) const fn fold(hash: u64) -> u32 {
    let folded = (hash ^ (hash >> 32)) as u32;
    if folded == 0 && hash != 0 { 1 } else { folded }
}
