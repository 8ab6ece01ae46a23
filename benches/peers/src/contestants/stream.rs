//! What pipes and sockets have in common: descriptors that are read and written until all has gone through.

use super::{End, Room};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

/// With gigabytes they would take most of a run's time, and be last.
const MOST_BYTES: usize = 64 << 20;

pub fn plays(scenario: &Scenario) -> bool {
    match scenario.play {
        Play::RoundTrip | Play::Asleep | Play::OneCore => true,
        Play::OneWay => scenario.bytes <= MOST_BYTES,
        Play::Loan | Play::Fresh | Play::HandOver | Play::LargeBlocks | Play::SmallBlocks => false,
    }
}

/// One end of two descriptors, or of one for both directions.
pub struct Descriptors<R, W> {
    pub side: Side,
    pub reader: R,
    pub writer: W,
    /// The longest piece that is written at once; 0 for any.
    pub most: usize,
    watches: bool,
}

impl<R: Read + AsRawFd, W: Write + AsRawFd> Descriptors<R, W> {
    pub fn new(side: Side, reader: R, writer: W, most: usize) -> Self {
        Descriptors { side, reader, writer, most, watches: false }
    }

    /// Where nobody is to sleep, the descriptors are asked again and again.
    fn watch(&mut self, watches: bool) -> Result<(), Failure> {
        if self.watches != watches {
            for fd in [self.reader.as_raw_fd(), self.writer.as_raw_fd()] {
                // SAFETY: a descriptor that is ours.
                let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
                let flags = if watches { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
                // SAFETY: as above.
                if unsafe { libc::fcntl(fd, libc::F_SETFL, flags) } != 0 {
                    return Err(io::Error::last_os_error().into());
                }
            }
            self.watches = watches;
        }
        Ok(())
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let most = if self.most == 0 { bytes.len() } else { self.most.min(bytes.len()) };
            match self.writer.write(&bytes[..most]) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_not_yet(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut bytes: &mut [u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.reader.read(bytes) {
                Ok(0) => return Err("the other end is gone".into()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if is_not_yet(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        self.watch(play == Play::RoundTrip)?;
        let first = self.side == Side::First;
        match play {
            Play::RoundTrip | Play::Asleep | Play::OneCore => {
                for _ in 0..count {
                    if first {
                        self.send(&room.outgoing)?;
                    }
                    self.receive(&mut room.incoming)?;
                    if !first {
                        self.send(&room.incoming)?;
                    }
                }
                Ok(())
            }
            Play::OneWay => {
                for _ in 0..count {
                    if first { self.send(&room.outgoing)? } else { self.receive(&mut room.incoming)? }
                }
                match (count, first) {
                    (0, _) => Ok(()),
                    (_, true) => self.receive(&mut [0]),
                    (_, false) => self.send(&[0]),
                }
            }
            _ => Err("a descriptor cannot do that".into()),
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl<R: Read + AsRawFd, W: Write + AsRawFd> End for Descriptors<R, W> {
    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        Descriptors::exchange(self, play, count, room)
    }
}
