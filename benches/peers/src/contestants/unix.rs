//! Unix sockets: streams, and packets that keep their borders.

use super::stream::{Descriptors, plays};
use super::{Contestant, End, Room, Standing};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Debug, Clone, Copy)]
pub struct Unix {
    name: &'static str,
    kind: libc::c_int,
    /// The longest piece: a packet has to fit into the socket's buffer.
    most: usize,
}

pub const ALL: [Unix; 2] = [
    Unix { name: "Unix socket, stream", kind: libc::SOCK_STREAM, most: 0 },
    Unix { name: "Unix socket, seqpacket", kind: libc::SOCK_SEQPACKET, most: 128 << 10 },
];

impl Contestant for Unix {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        plays(scenario)
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        let socket = socket(self.kind)?;
        let address = address(&folder.join("socket"))?;
        let (at, len) = ((&raw const address).cast(), size_of_val(&address) as libc::socklen_t);
        if side == Side::First {
            // SAFETY: an address of that length, which lives through the call.
            check("bind", unsafe { libc::bind(socket.as_raw_fd(), at, len) })?;
            // SAFETY: a socket that is ours.
            check("listen", unsafe { libc::listen(socket.as_raw_fd(), 1) })?;
            return Ok(Box::new(Listener { socket, most: self.most, accepted: None }));
        }
        // SAFETY: as above.
        check("connect", unsafe { libc::connect(socket.as_raw_fd(), at, len) })?;
        Ok(Box::new(connected(side, socket, self.most)?))
    }
}

/// The first side: the second connects when this one has said that it is ready.
struct Listener {
    socket: OwnedFd,
    most: usize,
    accepted: Option<Descriptors<File, File>>,
}

impl End for Listener {
    fn get_ready(&mut self, _play: Play, _bytes: usize) -> Result<(), Failure> {
        if self.accepted.is_none() {
            let nobody = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: a listening socket; who calls is not asked.
            let fd = unsafe { libc::accept(self.socket.as_raw_fd(), nobody.0, nobody.1) };
            check("accept", fd)?;
            // SAFETY: a new descriptor that nobody else knows.
            let socket = unsafe { OwnedFd::from_raw_fd(fd) };
            self.accepted = Some(connected(Side::First, socket, self.most)?);
        }
        Ok(())
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        let accepted = self.accepted.as_mut().ok_or("nobody has connected")?;
        accepted.exchange(play, count, room)
    }
}

fn connected(side: Side, socket: OwnedFd, most: usize) -> Result<Descriptors<File, File>, Failure> {
    let reader = File::from(socket);
    let writer = reader.try_clone()?;
    Ok(Descriptors::new(side, reader, writer, most))
}

fn socket(kind: libc::c_int) -> Result<OwnedFd, Failure> {
    // SAFETY: a plain system call.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    check("socket", fd)?;
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(path: &Path) -> Result<libc::sockaddr_un, Failure> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let bytes = path.as_bytes_with_nul();
    // SAFETY: plain data; all zeros is one of its values.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if bytes.len() > address.sun_path.len() {
        return Err(format!("a socket's path may have {} bytes: set TMPDIR to a shorter folder", bytes.len()).into());
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(address)
}

fn check(call: &str, status: libc::c_int) -> Result<(), Failure> {
    if status < 0 {
        return Err(format!("{call}: {}", io::Error::last_os_error()).into());
    }
    Ok(())
}
