//! The objects of the format, each read field by field without being kept.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::FORMAT_VERSION;
use super::read::{Context, Problem, Step};
use super::summary::{InvertedRecord, Summary};
use crate::signed::{
    GenesisValidatorsRoot, HexError, PublicKey, SignedAttestation, SignedBlock, SigningRoot,
};

impl Context {
    /// Notes what is wrong at the current place; the parser only needs some error to stop.
    fn fail<E: de::Error>(&mut self, problem: Problem) -> E {
        self.problem = Some(problem);
        E::custom("see the problem in the context")
    }

    fn index(&self, nth_from_end: usize) -> u64 {
        let steps = self.place.0.iter().rev();
        let mut indices = steps.filter_map(|step| match step {
            Step::Index(index) => Some(*index),
            Step::Field(_) => None,
        });
        indices.nth(nth_from_end).expect("records are read inside arrays")
    }
}

/// An object of the format: its fields, and what becomes of them.
pub(super) trait Shape: Default {
    /// The fields that are read; all others are passed over.
    const FIELDS: &'static [&'static str];
    /// How many of them, from the front, must be there.
    const REQUIRED: usize;

    /// Reads the value of `FIELDS[field]`.
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: usize,
        context: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// Ends the object, all required fields of which were read.
    fn finish(self, _context: &mut Context) {}
}

/// Reads one object of a shape.
pub(super) struct Object<'c, S> {
    context: &'c mut Context,
    shape: PhantomData<S>,
}

impl<'c, S> Object<'c, S> {
    pub(super) fn new(context: &'c mut Context) -> Self {
        Self { context, shape: PhantomData }
    }
}

impl<'de, S: Shape> DeserializeSeed<'de> for Object<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Object<'_, S> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object with the fields {}", S::FIELDS.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let context = self.context;
        let mut shape = S::default();
        let mut seen = 0_u32;
        while let Some(name) = map.next_key_seed(Name(S::FIELDS))? {
            let Some(field) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            context.place.0.push(Step::Field(S::FIELDS[field]));
            if seen & 1 << field != 0 {
                return Err(context.fail(Problem::DuplicateField));
            }
            seen |= 1 << field;
            shape.field(field, context, &mut map)?;
            context.place.0.pop();
        }
        if let Some(missing) = (0..S::REQUIRED).find(|field| seen & 1 << field == 0) {
            return Err(context.fail(Problem::MissingField(S::FIELDS[missing])));
        }
        shape.finish(context);
        Ok(())
    }
}

/// The name of a field: its index, or none if it is unknown.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Option<usize>, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|field| *field == name))
    }
}

/// An array of objects of one shape.
struct Array<'c, S> {
    context: &'c mut Context,
    shape: PhantomData<S>,
}

impl<'c, S> Array<'c, S> {
    fn new(context: &'c mut Context) -> Self {
        Self { context, shape: PhantomData }
    }
}

impl<'de, S: Shape> DeserializeSeed<'de> for Array<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Array<'_, S> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.context.place.0.push(Step::Index(index));
            let more = elements.next_element_seed(Object::<S>::new(self.context))?;
            self.context.place.0.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// A scalar value, whose text or number is given to a function.
struct Scalar<'c, T> {
    context: &'c mut Context,
    expected: &'static str,
    text: fn(&str) -> Result<T, Problem>,
    number: Option<fn(u64) -> T>,
    null: Option<T>,
}

impl<'de, T> DeserializeSeed<'de> for Scalar<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<T, D::Error> {
        input.deserialize_any(self)
    }
}

impl<T> Visitor<'_> for Scalar<'_, T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).map_err(|problem| self.context.fail(problem))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        match self.number {
            Some(from_number) => Ok(from_number(number)),
            None => Err(E::invalid_type(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        match self.null {
            Some(value) => Ok(value),
            None => Err(E::invalid_type(de::Unexpected::Unit, &"a value")),
        }
    }
}

/// Decimal digits alone: no sign, no space, no leading zero, nothing beyond 64 bits.
fn integer_of_text(text: &str) -> Result<u64, Problem> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let value = if canonical { text.parse().ok() } else { None };
    value.ok_or_else(|| Problem::Integer { found: text.chars().take(64).collect() })
}

fn hex_of_text<T: FromStr<Err = HexError>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(Problem::Hex)
}

fn integer<'de, A: MapAccess<'de>>(context: &mut Context, map: &mut A) -> Result<u64, A::Error> {
    map.next_value_seed(Scalar {
        context,
        expected: "an unsigned 64-bit integer as a decimal string",
        text: integer_of_text,
        number: Some(|number| number),
        null: None,
    })
}

fn hex<'de, T, A>(context: &mut Context, expected: &'static str, map: &mut A) -> Result<T, A::Error>
where
    T: FromStr<Err = HexError>,
    A: MapAccess<'de>,
{
    map.next_value_seed(Scalar { context, expected, text: hex_of_text, number: None, null: None })
}

fn root_or_null<'de, A: MapAccess<'de>>(
    context: &mut Context,
    map: &mut A,
) -> Result<SigningRoot, A::Error> {
    map.next_value_seed(Scalar {
        context,
        expected: "a signing root of 32 bytes in hexadecimal, or null",
        text: hex_of_text,
        number: None,
        null: Some(SigningRoot::NULL),
    })
}

#[derive(Default)]
pub(super) struct Document;

impl Shape for Document {
    const FIELDS: &'static [&'static str] = &["metadata", "data"];
    const REQUIRED: usize = 2;

    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: usize,
        context: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            0 => map.next_value_seed(Object::<Metadata>::new(context)),
            _ => map.next_value_seed(Array::<Entry>::new(context)),
        }
    }
}

#[derive(Default)]
struct Metadata;

impl Shape for Metadata {
    const FIELDS: &'static [&'static str] =
        &["interchange_format_version", "genesis_validators_root"];
    const REQUIRED: usize = 2;

    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: usize,
        context: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if field == 0 {
            return map.next_value_seed(Scalar {
                context,
                expected: "the version as a string",
                text: |found| match found == FORMAT_VERSION {
                    true => Ok(()),
                    false => Err(Problem::Version { found: found.chars().take(64).collect() }),
                },
                number: None,
                null: None,
            });
        }
        let found: GenesisValidatorsRoot =
            hex(context, "a genesis validators root of 32 bytes in hexadecimal", map)?;
        let expected = context.expected;
        if found != expected {
            return Err(context.fail(Problem::GenesisValidatorsRoot { found, expected }));
        }
        Ok(())
    }
}

/// All records of one key, or some of them.
#[derive(Default)]
struct Entry;

impl Shape for Entry {
    const FIELDS: &'static [&'static str] = &["pubkey", "signed_blocks", "signed_attestations"];
    const REQUIRED: usize = 3;

    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: usize,
        context: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            0 => {
                let pubkey = hex(context, "a public key of 48 bytes in hexadecimal", map)?;
                context.pubkey = Some(pubkey);
                Ok(())
            }
            1 => map.next_value_seed(Array::<Block>::new(context)),
            _ => map.next_value_seed(Array::<Attestation>::new(context)),
        }
    }

    fn finish(self, context: &mut Context) {
        let pubkey: PublicKey = context.pubkey.take().expect("pubkey is a required field");
        let summary = std::mem::replace(&mut context.summary, Summary::new());
        let known = context.interchange.summaries.entry(pubkey).or_default();
        *known = known.merge(summary);
        context.interchange.entries += 1;
    }
}

#[derive(Default)]
struct Block {
    slot: u64,
    signing_root: Option<SigningRoot>,
}

impl Shape for Block {
    const FIELDS: &'static [&'static str] = &["slot", "signing_root"];
    const REQUIRED: usize = 1;

    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: usize,
        context: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            0 => self.slot = integer(context, map)?,
            _ => self.signing_root = Some(root_or_null(context, map)?),
        }
        Ok(())
    }

    fn finish(self, context: &mut Context) {
        let signing_root = self.signing_root.unwrap_or(SigningRoot::NULL);
        context.summary.add_block(SignedBlock { slot: self.slot, signing_root });
    }
}

#[derive(Default)]
struct Attestation {
    source_epoch: u64,
    target_epoch: u64,
    signing_root: Option<SigningRoot>,
}

impl Shape for Attestation {
    const FIELDS: &'static [&'static str] = &["source_epoch", "target_epoch", "signing_root"];
    const REQUIRED: usize = 2;

    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        field: usize,
        context: &mut Context,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            0 => self.source_epoch = integer(context, map)?,
            1 => self.target_epoch = integer(context, map)?,
            _ => self.signing_root = Some(root_or_null(context, map)?),
        }
        Ok(())
    }

    fn finish(self, context: &mut Context) {
        let attestation = SignedAttestation {
            source_epoch: self.source_epoch,
            target_epoch: self.target_epoch,
            signing_root: self.signing_root.unwrap_or(SigningRoot::NULL),
        };
        let place = InvertedRecord { entry: context.index(1), record: context.index(0) };
        context.summary.add_attestation(attestation, place);
    }
}
