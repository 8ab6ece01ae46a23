//! The FIFOs by which the driver tells the two ends of a contestant what to do: `orders-SIDE` and `answers-SIDE` in a
//! folder of the contestant's own. An end that reads its orders sleeps, and disturbs nobody.

use crate::Failure;
use crate::order::{Answer, Order};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The one that begins, and the one that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    First = 0,
    Second = 1,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::First, Side::Second];
}

fn orders(folder: &Path, side: Side) -> std::path::PathBuf {
    folder.join(format!("orders-{}", side as usize))
}

fn answers(folder: &Path, side: Side) -> std::path::PathBuf {
    folder.join(format!("answers-{}", side as usize))
}

pub fn make_fifo(path: &Path) -> Result<(), Failure> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a NUL-terminated path.
    let status = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
    if status != 0 {
        return Err(format!("making {}: {}", path.display(), std::io::Error::last_os_error()).into());
    }
    Ok(())
}

/// The driver's end of one wire.
pub struct Wire {
    orders: File,
    answers: File,
    line: Vec<u8>,
}

impl Wire {
    /// Makes the FIFOs. Opening them here waits for nobody.
    pub fn make(folder: &Path, side: Side) -> Result<Self, Failure> {
        make_fifo(&orders(folder, side))?;
        make_fifo(&answers(folder, side))?;
        let answers = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(answers(folder, side))?;
        // For both directions, as a FIFO that nobody reads yet cannot be opened for writing alone.
        let orders = OpenOptions::new().read(true).write(true).open(orders(folder, side))?;
        Ok(Wire { orders, answers, line: Vec::new() })
    }

    pub fn tell(&mut self, order: &Order) -> Result<(), Failure> {
        // In one write: a reader that was woken by half a line would have to sleep again.
        Ok(self.orders.write_all(format!("{order}\n").as_bytes())?)
    }

    /// The next answer. The end may take `limit` for it; `is_alive` is asked about it meanwhile.
    pub fn hear(&mut self, limit: Duration, mut is_alive: impl FnMut() -> bool) -> Result<Answer, Failure> {
        let began = Instant::now();
        loop {
            // Before the look: what it said last is still to be heard.
            let alive = is_alive();
            let mut bytes = [0; 512];
            match self.answers.read(&mut bytes) {
                Ok(0) => {} // Nobody has it open.
                Ok(count) => self.line.extend_from_slice(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                return match String::from_utf8_lossy(&line).parse()? {
                    Answer::Failed(reason) => Err(reason.into()),
                    answer => Ok(answer),
                };
            }
            if !alive {
                return Err("it ended".into());
            }
            if began.elapsed() > limit {
                return Err(format!("no answer in {} s", limit.as_secs()).into());
            }
            let mut poll = libc::pollfd { fd: self.answers.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives through the call. Whatever it says, the next read tells.
            unsafe { libc::poll(&raw mut poll, 1, 200) };
            if poll.revents & libc::POLLIN == 0 && poll.revents & libc::POLLHUP != 0 {
                // Between two processes that open it, or after the last: `is_alive` tells which.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// An end's own end of its wire.
pub struct OwnWire {
    orders: BufReader<File>,
    answers: File,
}

impl OwnWire {
    pub fn open(folder: &Path, side: Side) -> Result<Self, Failure> {
        let answers = OpenOptions::new().write(true).open(answers(folder, side))?;
        let orders = File::open(orders(folder, side))?;
        Ok(OwnWire { orders: BufReader::new(orders), answers })
    }

    /// The next order; `None` when the driver is gone.
    pub fn hear(&mut self) -> Result<Option<Order>, Failure> {
        let mut line = String::new();
        if self.orders.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        line.parse().map(Some)
    }

    pub fn answer(&mut self, answer: &Answer) -> Result<(), Failure> {
        Ok(self.answers.write_all(format!("{answer}\n").as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Play;

    const LIMIT: Duration = Duration::from_secs(10);

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("antiphon-wires-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn an_order_is_heard_and_answered_until_the_driver_is_gone() {
        let folder = folder("order");
        let mut wire = Wire::make(&folder, Side::Second).unwrap();
        let order = Order { play: Play::OneWay, bytes: 4, warm: 1, count: 2, processor: 0, keep: false };
        let own = folder.clone();
        let end = std::thread::spawn(move || {
            let mut wire = OwnWire::open(&own, Side::Second).unwrap();
            let heard = wire.hear().unwrap();
            wire.answer(&Answer::Took(77)).unwrap();
            (heard, wire.hear().unwrap())
        });
        wire.tell(&order).unwrap();
        assert_eq!(wire.hear(LIMIT, || true).unwrap(), Answer::Took(77));
        drop(wire);
        assert_eq!(end.join().unwrap(), (Some(order), None));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_an_end_said_last_is_heard_and_then_that_it_ended() {
        let folder = folder("last");
        let mut wire = Wire::make(&folder, Side::First).unwrap();
        let own = folder.clone();
        let end = std::thread::spawn(move || {
            let mut wire = OwnWire::open(&own, Side::First).unwrap();
            wire.answer(&Answer::Failed("no memory".into())).unwrap();
        });
        assert_eq!(wire.hear(LIMIT, || true).unwrap_err().to_string(), "no memory");
        end.join().unwrap();
        assert_eq!(wire.hear(LIMIT, || false).unwrap_err().to_string(), "it ended");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
