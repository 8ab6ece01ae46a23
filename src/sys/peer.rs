//! What one end learns of the other: that it died, that it left.
//!
//! Each is news once for each generation of the peer's seat; again and again on a private channel to which nobody can
//! come any more. Who leaves a persistent one is no news at all. It is found by looking, at most once a millisecond: at
//! the lock, and once a tick at the process as well, since a child may keep the lock of the dead. Whoever sleeps
//! wakes at every tick for it.

use super::door::Attachment;
use super::process::ExitWatch;
use super::seat::{Care, SeatNumber, Sitter};
use crate::error::Error;
use std::time::{Duration, Instant};

/// The longest that anyone sleeps without a look at what it waits for, and at who is to bring it.
pub(crate) const TICK: Duration = Duration::from_millis(40);
/// How often a waiter that spins looks at more than the word.
pub(crate) const SPIN_LOOK: Duration = Duration::from_millis(1);

/// What became of the peer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News {
    Died { generation: u32, pid: u32, is_final: bool },
    Left { generation: u32, is_final: bool },
}

/// The peer that something was begun with: only that one can go on with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partner {
    generation: u32,
    pid: u32,
}

/// What an end knows of its peer.
pub(crate) struct Watch {
    /// The peer's end.
    end: usize,
    /// The generation whose death or leaving the user was told of already.
    told: u32,
    /// When its seat was last looked at, by lock and by process.
    looked: Instant,
    looked_at_process: Instant,
    /// A watch on that generation's process, where the system has such a thing.
    exit: Option<(u32, ExitWatch)>,
}

impl Watch {
    pub(crate) fn new(end: usize) -> Self {
        let now = Instant::now();
        Watch { end, told: 0, looked: now, looked_at_process: now, exit: None }
    }

    /// Who went before this one came is no news.
    pub(crate) fn forget_the_past(&mut self, attachment: &Attachment) -> Result<(), Error> {
        self.told = match attachment.look(self.end, Care::LockAndPid)? {
            Sitter::Dead { generation, .. } | Sitter::Left { generation } => generation,
            Sitter::Nobody | Sitter::Alive { .. } => 0,
        };
        Ok(())
    }

    /// The user was told. Only this counts: what waiting brings at the last moment beats the news, which then has to
    /// come again.
    pub(crate) fn told(&mut self, news: News) {
        let (News::Died { generation, .. } | News::Left { generation, .. }) = news;
        self.told = generation;
    }

    /// What is new. With a `partner`, the peer's being another one by now is a death too.
    pub(crate) fn news(
        &mut self,
        attachment: &Attachment,
        now: Instant,
        partner: Option<Partner>,
    ) -> Result<Option<News>, Error> {
        if now.duration_since(self.looked) < SPIN_LOOK {
            return Ok(None);
        }
        self.looked = now;
        let sitter = self.look(attachment, now)?;
        // After the look: whoever took the names away died, or left, later than that.
        let is_final = attachment.is_closed();
        // Only the one with whom something was begun can go on with it. Where another sits there, or sat there since, it
        // has gone, and not in order: nobody leaves in the middle.
        let replaced = |by: u32, is_final: bool| {
            let Partner { generation, pid } = partner.filter(|partner| partner.generation != by)?;
            Some(News::Died { generation, pid, is_final })
        };
        let (generation, news) = match sitter {
            Sitter::Nobody => return Ok(None),
            Sitter::Alive { generation, .. } => return Ok(replaced(generation, false)),
            Sitter::Dead { generation, pid } => (generation, News::Died { generation, pid, is_final }),
            // Another will come, and does as well.
            Sitter::Left { .. } if attachment.is_persistent() && partner.is_none() => return Ok(None),
            Sitter::Left { generation } => (generation, News::Left { generation, is_final }),
        };
        if let Some(news) = replaced(generation, is_final) {
            return Ok(Some(news));
        }
        Ok((generation != self.told || is_final || partner.is_some()).then_some(news))
    }

    fn look(&mut self, attachment: &Attachment, now: Instant) -> Result<Sitter, Error> {
        let sitter = attachment.look(self.end, Care::Lock)?;
        if now.duration_since(self.looked_at_process) < TICK {
            return Ok(sitter);
        }
        self.looked_at_process = now;
        let Sitter::Alive { generation, pid } = sitter else { return Ok(sitter) };
        match &self.exit {
            Some((watched, exit)) if *watched == generation => {
                Ok(if exit.is_gone() { Sitter::Dead { generation, pid } } else { sitter })
            }
            _ => {
                self.exit = attachment.watch(SeatNumber::of_end(self.end), pid).map(|exit| (generation, exit));
                attachment.look(self.end, Care::LockAndPid)
            }
        }
    }

    /// Whoever sits opposite now.
    pub(crate) fn partner(&self, attachment: &Attachment) -> Result<Partner, Error> {
        Ok(match attachment.look(self.end, Care::Lock)? {
            Sitter::Alive { generation, pid } | Sitter::Dead { generation, pid } => Partner { generation, pid },
            Sitter::Left { generation } => Partner { generation, pid: 0 },
            Sitter::Nobody => Partner { generation: 0, pid: 0 },
        })
    }
}
