//! Who takes part: one file for each way to get bytes across, and one list of all.
//!
//! To add a contestant, write its file, and name it in [`all`]. A contestant whose ends are Rust gives an [`End`] for
//! each side; one that is a program of its own says how to start it, and that program follows `order.rs`.

pub mod antiphon;
pub mod bare;
pub mod blocks;
mod flags;
#[cfg(feature = "iceoryx2")]
pub mod iceoryx2;
pub mod mpi;
pub mod pages;
pub mod pipe;
mod stream;
pub mod unix;

use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use std::path::Path;
use std::process::Command;

/// What a contestant is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Ours,
    Peer,
    /// Bare memory between two processes of its own. The other limits are in `limits.rs`.
    Limit,
}

/// One way for two processes to exchange bytes.
pub trait Contestant {
    fn name(&self) -> &'static str;

    fn standing(&self) -> Standing;

    /// Why it cannot take part on this machine.
    fn missing(&self) -> Option<String> {
        None
    }

    fn plays(&self, scenario: &Scenario) -> bool;

    /// The program that starts both ends, if they are not ends of this one. `folder` has their wires.
    fn program(&self, _folder: &Path) -> Result<Option<Command>, Failure> {
        Ok(None)
    }

    /// One end, in a process of its own. The first side comes first, and makes what the second finds. `folder` is
    /// theirs, and its name is like no other's.
    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure>;

    /// Removes what it leaves behind, outside of `folder`, even when both ends ended in order.
    fn clear_up(&self, _folder: &Path) -> Result<(), Failure> {
        Ok(())
    }
}

/// One of the two ends.
pub trait End {
    /// What it is, with its version.
    fn version(&self) -> String {
        "the system's own".to_owned()
    }

    /// What has to stand before the clock runs, besides the buffers.
    fn get_ready(&mut self, _play: Play, _bytes: usize) -> Result<(), Failure> {
        Ok(())
    }

    /// This side's part in `count` items.
    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure>;
}

/// An end's private buffers: as long as the order has it, with every page touched.
#[derive(Default)]
pub struct Room {
    pub outgoing: Vec<u8>,
    pub incoming: Vec<u8>,
}

/// What is larger is given back after each order unless the order has it kept: there are many contestants.
const KEPT_BYTES: usize = 64 << 20;

impl Room {
    pub fn make(&mut self, side: Side, play: Play, bytes: usize) {
        let both = !matches!(play, Play::OneWay | Play::Fresh | Play::LargeBlocks | Play::SmallBlocks);
        if both || side == Side::First {
            resize(&mut self.outgoing, bytes, 7);
        }
        if both || side == Side::Second {
            resize(&mut self.incoming, bytes, 1);
        }
    }

    pub fn give_up_what_is_large(&mut self) {
        for buffer in [&mut self.outgoing, &mut self.incoming] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

/// Without moving what a larger one had: the pages are touched already.
fn resize(buffer: &mut Vec<u8>, bytes: usize, value: u8) {
    if buffer.capacity() < bytes {
        *buffer = Vec::new();
        buffer.reserve_exact(bytes);
    }
    buffer.resize(bytes, value);
}

/// A name for what this pair shares, made from its folder.
fn shared_name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(not(feature = "iceoryx2"))]
mod iceoryx2 {
    use super::Absent;

    const REASON: &str = "built without the feature `iceoryx2`";
    pub const ALL: [Absent; 2] = [
        Absent { name: "iceoryx2, publish-subscribe", reason: REASON },
        Absent { name: "iceoryx2, request-response", reason: REASON },
    ];
}

/// One that is not built, in the place of itself.
#[cfg(not(feature = "iceoryx2"))]
struct Absent {
    name: &'static str,
    reason: &'static str,
}

#[cfg(not(feature = "iceoryx2"))]
impl Contestant for Absent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    fn missing(&self) -> Option<String> {
        Some(self.reason.to_owned())
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        // As the one that it stands for, or more.
        scenario.play != Play::HandOver && scenario.play.block_bytes().is_none()
    }

    fn end(&self, _side: Side, _folder: &Path) -> Result<Box<dyn End>, Failure> {
        Err(self.reason.into())
    }
}

pub fn all() -> Vec<Box<dyn Contestant>> {
    let mut all: Vec<Box<dyn Contestant>> = Vec::new();
    all.extend(antiphon::WAITS.map(|contestant| Box::new(contestant) as _));
    all.extend(blocks::ALL.map(|contestant| Box::new(contestant) as _));
    all.extend(bare::ALL.map(|contestant| Box::new(contestant) as _));
    all.extend(mpi::ALL.map(|contestant| Box::new(contestant) as _));
    all.extend(iceoryx2::ALL.map(|contestant| Box::new(contestant) as _));
    all.push(Box::new(pipe::Pipe));
    all.extend(unix::ALL.map(|contestant| Box::new(contestant) as _));
    all.push(Box::new(pages::Pages));
    all
}
