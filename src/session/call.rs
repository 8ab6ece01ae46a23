//! One call: the publisher's seat of the session's channel, a request, its reply.
//!
//! A caller keeps nothing open between two calls: as many may be connected as like, and a host that comes after a dead
//! one is found by its name. Everything that is asked may be asked twice.

use super::protocol::{Failure, Malformed, Reply, Request};
use super::{LAST_PAUSE, SHORT, Session, name_of, shown};
use crate::channel::{Channel, ChannelOptions};
use crate::error::Error;
use crate::sys::deadline::Deadline;
use std::time::Duration;

/// What is asked for, and about what: for errors.
#[derive(Clone, Copy)]
pub(super) struct Call<'n> {
    pub(super) what: &'static str,
    pub(super) file: &'n [u8],
    pub(super) deadline: Deadline,
    /// Whether a host is waited for where there is none.
    pub(super) waits: bool,
}

impl Session {
    pub(super) fn call<'n>(&self, what: &'static str, file: &'n [u8]) -> Call<'n> {
        Call { what, file, deadline: Deadline::after(self.patience), waits: true }
    }

    /// Asks the host, and waits for one if need be.
    pub(super) fn ask(&self, call: Call<'_>, request: &Request) -> Result<Reply, Error> {
        let request = request.encode();
        let name = name_of(self.id);
        let mut pause = SHORT;
        loop {
            let why = match ChannelOptions::new().open(&name) {
                Ok(channel) => match self.ask_by(&channel, call, &request)? {
                    Some(reply) => return self.understand(call, &reply),
                    None => Error::NoHost { session: name.clone() },
                },
                Err(Error::NotFound { .. }) => Error::NoHost { session: name.clone() },
                // As many as there is room for are asking.
                Err(full @ Error::SeatTaken { .. }) => full,
                Err(error) => return Err(error),
            };
            let is_hopeless = !call.waits && matches!(why, Error::NoHost { .. });
            if is_hopeless || call.deadline.is_over() {
                return Err(why);
            }
            std::thread::sleep(pause.min(call.deadline.left()));
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Nothing where there is no host.
    fn ask_by(&self, channel: &Channel, call: Call<'_>, request: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if !channel.has_consumer()? {
            return Ok(None);
        }
        let mut publisher = channel.publisher_timeout(call.deadline.left())?;
        // It may have died before this end began to watch it: then nobody would tell.
        if !channel.has_consumer()? {
            return Ok(None);
        }
        let mut reply = Vec::new();
        // The seat took its time; a call that is made has a little.
        let limit = call.deadline.left().max(SHORT);
        publisher.call_into_timeout(request, &mut reply, limit).map_err(|error| self.of_the_host(call, error))?;
        Ok(Some(reply))
    }

    /// What happened to the channel is told of the session.
    fn of_the_host(&self, call: Call<'_>, error: Error) -> Error {
        let (peer, session) = ("host", name_of(self.id));
        match error {
            Error::PeerDied { name, pid, delivered, is_final, .. } => {
                Error::PeerDied { name, peer, pid, delivered, is_final }
            }
            Error::Disconnected { name, delivered, is_final, .. } => {
                Error::Disconnected { name, peer, delivered, is_final }
            }
            Error::TimedOut { name, delivered, .. } => Error::TimedOut { name, call: call.what, delivered },
            Error::NoReply { .. } => Error::Refused { session, call: call.what, why: "it gave no answer".to_owned() },
            other => other,
        }
    }

    fn understand(&self, call: Call<'_>, reply: &[u8]) -> Result<Reply, Error> {
        let session = name_of(self.id);
        let failure = match Reply::decode(reply) {
            Ok(Reply::Failed(failure)) => failure,
            Ok(reply) => return Ok(reply),
            Err(Malformed(what)) => return Err(Error::Corrupt { name: session, what }),
        };
        let file = shown(call.file);
        Err(match failure {
            Failure::NoFile => Error::NoFile { session, file },
            Failure::Finished => Error::Finished { name: file },
            Failure::Cancelled { reason } => Error::Cancelled { name: file, reason },
            Failure::NoSpace { need, have } => Error::NoSpace { name: session, need, have },
            Failure::Refused { why } => Error::Refused { session, call: call.what, why },
        })
    }

    /// A reply of another kind than the request's.
    pub(super) fn unexpected(&self) -> Error {
        Error::Corrupt { name: name_of(self.id), what: "a reply to another request" }
    }

    /// Lets the host know that a file was let go of. If it does not hear, it sees.
    pub(super) fn tell_closed(&self) {
        let deadline = Deadline::after(Duration::from_millis(100));
        let call = Call { what: "close", file: &[], deadline, waits: false };
        let _ = self.ask(call, &Request::Closed);
    }
}
