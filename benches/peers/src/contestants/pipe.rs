//! Two pipes, one each way, as large as the system lets them be. Watched without sleeping where nobody is to sleep.

use super::stream::{Descriptors, plays};
use super::{Contestant, End, Standing};
use crate::Failure;
use crate::scenario::Scenario;
use crate::wires::{Side, make_fifo};
use std::fs::{File, OpenOptions};
use std::path::Path;

pub struct Pipe;

/// What an unprivileged process may ask for.
#[cfg(target_os = "linux")]
const BYTES: libc::c_int = 1 << 20;

impl Contestant for Pipe {
    fn name(&self) -> &'static str {
        "pipe"
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        plays(scenario)
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        let paths = [folder.join("there"), folder.join("back")];
        if side == Side::First {
            make_fifo(&paths[0])?;
            make_fifo(&paths[1])?;
        }
        // For both directions, so that nobody waits here for the other.
        let open = |path| -> Result<File, Failure> {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            enlarge(&file)?;
            Ok(file)
        };
        let (there, back) = (open(&paths[0])?, open(&paths[1])?);
        let (reader, writer) = if side == Side::First { (back, there) } else { (there, back) };
        Ok(Box::new(Descriptors::new(side, reader, writer, 0)))
    }
}

#[cfg(target_os = "linux")]
fn enlarge(file: &File) -> Result<(), Failure> {
    use std::os::fd::AsRawFd;
    // SAFETY: a descriptor that is ours.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETPIPE_SZ, BYTES) } < 0 {
        return Err(format!("a pipe of {BYTES} bytes: {}", std::io::Error::last_os_error()).into());
    }
    Ok(())
}

/// Elsewhere the system sizes them by itself.
#[cfg(not(target_os = "linux"))]
fn enlarge(_file: &File) -> Result<(), Failure> {
    Ok(())
}
