//! Block files in the torture: some processes of several threads that fill blocks, some that empty them, all of them
//! killed as everybody is, and now and then a session with a host that is killed too.
//!
//! `crowd.rs` whoever starts and buries them, a part of the round. `hands.rs` what a process has open; `writer.rs`,
//! `reader.rs` what it does; `host.rs` the host; `drain.rs` who comes when all have gone. `history.rs` the logs of one file put together;
//! `checker.rs` the proof; `bad_histories.rs` what it has to refuse.

mod bad_histories;
pub mod checker;
pub mod drain;
mod hands;
pub mod history;
pub mod host;
pub mod reader;
pub mod writer;

use crate::log::Log;
use crate::plan::{self, File, Side};
use crate::worker::{Orders, log_path};
use antiphon::blocks::FileId;
use std::path::{Path, PathBuf};

/// Under which every file goes.
pub const NAME: &str = "torture";
/// The first file's number, as a channel.
pub const FIRST: u32 = 300;
/// Files at once.
pub const FILES: u32 = 2;
/// Places for processes of one side, the last for who comes when all have gone.
pub const PLACES: u32 = 4;
/// Threads of a process, at most.
pub const THREADS: u32 = 3;
/// Incarnations in one place of one file.
const INCARNATIONS: u32 = 1000;

/// The first incarnation in a place of one of the files that follow each other.
pub fn first_incarnation(generation: u32, place: u32) -> u32 {
    (generation * PLACES + place) * INCARNATIONS
}

pub fn generation_of(incarnation: u32) -> u32 {
    incarnation / INCARNATIONS / PLACES
}

/// Whether it is the one who comes when all have gone.
fn is_last_to_come(incarnation: u32) -> bool {
    incarnation / INCARNATIONS % PLACES == PLACES - 1
}

/// What all processes of a file share.
pub fn control_path(folder: &Path, number: u32) -> PathBuf {
    log_path(folder, number, Side::Writer, u32::MAX)
}

/// What a process of a file knows of it.
pub struct Orientation {
    pub plan: File,
    pub control: &'static Log,
    pub session: u64,
}

impl Orientation {
    pub fn new(orders: &Orders) -> Orientation {
        let generation = generation_of(orders.incarnation);
        Orientation {
            plan: plan::file(orders.seed, orders.climate, orders.channel, generation),
            control: Box::leak(Box::new(Log::open(&control_path(&orders.folder, orders.channel)))),
            session: u64::from_str_radix(&orders.name, 16).expect("a session's number"),
        }
    }

    /// Of a file without a session.
    pub fn id(&self) -> FileId {
        FileId { session: self.session, file: 1 }
    }
}
