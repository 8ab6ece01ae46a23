//! What callers and the host say to each other: one request, one reply, each a message of the session's channel.
//!
//! ```text
//! request   magic u32, kind u32, and by kind
//!   1 hello
//!   2 open       offset u64, bytes u64, length u32, note, name   a file to be written from there on
//!   3 files      after u32                           what can be read, of higher numbers
//!   4 parts      after u32, for reading u8, name     the block files of a name, of higher numbers
//!   5 any        ---                                 a file that nobody reads
//!   6 state      file u32
//!   7 closed     ---                                 somebody let go of a file: look which are done with
//!   8 cancel     length u32, reason, name
//! reply     magic u32, kind u32, and by kind
//!   1 done
//!   2 part       file u32, offset u64
//!   3 parts      more u8, count u32, each: file u32, offset u64, readers u32, twice length u32: name, note
//!   4 state      see `State`
//!   5 failed     code u32, two numbers u64, text
//! ```
//!
//! Numbers are of the lowest byte first. What stands last in a message is as long as the message is. Numbers of files
//! begin at 1, so that *after 0* is from the start. A reply is short enough that the host never waits for its caller
//! to take it: lists come in pieces, and the caller asks for what is behind the last.
//!
//! Everything that comes is a peer's bytes: each is looked at once, lengths are checked against what is there, what
//! is left over is refused, and nothing is set aside by a number that was not checked.

use crate::blocks::{FileState, Holder};
use std::ops::Range;

const REQUEST: u32 = u32::from_le_bytes(*b"ask2");
const REPLY: u32 = u32::from_le_bytes(*b"ans2");
/// The longest name of a file.
pub(super) const MOST_NAME_BYTES: usize = 4096;
/// The longest note on a file.
pub(super) const MOST_NOTE_BYTES: usize = 64;
/// The longest reason and the longest text of an error that are passed on.
pub(super) const MOST_TEXT_BYTES: usize = 1000;
/// Nothing that is asked is longer.
pub(super) const MOST_REQUEST_BYTES: usize = MOST_NAME_BYTES + MOST_TEXT_BYTES + MOST_NOTE_BYTES + 32;
/// A page of a list: with one more of the longest entries it is short enough not to flow.
const PAGE_BYTES: usize = 24 << 10;

/// Why bytes are no request, or no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// What a caller asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Hello,
    /// `bytes`: how long it will be; all ones where nobody knows.
    Open {
        offset: u64,
        bytes: u64,
        note: Vec<u8>,
        name: Vec<u8>,
    },
    Files {
        after: u32,
    },
    Parts {
        after: u32,
        for_reading: bool,
        name: Vec<u8>,
    },
    Any,
    State {
        file: u32,
    },
    Closed,
    Cancel {
        reason: String,
        name: Vec<u8>,
    },
}

/// One block file of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) readers: u32,
    /// Empty where it is known.
    pub(super) name: Vec<u8>,
    pub(super) note: Vec<u8>,
}

/// Why the host did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    NoFile,
    Finished,
    Cancelled { reason: String },
    NoSpace { need: u64, have: Option<u64> },
    Refused { why: String },
}

/// What the host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    Part { file: u32, offset: u64 },
    Parts { has_more: bool, parts: Vec<Listed> },
    State(Box<FileState>),
    Failed(Failure),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new(REQUEST);
        match self {
            Request::Hello => to.u32(1),
            Request::Open { offset, bytes, note, name } => to.u32(2).u64(*offset).u64(*bytes).bytes(note).rest(name),
            Request::Files { after } => to.u32(3).u32(*after),
            Request::Parts { after, for_reading, name } => to.u32(4).u32(*after).flag(*for_reading).rest(name),
            Request::Any => to.u32(5),
            Request::State { file } => to.u32(6).u32(*file),
            Request::Closed => to.u32(7),
            Request::Cancel { reason, name } => to.u32(8).bytes(cut(reason).as_bytes()).rest(name),
        };
        to.0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MOST_REQUEST_BYTES {
            return Err(Malformed("a request that is longer than any is"));
        }
        let mut from = Decoder(bytes);
        if from.u32()? != REQUEST {
            return Err(Malformed("a message that is no request"));
        }
        let request = match from.u32()? {
            1 => Request::Hello,
            2 => {
                let (offset, bytes) = (from.u64()?, from.u64()?);
                let note = from.bytes(MOST_NOTE_BYTES)?.to_vec();
                Request::Open { offset, bytes, note, name: from.name()? }
            }
            3 => Request::Files { after: from.u32()? },
            4 => Request::Parts { after: from.u32()?, for_reading: from.flag()?, name: from.name()? },
            5 => Request::Any,
            6 => Request::State { file: from.u32()? },
            7 => Request::Closed,
            8 => Request::Cancel { reason: from.text()?, name: from.name()? },
            _ => return Err(Malformed("a request of an unknown kind")),
        };
        from.end()?;
        Ok(request)
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new(REPLY);
        match self {
            Reply::Done => to.u32(1),
            Reply::Part { file, offset } => to.u32(2).u32(*file).u64(*offset),
            Reply::Parts { has_more, parts } => {
                to.u32(3).flag(*has_more).u32(parts.len() as u32);
                parts.iter().fold(&mut to, |to, part| {
                    to.u32(part.file).u64(part.offset).u32(part.readers).bytes(&part.name).bytes(&part.note)
                })
            }
            Reply::State(state) => encode_state(to.u32(4), state),
            Reply::Failed(failure) => {
                let (code, numbers, text) = match failure {
                    Failure::NoFile => (1, [0; 2], ""),
                    Failure::Finished => (2, [0; 2], ""),
                    Failure::Cancelled { reason } => (3, [0; 2], reason.as_str()),
                    Failure::NoSpace { need, have } => (4, [*need, have.unwrap_or(u64::MAX)], ""),
                    Failure::Refused { why } => (5, [0; 2], why.as_str()),
                };
                to.u32(5).u32(code).u64(numbers[0]).u64(numbers[1]).rest(cut(text).as_bytes())
            }
        };
        to.0
    }

    /// As many of `parts` as one reply has room for.
    pub(super) fn page(parts: impl Iterator<Item = Listed>) -> Self {
        let (mut page, mut bytes, mut has_more) = (Vec::new(), 0, false);
        for part in parts {
            if bytes > PAGE_BYTES {
                has_more = true;
                break;
            }
            bytes += 24 + part.name.len() + part.note.len();
            page.push(part);
        }
        Reply::Parts { has_more, parts: page }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder(bytes);
        if from.u32()? != REPLY {
            return Err(Malformed("a reply of another protocol"));
        }
        let reply = match from.u32()? {
            1 => Reply::Done,
            2 => Reply::Part { file: from.u32()?, offset: from.u64()? },
            3 => {
                let (has_more, count) = (from.flag()?, from.u32()?);
                let part = |from: &mut Decoder| {
                    let (file, offset, readers) = (from.u32()?, from.u64()?, from.u32()?);
                    let name = from.bytes(MOST_NAME_BYTES)?.to_vec();
                    let note = from.bytes(MOST_NOTE_BYTES)?.to_vec();
                    Ok(Listed { file, offset, readers, name, note })
                };
                Reply::Parts { has_more, parts: from.several(count, part)? }
            }
            4 => Reply::State(Box::new(decode_state(&mut from)?)),
            5 => {
                let (code, first, second) = (from.u32()?, from.u64()?, from.u64()?);
                let text = text_of(from.rest(MOST_TEXT_BYTES)?);
                Reply::Failed(match code {
                    1 => Failure::NoFile,
                    2 => Failure::Finished,
                    3 => Failure::Cancelled { reason: text },
                    4 => Failure::NoSpace { need: first, have: Some(second).filter(|have| *have != u64::MAX) },
                    _ => Failure::Refused { why: text },
                })
            }
            _ => return Err(Malformed("a reply of an unknown kind")),
        };
        from.end()?;
        Ok(reply)
    }
}

fn encode_state<'e>(to: &'e mut Encoder, state: &FileState) -> &'e mut Encoder {
    for number in [state.bytes_in, state.bytes_out, state.end] {
        to.u64(number);
    }
    for number in [state.free, state.claimed, state.complete, state.taken] {
        to.u32(number);
    }
    to.flag(state.is_ending).flag(state.cancelled.is_some());
    to.bytes(cut(state.cancelled.as_deref().unwrap_or_default()).as_bytes());
    to.u32(state.holders.len() as u32);
    for holder in &state.holders {
        to.u32(holder.pid).u32(holder.blocks).flag(holder.is_alive).flag(holder.writes).flag(holder.reads);
    }
    to.u32(state.missing.len() as u32);
    for range in &state.missing {
        to.u64(range.start).u64(range.end);
    }
    to
}

fn decode_state(from: &mut Decoder<'_>) -> Result<FileState, Malformed> {
    let mut state = FileState::default();
    for number in [&mut state.bytes_in, &mut state.bytes_out, &mut state.end] {
        *number = from.u64()?;
    }
    for number in [&mut state.free, &mut state.claimed, &mut state.complete, &mut state.taken] {
        *number = from.u32()?;
    }
    state.is_ending = from.flag()?;
    let (is_cancelled, reason) = (from.flag()?, from.text()?);
    state.cancelled = is_cancelled.then_some(reason);
    let count = from.u32()?;
    state.holders = from.several(count, |from| {
        Ok(Holder::new([from.u32()?, from.u32()?], [from.flag()?, from.flag()?, from.flag()?]))
    })?;
    let count = from.u32()?;
    state.missing = from.several(count, |from| Ok(Range { start: from.u64()?, end: from.u64()? }))?;
    Ok(state)
}

/// As much of a text as is passed on, in whole letters.
pub(super) fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(MOST_TEXT_BYTES)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn new(magic: u32) -> Self {
        Encoder(magic.to_le_bytes().to_vec())
    }

    fn rest(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.rest(&number.to_le_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.rest(&number.to_le_bytes())
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.rest(&[u8::from(flag)])
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32).rest(bytes)
    }
}

/// What was not read yet of a peer's bytes.
struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed("a message that is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("a message that is cut off"))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed("a flag that is neither 0 nor 1")),
        }
    }

    fn bytes(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        match usize::try_from(self.u32()?) {
            Ok(len) if len <= most => self.take(len),
            _ => Err(Malformed("a text that is longer than any is")),
        }
    }

    fn text(&mut self) -> Result<String, Malformed> {
        self.bytes(MOST_TEXT_BYTES).map(text_of)
    }

    fn rest(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        match self.0.len() {
            len if len <= most => self.take(len),
            _ => Err(Malformed("a text that is longer than any is")),
        }
    }

    /// A file's name, which is all that is left.
    fn name(&mut self) -> Result<Vec<u8>, Malformed> {
        match self.rest(MOST_NAME_BYTES)? {
            [] => Err(Malformed("an empty name")),
            name => Ok(name.to_vec()),
        }
    }

    /// Reads as many as there are said to be, or as there are bytes for: none is of no bytes.
    fn several<T>(
        &mut self,
        count: u32,
        one: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        (0..count).map(|_| one(self)).collect()
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("a message that is too long")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that are hard to carry.
    fn names() -> Vec<Vec<u8>> {
        vec![vec![0], b"a/b\n".to_vec(), vec![0xff, 0xfe, 0, 0x80], vec![b'x'; MOST_NAME_BYTES]]
    }

    fn requests() -> Vec<Request> {
        let mut all = vec![Request::Hello, Request::Any, Request::Files { after: u32::MAX }];
        all.extend([Request::State { file: 7 }, Request::Closed]);
        for name in names() {
            all.push(Request::Open {
                offset: u64::MAX,
                bytes: 9,
                note: vec![name.len() as u8; name.len() % 65],
                name: name.clone(),
            });
            all.push(Request::Parts { after: 3, for_reading: name.len() % 2 == 0, name: name.clone() });
            all.push(Request::Cancel { reason: "ö".repeat(MOST_TEXT_BYTES / 2), name });
        }
        all
    }

    fn replies() -> Vec<Reply> {
        let state = FileState {
            bytes_in: 2,
            bytes_out: 4,
            end: 6,
            free: 7,
            claimed: 8,
            complete: 9,
            taken: 10,
            is_ending: true,
            cancelled: Some("why".to_owned()),
            holders: vec![Holder::new([1, 2], [true, false, true]); 30],
            missing: (0..256).map(|block| block..block + 1).collect(),
        };
        let part = |name: Vec<u8>| Listed { file: 1, offset: 2, readers: 3, name, note: vec![4; 64] };
        let mut all = vec![Reply::Done, Reply::Part { file: 1, offset: 2 }, Reply::State(Box::new(state))];
        all.push(Reply::Parts { has_more: true, parts: names().into_iter().map(part).collect() });
        let texts = || "why not".to_owned();
        all.extend(
            [
                Failure::NoFile,
                Failure::Finished,
                Failure::Cancelled { reason: texts() },
                Failure::NoSpace { need: 1, have: None },
                Failure::NoSpace { need: 1, have: Some(0) },
                Failure::Refused { why: texts() },
            ]
            .map(Reply::Failed),
        );
        all
    }

    #[test]
    fn what_is_said_comes_as_it_was_said() {
        for request in requests() {
            let bytes = request.encode();
            assert!(bytes.len() <= MOST_REQUEST_BYTES);
            assert_eq!(Request::decode(&bytes), Ok(request));
        }
        for reply in replies() {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }

    #[test]
    fn no_part_of_a_message_is_one_and_nothing_may_stand_behind_it() {
        // What ends in a name or a text may end earlier.
        let ends_openly = |bytes: &[u8]| matches!(bytes[4], 2 | 4 | 8);
        for bytes in requests().iter().map(Request::encode) {
            for len in 0..bytes.len() {
                assert!(Request::decode(&bytes[..len]).is_err() || ends_openly(&bytes), "{len} of {bytes:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Request::decode(&longer).is_err() || ends_openly(&bytes), "{bytes:?}");
        }
        for bytes in replies().iter().map(Reply::encode) {
            for len in 0..bytes.len() {
                assert!(Reply::decode(&bytes[..len]).is_err() || bytes[4] == 5, "{len} of {bytes:?}");
            }
            assert!(Reply::decode(&[&bytes[..], &[0]].concat()).is_err() || bytes[4] == 5, "{bytes:?}");
        }
    }

    #[test]
    fn any_bytes_are_refused_or_understood() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut roll = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        };
        let all: Vec<Vec<u8>> =
            requests().iter().map(Request::encode).chain(replies().iter().map(Reply::encode)).collect();
        for _ in 0..20_000 {
            let mut bytes = all[roll(all.len())].clone();
            for _ in 0..=roll(8) {
                let at = roll(bytes.len().min(64));
                bytes[at] = [0, 1, 0x7f, 0xff, roll(256) as u8][roll(5)];
            }
            bytes.truncate(roll(2 * bytes.len()));
            if let Ok(request) = Request::decode(&bytes) {
                assert!(request.encode().len() <= MOST_REQUEST_BYTES);
            }
            if let Ok(reply) = Reply::decode(&bytes) {
                assert!(Reply::decode(&reply.encode()).is_ok());
            }
        }
    }

    #[test]
    fn a_page_is_short_enough_not_to_flow_and_says_that_there_is_more() {
        let parts = |count: u32, len| {
            (1..=count).map(move |file| Listed {
                file,
                offset: 0,
                readers: 0,
                name: vec![b'n'; len],
                note: vec![4; 64],
            })
        };
        for (count, len) in [(0, 0), (1, 1), (10_000, 1), (100, MOST_NAME_BYTES), (2000, 0)] {
            let page = Reply::page(parts(count, len));
            assert!(page.encode().len() < 32 << 10);
            let Reply::Parts { has_more, parts } = page else { unreachable!() };
            assert_eq!(has_more, parts.len() < count as usize);
            assert!(count == 0 || !parts.is_empty());
        }
    }
}
