//! A channel, seen in a copy of its region's first bytes.

use super::Kind;
use super::judge::Floor;
use crate::channel::layout::{CounterLine, HEADER_BYTES, Header, MAGIC, TurnLine, VERSION};
use crate::channel::turn::{Content, Side, Word};
use crate::sys::look::Snapshot;
use crate::sys::region::HeadAt;
use std::mem::offset_of;

/// By this a region is known as a channel's.
pub(super) const FLOOR: Floor = Floor {
    kind: Kind::Channel,
    magic: MAGIC,
    version: VERSION,
    overhead: HEADER_BYTES as u64,
    head: HeadAt::Start,
    read_bytes: offset_of!(Header, consumer_counters) + size_of::<CounterLine>(),
};

/// The turn, and what one finds beside it. Each number is a peer's word.
pub(super) struct Sight {
    pub(super) is_consumers: bool,
    /// What stands there, in words; `None` where a peer wrote a number that means nothing.
    pub(super) content: Option<&'static str>,
    /// Whether it was acknowledged and nobody has consumed it.
    pub(super) message_waits: bool,
    pub(super) is_redelivered: bool,
    pub(super) is_abandoned: bool,
    /// The publisher's and the consumer's.
    pub(super) sleeps: [bool; 2],
    pub(super) step: u64,
    pub(super) length: u64,
    /// The publisher's and the consumer's, in the order of `CounterLine`.
    pub(super) counters: [[u64; 6]; 2],
}

impl Sight {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let turn = offset_of!(Header, turn);
        let word = Word(snapshot.u64_at(turn + offset_of!(TurnLine, word)));
        let counters = |line: usize| {
            [
                offset_of!(CounterLine, messages),
                offset_of!(CounterLine, bytes),
                offset_of!(CounterLine, replies),
                offset_of!(CounterLine, reply_bytes),
                offset_of!(CounterLine, sleeps),
                offset_of!(CounterLine, waiting_since_unix_ms),
            ]
            .map(|field| snapshot.u64_at(line + field))
        };
        Sight {
            is_consumers: word.side() == Side::Consumer,
            content: word.content().map(in_words),
            message_waits: word.side() == Side::Consumer && word.content() == Some(Content::Message),
            is_redelivered: word.is_redelivered(),
            is_abandoned: word.is_abandoned(),
            sleeps: [Side::Publisher, Side::Consumer].map(|side| word.has_sleeping(side)),
            step: word.step(),
            length: snapshot.u64_at(turn + offset_of!(TurnLine, length)),
            counters: [offset_of!(Header, publisher_counters), offset_of!(Header, consumer_counters)].map(counters),
        }
    }
}

fn in_words(content: Content) -> &'static str {
    match content {
        Content::Nothing => "nothing",
        Content::Message => "a message",
        Content::Call => "a call",
        Content::Stream => "the first round of a long message",
        Content::CallStream => "the first round of a long call",
        Content::More => "a further round of a long message",
        Content::Flow => "a message that flows",
        Content::CallFlow => "a call that flows",
        Content::Drained => "a round that was copied out",
        Content::Again => "a long message that was given back",
        Content::InPlace => "a message that is wanted where it stands",
        Content::Aborted => "a message or reply that was given up",
        Content::Orphaned => "a message whose beginning a dead consumer had",
        Content::Reply => "a reply",
        Content::ReplyFlow => "a reply that flows",
        Content::NoReply => "a call that got no reply",
    }
}
