//! The one error of the crate: what happened, to which name, and what to do about it.

use std::fmt;
use std::io;

/// What became of the message when an operation failed after it may have been handed over.
///
/// ```
/// use antiphon::{Channel, Delivered};
/// use std::time::Duration;
///
/// # let name = format!("doc-delivered-{}", std::process::id());
/// let mut publisher = Channel::create(&name)?.publisher()?;
/// let error = publisher.call_timeout(b"anyone?", Duration::from_millis(1)).unwrap_err();
/// assert_eq!(error.delivered(), Some(Delivered::No)); // Withdrawn: nobody will ever see it.
/// # Ok::<(), antiphon::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivered {
    /// No consumer has acted on it, and none will: it was withdrawn, or never handed over whole.
    No,
    /// A consumer may have acted on it. Repeat it only if doing it twice does no harm.
    Unknown,
}

/// Everything that can go wrong, each with the name it happened to and the way out.
///
/// A peer's death and a peer's leaving are each reported once; the same call made again then waits for the next peer
/// on the same name. Only where `is_final` says that no next one can come by the name, they are reported each time.
///
/// ```
/// use antiphon::{Channel, Error};
///
/// let missing = Channel::open("nobody-made-this").unwrap_err();
/// assert!(matches!(missing, Error::NotFound { .. }));
/// assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
/// assert!(missing.to_string().contains("create it first"));
/// let missing: std::io::Error = missing.into(); // For programs that speak io::Error.
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The name cannot be used.
    BadName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An option has a value that it cannot have.
    BadOption {
        /// Which option.
        option: &'static str,
        /// The value as given.
        given: u64,
        /// What it has to be.
        wanted: &'static str,
    },
    /// Nothing has this name.
    NotFound {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// A living process holds what has this name.
    InUse {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// A holder's process id, as its own pid namespace knows it.
        pid: u32,
    },
    /// The channel is persistent and holds a message that nobody has consumed: `create` would lose it.
    HoldsMessage {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// A living process sits in this seat.
    SeatTaken {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// `publisher`, `consumer` or `handle`.
        seat: &'static str,
        /// The holder's process id, as its own pid namespace knows it.
        pid: u32,
    },
    /// The process at the other end is dead.
    PeerDied {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// `publisher` or `consumer`; of a block file `writer` or `reader`; of a session `host`.
        peer: &'static str,
        /// The dead process's id, as its own pid namespace knew it; 0 where another sits in its seat by now.
        pid: u32,
        /// What became of the message in hand.
        delivered: Delivered,
        /// Nobody new can come: the channel is private, and its names are gone.
        is_final: bool,
    },
    /// The other end left in order.
    Disconnected {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// `publisher` or `consumer`; of a block file `writer` or `reader`; of a session `host`.
        peer: &'static str,
        /// What became of the message in hand: a consumer that panicked with a call may have acted on it before it
        /// left.
        delivered: Delivered,
        /// Nobody new can come: the channel is private, and its names are gone.
        is_final: bool,
    },
    /// The time was up.
    TimedOut {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// What was being done.
        call: &'static str,
        /// What became of the message in hand.
        delivered: Delivered,
    },
    /// The other end gave up in the middle of a long message or reply.
    Aborted {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// Which end gave up.
        peer: &'static str,
        /// What became of the message in hand.
        delivered: Delivered,
    },
    /// The consumer dropped the call without an answer.
    NoReply {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// A reply was given to a message that asked for none.
    NotACall {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// The caller no longer waits for this reply: its time was up, or it is dead.
    CallerGone {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// The block file is ending: no range is given any more.
    Finished {
        /// The block file's name.
        name: String,
    },
    /// The block file was cancelled.
    Cancelled {
        /// The block file's name.
        name: String,
        /// The reason that was given.
        reason: String,
    },
    /// Parts of the block file are missing, and who was to fill them is gone.
    Unfilled {
        /// The block file's name.
        name: String,
        /// Which bytes of the file.
        ranges: Vec<std::ops::Range<u64>>,
    },
    /// No living host answers for the session.
    NoHost {
        /// The session's id, as it is printed: sixteen digits.
        session: String,
    },
    /// The session has no file of this name, or has none any more.
    NoFile {
        /// The session's id, as it is printed.
        session: String,
        /// The file's name, as it is printed: what is no letter is escaped, what is long is cut.
        file: String,
    },
    /// The host could not do what it was asked to do.
    Refused {
        /// The session's id, as it is printed.
        session: String,
        /// What it was asked to do.
        call: &'static str,
        /// Why not, in the host's words.
        why: String,
    },
    /// A file of a disk could not be read or written.
    Disk {
        /// Its path, as it is printed.
        path: String,
        /// What was being done to it: `open`, `read`, `write` and the like.
        call: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// A file of a disk changed while it was being read.
    Changed {
        /// Its path, as it is printed.
        path: String,
        /// What became of it.
        how: &'static str,
    },
    /// What a file is called leads out of the directory below which it is to be written, or to what is no file.
    Outside {
        /// The name, as it is printed.
        name: String,
        /// Where that was seen.
        why: &'static str,
    },
    /// Part of the file was brought to another place than this one, or all of it.
    Elsewhere {
        /// The file's name, as it is printed.
        file: String,
    },
    /// Too many bytes for what was asked.
    TooLong {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// What was being done.
        call: &'static str,
        /// How many bytes were asked for.
        len: u64,
        /// How many are possible.
        limit: u64,
    },
    /// The shared-memory file system is full.
    NoSpace {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// Bytes that the region needs.
        need: u64,
        /// Bytes that are free, where the system tells.
        have: Option<u64>,
    },
    /// The region was made by something that works differently.
    Incompatible {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// What differs.
        what: &'static str,
        /// The region's value.
        theirs: u64,
        /// This process's value.
        ours: u64,
    },
    /// What has this name is not a channel.
    NotAChannel {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// How that was seen.
        why: &'static str,
    },
    /// Another channel's name is shortened to the same name of the operating system.
    NameCollision {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// The name of the channel that stands there.
        theirs: String,
    },
    /// The system refuses access.
    NotPermitted {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// The system's call that was refused.
        call: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The other end, or a stranger, wrote what no peer that keeps the protocol writes.
    Corrupt {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// What was found.
        what: &'static str,
    },
    /// The handle was made before a fork and used in the child.
    Forked {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// Another process has been creating, opening or removing this name for too long.
    Stuck {
        /// The name of the channel, of the block file or of the session.
        name: String,
    },
    /// The census was asked to remove what it does not remove.
    NotRemoved {
        /// The name of what stands there.
        name: String,
        /// Why it stays.
        why: String,
    },
    /// A call of the operating system failed.
    System {
        /// The name of the channel, of the block file or of the session.
        name: String,
        /// The system's call.
        call: &'static str,
        /// The system's word.
        source: io::Error,
    },
}

impl Error {
    /// The nearest of the standard library's kinds.
    pub fn kind(&self) -> io::ErrorKind {
        use io::ErrorKind as Kind;
        match self {
            Error::BadName { .. } | Error::BadOption { .. } | Error::TooLong { .. } => Kind::InvalidInput,
            Error::NotFound { .. } | Error::NoFile { .. } => Kind::NotFound,
            Error::NoHost { .. } => Kind::NotConnected,
            Error::Refused { .. } => Kind::Other,
            Error::InUse { .. } | Error::SeatTaken { .. } => Kind::AddrInUse,
            Error::PeerDied { .. } => Kind::ConnectionReset,
            Error::Disconnected { .. } => Kind::NotConnected,
            Error::TimedOut { .. } => Kind::TimedOut,
            Error::Aborted { .. } | Error::NoReply { .. } => Kind::ConnectionAborted,
            Error::CallerGone { .. } | Error::Finished { .. } => Kind::BrokenPipe,
            Error::Cancelled { .. } => Kind::ConnectionAborted,
            Error::Unfilled { .. } => Kind::UnexpectedEof,
            Error::Disk { source, .. } => source.kind(),
            Error::Changed { .. } => Kind::InvalidData,
            Error::Outside { .. } => Kind::InvalidInput,
            Error::Elsewhere { .. } => Kind::ResourceBusy,
            Error::NoSpace { .. } => Kind::StorageFull,
            Error::NotAChannel { .. } | Error::NameCollision { .. } | Error::HoldsMessage { .. } => {
                Kind::AlreadyExists
            }
            Error::Incompatible { .. } | Error::NotACall { .. } | Error::Forked { .. } => Kind::Unsupported,
            Error::NotPermitted { .. } => Kind::PermissionDenied,
            Error::Corrupt { .. } => Kind::InvalidData,
            Error::Stuck { .. } | Error::NotRemoved { .. } => Kind::ResourceBusy,
            Error::System { source, .. } => source.kind(),
        }
    }

    /// What became of the message in hand, for the errors after which that is a question.
    pub fn delivered(&self) -> Option<Delivered> {
        match self {
            Error::PeerDied { delivered, .. }
            | Error::Aborted { delivered, .. }
            | Error::Disconnected { delivered, .. }
            | Error::TimedOut { delivered, .. } => Some(*delivered),
            _ => None,
        }
    }

    /// Turns the system's answer to `call` into an error about `name`.
    pub(crate) fn system(name: &str, call: &'static str, source: io::Error) -> Self {
        let name = name.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            Error::NotPermitted { name, call, source }
        } else {
            Error::System { name, call, source }
        }
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivered::No => "nothing was delivered, so it can be sent again",
            Delivered::Unknown => "whether the message was acted on is unknown",
        })
    }
}

/// `delivered` in the words of the end that reads it: a consumer sends nothing that it could send again.
fn outcome(to_the_consumer: bool, delivered: &Delivered) -> &dyn fmt::Display {
    match delivered {
        Delivered::No if to_the_consumer => &"no whole message came",
        Delivered::Unknown if to_the_consumer => &"whether the caller has the reply is unknown",
        _ => delivered,
    }
}

/// What comes after the end of a peer.
fn next(peer: &str, is_final: bool) -> String {
    match is_final {
        true => "nobody else can come to a private channel, make another".to_owned(),
        false => format!("the next call waits for the next {peer}"),
    }
}

/// What has a name, as far as the name shows it: block files and sessions have names of their own form. Only words hang
/// on it: a channel may be named like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Channel,
    BlockFile,
    Session,
}

impl Sort {
    fn of(name: &str) -> Self {
        let is_number = |part: &str, digits| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
        };
        match name.split_once('-') {
            None if is_number(name, 16) => Sort::Session,
            Some((session, file)) if is_number(session, 16) && is_number(file, 8) => Sort::BlockFile,
            _ => Sort::Channel,
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sort::Channel => "channel",
            Sort::BlockFile => "block file",
            Sort::Session => "session",
        })
    }
}

/// A thing with its name.
struct Thing<'n>(&'n str);

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", Sort::of(self.0), self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadName { name, why } => write!(
                f,
                "the name {name:?} cannot be used: {why}; use 1 to 200 letters, digits, '.', '_' and '-', with or without a leading '/'"
            ),
            Error::BadOption { option, given, wanted } => {
                write!(f, "the option {option} cannot be {given}: it has to be {wanted}")
            }
            Error::NotFound { name } => {
                let way_out = match Sort::of(name) {
                    Sort::Channel => "create it first, or use open_or_create",
                    Sort::BlockFile => "create it first; one that was read to its end is gone",
                    Sort::Session => "start its host first",
                };
                write!(f, "there is no {}: {way_out}", Thing(name))
            }
            Error::Finished { name } => {
                write!(f, "the block file {name:?} is ending: whoever finished it wanted nothing more")
            }
            Error::Cancelled { name, reason } => write!(f, "the block file {name:?} was cancelled: {reason}"),
            Error::Unfilled { name, ranges } => {
                write!(f, "the block file {name:?} has no bytes ")?;
                for (nth, range) in ranges.iter().enumerate() {
                    write!(f, "{}{} to {}", if nth > 0 { ", " } else { "" }, range.start, range.end)?;
                }
                write!(f, ", and who was to write them is gone: a writer that claims gets them first")
            }
            Error::Disk { path, call, source } => {
                let way_out = match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "make room there, or choose another place"
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        "choose another place, or ask for the right to it"
                    }
                    io::ErrorKind::NotFound => "see whether it was removed",
                    io::ErrorKind::BrokenPipe => "who read it has ended",
                    _ => "see what stands there",
                };
                write!(f, "{call} of {path:?} failed ({source}): {way_out}")
            }
            Error::Changed { path, how } => {
                write!(f, "{path:?} {how} while it was being read: send it again when nobody writes to it")
            }
            Error::Outside { name, why } => {
                write!(
                    f,
                    "{name:?} is not written below the directory: {why}; write it to standard output or to an empty directory"
                )
            }
            Error::Elsewhere { file } => write!(
                f,
                "part of the file {file:?} was brought to another place, or all of it: look there, or cancel it and send it again"
            ),
            Error::NoHost { session } => write!(
                f,
                "no living host answers for session {session:?}: start one, or wait for it with connect_timeout"
            ),
            Error::NoFile { session, file } => write!(
                f,
                "the session {session:?} has no file {file:?}: wait for it with wait_for; one that was read to its end is gone"
            ),
            Error::Refused { session, call, why } => {
                write!(f, "the host of session {session:?} refused to {call}: {why}")
            }
            Error::InUse { name, pid } => {
                let way_out = match Sort::of(name) {
                    Sort::Session => "connect to it instead, end that process, or choose another id",
                    _ => "open it instead, end that process, or choose another name",
                };
                write!(f, "the {} is in use by process {pid}: {way_out}", Thing(name))
            }
            Error::HoldsMessage { name } => write!(
                f,
                "the persistent {} holds a message that nobody has consumed: open it and consume that, or remove it with Channel::unlink",
                Thing(name)
            ),
            Error::SeatTaken { name, seat: "handle", pid } => write!(
                f,
                "the {} is open 30 times, which is all that it has room for, one of them in process {pid}: drop handles that are not needed{}",
                Thing(name),
                if Sort::of(name) == Sort::BlockFile {
                    ", and give each thread a clone of its process's writer or reader"
                } else {
                    ""
                }
            ),
            Error::SeatTaken { name, pid, .. } if Sort::of(name) == Sort::Session => write!(
                f,
                "process {pid} has been in the middle of a call to {} for too long: see whether it is stopped, and end it",
                Thing(name)
            ),
            Error::SeatTaken { name, seat, pid } => write!(
                f,
                "the {seat}'s seat of {} is taken by process {pid}: a channel has one publisher and one consumer, use a channel for each pair, or wait for the seat with {seat}_timeout",
                Thing(name)
            ),
            Error::PeerDied { name, peer, pid, delivered, is_final } => {
                write!(f, "the {peer} of {}", Thing(name))?;
                if *pid != 0 {
                    write!(f, ", process {pid},")?;
                }
                match Sort::of(name) {
                    Sort::Channel => {
                        let outcome = outcome(*peer == "publisher", delivered);
                        write!(f, " is dead: {outcome}; {}", next(peer, *is_final))
                    }
                    Sort::BlockFile => write!(
                        f,
                        " is dead: what it had in hand goes to the next {peer}; the next call waits for that one"
                    ),
                    Sort::Session => {
                        write!(f, " is dead: repeat the call, which does no harm twice; {}", next(peer, *is_final))
                    }
                }
            }
            Error::Disconnected { name, peer, delivered, is_final } => match Sort::of(name) {
                Sort::Channel => {
                    let outcome = outcome(*peer == "publisher", delivered);
                    write!(f, "the {peer} of {} has left: {outcome}; {}", Thing(name), next(peer, *is_final))
                }
                Sort::BlockFile => write!(
                    f,
                    "the last {peer} of {} has left it before its end; {}",
                    Thing(name),
                    next(peer, *is_final)
                ),
                Sort::Session => {
                    write!(f, "the {peer} of {} has left; {}", Thing(name), next(peer, *is_final))
                }
            },
            Error::TimedOut { name, call, delivered } => {
                let outcome: &dyn fmt::Display = match Sort::of(name) {
                    Sort::Channel => outcome(matches!(*call, "consume" | "reply"), delivered),
                    Sort::BlockFile => &"nothing is lost, call it again",
                    Sort::Session => &"repeat it, which does no harm twice",
                };
                write!(f, "{call} on {} ran out of time: {outcome}", Thing(name))
            }
            Error::Aborted { name, peer, delivered } => {
                let outcome = outcome(*peer == "publisher", delivered);
                write!(
                    f,
                    "the {peer} of {} gave up in the middle of a long message or reply: {outcome}; give both ends more time",
                    Thing(name)
                )
            }
            Error::NoReply { name } => {
                write!(f, "the consumer of {} dropped the call without an answer: have it call reply", Thing(name))
            }
            Error::NotACall { name } => write!(
                f,
                "this message on {} was published and asks for no reply: ask is_call first, or send it with call",
                Thing(name)
            ),
            Error::CallerGone { name } => write!(
                f,
                "the caller on {} no longer waits for this reply: drop it and consume the next message",
                Thing(name)
            ),
            Error::TooLong { name, call, len, limit } => {
                write!(f, "{call} of {len} bytes on {} is too long: the limit is {limit}", Thing(name))
            }
            Error::NoSpace { name, need, have } => {
                write!(f, "no space for {}: {need} bytes of shared memory are needed", Thing(name))?;
                if let Some(have) = have {
                    write!(f, " and {have} are free")?;
                }
                let less = match Sort::of(name) {
                    Sort::Channel => "a smaller capacity",
                    Sort::BlockFile | Sort::Session => "smaller or fewer blocks",
                };
                write!(f, "; choose {less}, remove what is left over, or enlarge the file system (/dev/shm on Linux)")
            }
            Error::Incompatible { name, what, theirs, ours } => write!(
                f,
                "the {} was made with {what} {theirs} and this process has {ours}: use the same build at both ends",
                Thing(name)
            ),
            Error::NotAChannel { name, why } => write!(
                f,
                "what has the name {name:?} is not a {}: {why}; choose another name, or remove that object with the program that made it",
                Sort::of(name)
            ),
            Error::NameCollision { name, theirs } => write!(
                f,
                "the channel {theirs:?} stands where {name:?} would stand, since long names are shortened: choose another name"
            ),
            Error::NotPermitted { name, call, source } => write!(
                f,
                "{call} for {} was refused ({source}): it belongs to another user, or its mode keeps this one out",
                Thing(name)
            ),
            Error::Corrupt { name, what } => write!(
                f,
                "the shared memory of {} holds {what}, which no peer that keeps the protocol writes: end both sides and create it anew",
                Thing(name)
            ),
            Error::Forked { name } => write!(
                f,
                "this handle of {} was made before a fork: open the {} again in the child",
                Thing(name),
                Sort::of(name)
            ),
            Error::Stuck { name } => write!(
                f,
                "another process has been creating, opening or removing {} for too long: see whether it is stopped, and end it",
                Thing(name)
            ),
            Error::NotRemoved { name, why } => write!(f, "{name:?} was not removed: {why}"),
            Error::System { name, call, source } => {
                write!(f, "{call} for {} failed: {source}", Thing(name))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NotPermitted { source, .. } | Error::System { source, .. } | Error::Disk { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
