//! The building blocks of section 1.5 and 2.2.3, in both directions: numbers, strings, identifiers, lengths.
//!
//! Reading is done with nom, on whole packet bodies only; nom is seen nowhere outside `wire` and the packets' own
//! parsers, and never in a public signature. What a hot packet needs is read by hand in its own file instead.

use bytes::{BufMut, Bytes};
use nom::{
    Err, IResult, Parser,
    bytes::complete::take,
    combinator::map_res,
    error::{ErrorKind, FromExternalError, ParseError},
    number::complete::be_u16,
};

use crate::{DecodeError, EncodeError, PacketId, frame::MAX_REMAINING_LEN, topic::MAX_STRING_BYTES};

/// What a parser of this crate returns: the rest of the body and the value.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// A [`DecodeError`] as nom carries it.
#[derive(Debug)]
pub(crate) struct Fault(DecodeError);

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        // The only thing that nom's own parsers can complain about on these inputs is their end.
        Self(DecodeError::Truncated)
    }

    fn append(_: &[u8], _: ErrorKind, first: Self) -> Self {
        first
    }
}

impl FromExternalError<&[u8], DecodeError> for Fault {
    fn from_external_error(_: &[u8], _: ErrorKind, error: DecodeError) -> Self {
        Self(error)
    }
}

/// Runs `parser` over a packet's whole body. The one place where nom's errors become ours.
pub(crate) fn whole<'a, P>(body: &'a [u8], mut parser: P) -> Result<P::Output, DecodeError>
where
    P: Parser<&'a [u8], Error = Fault>,
{
    match parser.parse(body) {
        Ok(([], value)) => Ok(value),
        Ok(_) => Err(DecodeError::TrailingBytes),
        Err(Err::Error(Fault(error)) | Err::Failure(Fault(error))) => Err(error),
        Err(Err::Incomplete(_)) => Err(DecodeError::Truncated),
    }
}

/// A length-prefixed field: a string before its check, a password, a will message.
pub(crate) fn field(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (input, len) = be_u16(input)?;
    take(len)(input)
}

/// A packet identifier [MQTT-2.3.1-1].
pub(crate) fn packet_id(input: &[u8]) -> Parsed<'_, PacketId> {
    map_res(be_u16, |value| PacketId::new(value).ok_or(DecodeError::ZeroPacketId)).parse(input)
}

/// `item` again and again to the end of the body, each handed to `take`. Unlike nom's own, it does not take a faulty item
/// for the end, and it counts the items before it makes room for them.
pub(crate) fn to_the_end<'a, T, U>(
    item: impl Fn(&'a [u8]) -> Parsed<'a, T>,
    take: impl Fn(T) -> Result<U, DecodeError>,
) -> impl Fn(&'a [u8]) -> Parsed<'a, Vec<U>> {
    move |input| {
        let (mut count, mut rest) = (0, input);
        while !rest.is_empty() {
            (rest, _) = item(rest)?;
            count += 1;
        }
        let mut items = Vec::with_capacity(count);
        let mut rest = input;
        while !rest.is_empty() {
            let value;
            (rest, value) = item(rest)?;
            items.push(take(value).map_err(|error| Err::Error(Fault(error)))?);
        }
        Ok((rest, items))
    }
}

/// Shares `part`, which a parser cut out of `body`, without a copy.
pub(crate) fn share(body: &Bytes, part: &[u8]) -> Bytes {
    body.slice_ref(part)
}

/// How many bytes a whole packet with this remaining length takes.
pub(crate) const fn packet_len(remaining_len: usize) -> usize {
    let length_bytes = match remaining_len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    };
    1 + length_bytes + remaining_len
}

/// How many bytes a length-prefixed field takes.
pub(crate) const fn field_len(field: &[u8]) -> usize {
    2 + field.len()
}

/// Whether a length-prefixed field can be spelled at all.
pub(crate) const fn check_field(field: &[u8]) -> Result<(), EncodeError> {
    if field.len() > MAX_STRING_BYTES {
        return Err(EncodeError::FieldTooLong { len: field.len() });
    }
    Ok(())
}

/// Appends a length-prefixed field that [`check_field`] or its own type vouches for.
#[inline]
pub(crate) fn put_field(out: &mut impl BufMut, field: &[u8]) {
    out.put_u16(field.len() as u16);
    out.put_slice(field);
}

/// Appends a fixed header, its length spelled in the fewest bytes, and the number that every body begins with. Nothing is
/// written if the packet has no spelling.
#[inline]
pub(crate) fn put_head(
    out: &mut impl BufMut,
    first_byte: u8,
    remaining_len: usize,
    body_start: u16,
) -> Result<(), EncodeError> {
    put_head_of(out, first_byte, remaining_len, body_start, 0)
}

/// The same for a packet of whose body so many bytes go `elsewhere`: `out` needs no room for them.
#[inline]
pub(crate) fn put_head_of(
    out: &mut impl BufMut,
    first_byte: u8,
    remaining_len: usize,
    body_start: u16,
    elsewhere: usize,
) -> Result<(), EncodeError> {
    let here = remaining_len.saturating_sub(elsewhere);
    // Arrays of a known length: each is a store or two, where one byte after the other would ask for room each time.
    let digit = |index: u32| (remaining_len >> (7 * index)) as u8 | 0x80;
    let last = |index: u32| digit(index) & 0x7f;
    let [high, low] = body_start.to_be_bytes();
    match remaining_len {
        0..0x80 => put_start(out, here, [first_byte, last(0), high, low]),
        0x80..0x4000 => put_start(out, here, [first_byte, digit(0), last(1), high, low]),
        0x4000..0x20_0000 => put_start(out, here, [first_byte, digit(0), digit(1), last(2), high, low]),
        0x20_0000..=MAX_REMAINING_LEN => {
            put_start(out, here, [first_byte, digit(0), digit(1), digit(2), last(3), high, low])
        }
        _ => Err(EncodeError::PacketTooLong { remaining_len }),
    }
}

/// Appends a fixed header and two bytes of body, if what of the body comes here has room too.
#[inline]
fn put_start<const N: usize>(
    out: &mut impl BufMut,
    body_len: usize,
    start: [u8; N],
) -> Result<(), EncodeError> {
    let needed = N - 2 + body_len;
    if out.remaining_mut() < needed {
        return Err(EncodeError::BufferFull { needed });
    }
    out.put_slice(&start);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    #[test]
    fn lengths_are_minimal_and_read_back() {
        for remaining_len in [2, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, MAX_REMAINING_LEN] {
            let mut out = Vec::new();
            put_head(&mut out, 0x30, remaining_len, 0x1234).unwrap();
            assert_eq!(out.len(), packet_len(remaining_len) - remaining_len + 2);
            assert!(out.ends_with(&[0x12, 0x34]));
            assert_eq!(Frame::announced_len(&out, usize::MAX), Ok(Some(packet_len(remaining_len))));
        }
        let remaining_len = MAX_REMAINING_LEN + 1;
        let mut out = Vec::new();
        assert_eq!(
            put_head(&mut out, 0x30, remaining_len, 0),
            Err(EncodeError::PacketTooLong { remaining_len })
        );
        assert!(out.is_empty());
    }

    #[test]
    fn a_full_buffer_is_an_error() {
        let mut room = [0; 3];
        assert_eq!(put_head(&mut &mut room[..], 0x40, 2, 1), Err(EncodeError::BufferFull { needed: 4 }));
    }
}
